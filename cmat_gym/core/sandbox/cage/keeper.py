"""The keeper: one process that gives up the host once, and then forks a cage for each episode in milliseconds.

In order: become able to map user ids; hide everything of the host but /usr (or a given root file system) and a few
devices behind a root of its own; be PID 1 of a process namespace, so that its end is the end of every cage; then serve.
A message asks for a cage and brings its pipes; the keeper answers nothing, the cage speaks for itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from . import cage, interpreter, skeleton, syscalls

STAGE = "/tmp"  # covered by a file system of our own, in our own mount namespace only
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
HIGH_IDS = 1_879_048_192  # where the sandbox's ids start when root maps them: far from any account
RANGE = 65_536
KINDS: dict[str, type[cage.Cage]] = {"shell": cage.Cage, "python": interpreter.InterpreterCage}


class IdRange(NamedTuple):
    """The host's ids that the sandbox's ids 0, 1, 2, … are."""

    users: int
    groups: int
    length: int


class Refused(Exception):
    """The machine does not allow a safe sandbox; the text says why and what to do."""


def choose_ids() -> IdRange:
    """Ids to map, never the host's root nor the caller's own: files of neither are ever the sandbox's.

    Raises:
        Refused: There are none.
    """
    if os.geteuid() == 0:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            spans = [tuple(map(int, line.split())) for line in file]
        inside, _, length = max(spans, key=lambda span: span[2])
        if inside <= HIGH_IDS and inside + length >= HIGH_IDS + RANGE:
            return IdRange(HIGH_IDS, HIGH_IDS, RANGE)
        if length < 2000:
            raise Refused("this container maps too few user ids")
        return IdRange(max(inside, 1), max(inside, 1), min(RANGE, length - 1))
    users, groups = _subordinate("/etc/subuid"), _subordinate("/etc/subgid")
    if not users or not groups:
        raise Refused("this user has no range in /etc/subuid and /etc/subgid (usermod --add-subuids adds one)")
    return IdRange(users[0], groups[0], min(users[1], groups[1], RANGE))


def _subordinate(path: str) -> tuple[int, int] | None:
    import pwd

    try:
        names = {str(os.getuid()), pwd.getpwuid(os.getuid()).pw_name}
    except KeyError:
        names = {str(os.getuid())}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        for line in file:
            name, start, count = [*line.strip().split(":"), "", "", ""][:3]
            if name in names and start.isdigit() and count.isdigit() and int(count) >= 2000:
                return int(start), int(count)
    return None


def write_maps(pid: int, ids: IdRange) -> None:
    """Map the ids of a process's user namespace; an ordinary user needs the setuid helpers for a range."""
    if os.geteuid() == 0:
        for kind, start in (("uid", ids.users), ("gid", ids.groups)):
            with open(f"/proc/{pid}/{kind}_map", "w", encoding="ascii") as file:
                file.write(f"0 {start} {ids.length}")
        return
    for program, start in (("newuidmap", ids.users), ("newgidmap", ids.groups)):
        try:
            done = subprocess.run(
                [program, str(pid), "0", str(start), str(ids.length)], capture_output=True, check=False
            )
        except FileNotFoundError:
            raise Refused(f"{program} is not installed (on Debian and Ubuntu: apt install uidmap)") from None
        if done.returncode:
            raise Refused(f"{program} failed: {done.stderr.decode(errors='replace').strip()}")


def open_user_namespace(ids: IdRange) -> int:
    """A file of a fresh user namespace with the ids mapped."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            os.write(ready[1], b"+")
        except OSError as error:
            os.write(ready[1], str(error).encode())
        os.close(go[1])
        os.read(go[0], 1)
        os._exit(0)
    try:
        answer = os.read(ready[0], 200)
        if answer != b"+":
            raise Refused(f"user namespaces are not allowed here ({answer.decode()})")
        write_maps(child, ids)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    finally:
        for fd in (*ready, *go):
            os.close(fd)
        os.waitpid(child, 0)


def enter(root: str, kind: str) -> bool:
    """Leave the host for good; returns whether /usr can be written to (as a copy), which takes translated owners.

    `root` is a root file system, or for an interpreter the folder of its library.
    """
    ids = choose_ids()
    user_namespace = open_user_namespace(ids)
    source = "/usr" if root == "/" else root
    stage, translated = STAGE, False
    if os.geteuid() == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        base = os.open(source, os.O_PATH | os.O_DIRECTORY)  # before the stage covers it
        stage = f"{STAGE}/stage"
        syscalls.mount("tmpfs", STAGE, "tmpfs")
        os.mkdir(stage)
        os.mkdir(f"{STAGE}/base")
        with contextlib.suppress(OSError):
            syscalls.mount_with_ids(f"/proc/self/fd/{base}", f"{STAGE}/base", user_namespace)
            source, translated = f"{STAGE}/base", True
        os.close(base)
    if kind == "shell" and root != "/" and not translated:
        raise Refused("a root file system of its own needs root and Linux 5.19 or later")

    syscalls.setns(user_namespace, syscalls.CLONE_NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # lost with the old ids; the keeper writes its children's id maps
    syscalls.unshare(
        syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWUTS
    )  # fmt: skip
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    base = os.open(source, os.O_PATH | os.O_DIRECTORY)
    devices = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES if os.path.exists(f"/dev/{name}")}
    syscalls.mount("tmpfs", stage, "tmpfs", syscalls.MS_NOSUID, "mode=755")
    build_stage(stage, base, devices, root)
    return translated


def build_stage(stage: str, base: int, devices: dict[str, int], root: str) -> None:
    """The little root that the keeper and all cages live in."""
    for name in ("base", "dev", "proc", "skeleton", "episode", "check"):
        os.mkdir(f"{stage}/{name}")
    syscalls.bind(f"/proc/self/fd/{base}", f"{stage}/base", read_only=False)
    if root == "/":
        skeleton.build_skeleton(f"{stage}/skeleton")
    for name, fd in devices.items():
        with open(f"{stage}/dev/{name}", "w"):
            pass
        syscalls.mount(f"/proc/self/fd/{fd}", f"{stage}/dev/{name}", flags=syscalls.MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{stage}/dev/{name}")
    os.mkdir(f"{stage}/dev/shm")
    for fd in (base, *devices.values()):
        os.close(fd)
    for name in ("stdin", "stdout", "stderr", "fd", "shm", ""):
        os.utime(f"{stage}/dev/{name}", (skeleton.EPOCH, skeleton.EPOCH), follow_symlinks=False)


def hide_arguments() -> None:
    """Overwrite this process's command line, which every agent can read, as it names folders of the host."""
    with open("/proc/self/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, b"init", min(4, end - start))


def serve(channel: socket.socket, options: dict[str, Any], translated: bool) -> NoReturn:
    """Fork a cage for every message, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    channel.send(json.dumps({"ok": True, "translated": translated}).encode())
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not poll.poll(1000):
            continue
        message, fds, _, _ = socket.recv_fds(channel, 65536, 16)
        if not message:
            os._exit(0)  # and with PID 1 every process of every cage
        request = json.loads(message)
        start_cage({**options, **request, "translated": translated}, fds, channel)
        for fd in fds:
            os.close(fd)


def start_cage(options: dict[str, Any], fds: Sequence[int], channel: socket.socket) -> None:
    """Fork the process that becomes PID 1 of the episode, and map its ids."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        channel.close()
        os.close(go[1])
        cage.main(KINDS[options["kind"]], options, list(fds), ready[1], go[0])
    os.close(ready[1])
    with contextlib.suppress(OSError):  # a cage that died meanwhile; its silence tells the host
        if os.read(ready[0], 1):
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
                    file.write(f"0 0 {options['count']}")
            os.write(go[1], b"+")
    for fd in (ready[0], *go):
        os.close(fd)


def main() -> None:
    """Entry point: `fd` of the channel and a JSON object of options come as arguments."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    options: dict[str, Any] = json.loads(sys.argv[2])
    hide_arguments()
    os.umask(0o022)
    os.setsid()
    try:
        options["count"] = choose_ids().length
        translated = enter(options["root"], options["kind"])
    except (Refused, OSError) as error:
        channel.send(json.dumps({"error": str(error)}).encode())
        os._exit(1)
    child = os.fork()  # PID 1 of the namespace
    if child:
        os._exit(0)
    try:
        stage = f"{STAGE}/stage" if os.path.isdir(f"{STAGE}/stage") else STAGE
        syscalls.mount("proc", f"{stage}/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        syscalls.change_root(stage)
        # Modules that are not loaded yet must not come from files that an agent can write.
        sys.path.clear()
        sys.meta_path[:] = sys.meta_path[:2]  # builtin and frozen modules only
        serve(channel, options, translated)
    except OSError as error:
        channel.send(json.dumps({"error": str(error)}).encode())
        os._exit(1)
