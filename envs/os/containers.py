"""The `docker` and `podman` backends: a container for each episode, with one attached shell.

The daemon does what must be out of the agent's reach: it reads files out of the container, pauses it, and runs checks
in another container of the same image into which it copies what the agent has changed, apart from programs and
libraries. Docker's API serves Podman as well.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import secrets
import select
import socket
import stat
import struct
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from cmat_gym.core.errors import BackendError, require
from cmat_gym.core.sandbox.cage.cage import CHECKER_PATH, COMMAND_SUFFIXES
from cmat_gym.core.sandbox.cage.skeleton import EPOCH, HOSTNAME
from cmat_gym.envs.os.backend import (
    FileInfo,
    FinalState,
    Limits,
    Machines,
    Output,
    Process,
    Ran,
    Sandbox,
    SandboxDied,
    Script,
)
from cmat_gym.envs.os.shell import OUTPUT_KEPT, PREPARE, quote

__all__ = ["DOCKERFILE", "IMAGE", "ContainerSandbox", "Containers", "import_root", "open_containers"]

Answer = TypeVar("Answer")
IMAGE = "cmat-gym-os:1"
LABEL = "cmat-gym-os"
DOCKERFILE = Path(__file__).parent / "data" / "Dockerfile"
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"]
ENVIRONMENT = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "LANG": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"}
# PID 1: bash cannot be killed from inside, takes in orphans, and does nothing.
IDLE = ["/bin/bash", "-c", "trap '' TERM INT HUP; while :; do sleep 1000 & wait $!; done"]
CHECK_SECONDS = 30
MANY_PROCESSES = 32_768
MAX_CONTENT = 1 << 16
WATCH_SECONDS = 0.5  # how often the written bytes are looked at while a command runs
# What a check takes from the image, whatever the agent has done to it: libraries, and what decides which ones run.
PRISTINE = re.compile(r"/(usr/)?(lib\w*|libexec|share)(/|$)|/s?bin(/|$)|/etc/ld\.so\.|/usr/pyvenv\.cfg$")
PROGRAMS = re.compile(r"/usr/s?bin/")


def _reported(method: Callable[..., Answer]) -> Callable[..., Answer]:
    """Let a daemon that refuses something be a `BackendError`, as with every backend."""

    @functools.wraps(method)
    def wrapped(self: ContainerSandbox, *arguments: Any, **options: Any) -> Answer:
        try:
            return method(self, *arguments, **options)
        except self._machines.errors.DockerException as error:
            raise BackendError(f"{self._machines.name} refused: {error}") from None

    return wrapped


class ContainerSandbox(Sandbox):
    """One container."""

    def __init__(self, machines: Containers, limits: Limits) -> None:
        self.limits = limits
        self._machines = machines
        self._container = machines.create(limits)
        self._checker: Any = None
        self._paused = False
        self._buffer = b""
        self._connect()

    def _connect(self) -> None:
        """Start a shell in the container and attach to it."""
        api = self._machines.client.api
        command = ["/bin/bash", "--login"]
        created = api.exec_create(self._container.id, command, stdin=True, environment=ENVIRONMENT, workdir="/")
        answer = api.exec_start(created["Id"], socket=True)
        self._response = answer  # closing it would close the socket
        self._socket: socket.socket = getattr(answer, "_sock", answer)
        self._socket.setblocking(False)
        self._buffer = b""
        self._send(f"exec 2>&1; {PREPARE}\n".encode())

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            select.select([], [self._socket], [], 10)
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                continue
            except OSError:
                return  # the shell is gone, which reading will show

    # Setting up -------------------------------------------------------------------------------------------------------

    @_reported
    def populate(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """See `Sandbox`."""
        appended: dict[str, bytes] = {}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for entry in entries:
                if entry.get("type") == "append":
                    old = appended.get(entry["path"])
                    appended[entry["path"]] = (self._read(entry["path"]) if old is None else old) + entry[
                        "content"
                    ].encode()
                else:
                    _add(archive, entry)
            for path, data in appended.items():
                private = path.endswith("shadow")
                _add(archive, {"path": path, "hex": data.hex(), "mode": 0o640 if private else 0o644})
        self._container.put_archive("/", buffer.getvalue())

    def _read(self, path: str) -> bytes:
        for member, data in self._members(path):
            if member.isfile():
                return data
        return b""

    def _members(self, path: str) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
        """The files at and below a path, as the daemon sees them; nothing where there is none."""
        errors = self._machines.errors
        try:
            stream, _ = self._container.get_archive(path)
        except errors.NotFound:
            return
        data = io.BytesIO(b"".join(stream))
        with tarfile.open(fileobj=data) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                yield member, file.read(MAX_CONTENT) if file else b""

    # Acting -----------------------------------------------------------------------------------------------------------

    @_reported
    def run(self, command: str) -> Output:
        """See `Sandbox`. A command that must be stopped takes the shell and all other processes with it."""
        mark = secrets.token_hex(8)
        line = f"eval {quote(command)} </dev/null; builtin printf '\\0{mark} %d\\0' $? 2>/dev/null\n"
        self._send(line.encode("utf-8", "replace"))
        pattern = re.compile(rb"\0" + mark.encode() + rb" (\d+)\0")
        begin = time.monotonic()
        text, size, watched = b"", 0, begin
        while True:
            now = time.monotonic()
            if now - begin > self.limits.command_seconds or size > self.limits.output_bytes:
                self._restart()
                return self._output(text, None, "restart")
            part = self._receive(min(WATCH_SECONDS, self.limits.command_seconds))
            if part is None:
                self._check_alive()
                self._connect()
                return self._output(text, None, "exit")
            size += len(part)
            text = (text + part)[-2 * OUTPUT_KEPT :] if size > 2 * OUTPUT_KEPT else text + part
            found = pattern.search(text)
            if found:
                return self._output(text[: found.start()], int(found[1]), "")
            if time.monotonic() - watched > WATCH_SECONDS:
                self._watch_disk()
                watched = time.monotonic()

    @staticmethod
    def _output(text: bytes, status: int | None, event: str) -> Output:
        return Output(text[:OUTPUT_KEPT].decode("utf-8", "surrogateescape"), status, event)

    def _receive(self, seconds: float) -> bytes | None:
        """What the shell printed by now, without the frames of the protocol; None at its end."""
        ready, _, _ = select.select([self._socket], [], [], seconds)
        if not ready:
            return b""
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        if not data:
            return None
        self._buffer += data
        text = b""
        while len(self._buffer) >= 8:
            size = struct.unpack(">I", self._buffer[4:8])[0]
            if len(self._buffer) < 8 + size:
                break
            text += self._buffer[8 : 8 + size]
            self._buffer = self._buffer[8 + size :]
        return text

    def _restart(self) -> None:
        """Kill everything but PID 1, and start a new shell."""
        self._socket.close()  # a shell that floods it would keep the daemon busy
        self._check_alive()
        self._container.exec_run(["/bin/bash", "-c", "kill -9 -1"], detach=True)
        self._connect()

    def _check_alive(self) -> None:
        try:
            self._container.reload()
            alive = self._container.status == "running"
        except self._machines.errors.APIError:
            alive = False
        if not alive:
            raise SandboxDied("The container of this episode is gone")

    def _watch_disk(self) -> None:
        """End a container that has written too much; overlay file systems have no limit of their own."""
        written = self._get("/containers/{0}/json", size="1")["SizeRw"]
        if (written or 0) > self.limits.disk:
            self._container.kill()
            raise SandboxDied("The container of this episode wrote more than its disk holds")

    def _get(self, path: str, **parameters: str) -> Any:
        """Ask the daemon something for which docker-py does not know all parameters."""
        api = self._machines.client.api
        return api._result(api._get(api._url(path, self._container.id), params=parameters), True)

    @_reported
    def execute(self, script: Script, parameters: Sequence[str] = ()) -> Ran:
        """See `Sandbox`."""
        return self._run_in(self._container, script, parameters, ENVIRONMENT, merge=True)

    def _run_in(
        self, container: Any, script: Script, parameters: Sequence[str], environment: Mapping[str, str], *, merge: bool
    ) -> Ran:
        program, *rest = script.command(parameters)
        command = ["/usr/bin/timeout", "-k", "1", str(CHECK_SECONDS), f"/usr/bin/{program}", *rest]
        result = container.exec_run(command, demux=True, environment=dict(environment), workdir="/")
        out, err = result.output
        data = (out or b"") + ((err or b"") if merge else b"")
        return Ran(data[:MAX_CONTENT].decode("utf-8", "surrogateescape"), result.exit_code, result.exit_code == 124)

    # Grading ----------------------------------------------------------------------------------------------------------

    @_reported
    def freeze(self) -> None:
        """See `Sandbox`."""
        if not self._paused:
            self._check_alive()
            self._container.pause()
            self._paused = True

    @_reported
    def inspect(self, paths: Sequence[str]) -> FinalState:
        """See `Sandbox`."""
        files: dict[str, FileInfo] = {}
        for path in paths:
            parent = str(PurePosixPath(path).parent)
            for member, data in self._members(path):
                name = str(PurePosixPath(parent) / member.name)
                files[name] = _describe(member, data)
        if self._machines.name == "podman":  # its `top` does not look into a container that is paused
            return FinalState(files, _namespace_processes(self._container.attrs["State"]["Pid"]))
        rows = self._container.top(ps_args="-eo pid,ppid,uid,stat,args")["Processes"]
        processes = (Process(int(r[0]), int(r[1]), int(r[2]), tuple(r[4].split()), r[3][0]) for r in rows)
        return FinalState(files, tuple(processes))

    @_reported
    def check(self, script: Script, parameters: Sequence[str] = ()) -> Ran:
        """See `Sandbox`."""
        self.freeze()
        if self._checker is None:
            self._checker = self._machines.create(self.limits)
            self._copy_changes(self._checker)
        environment = {**ENVIRONMENT, "PATH": CHECKER_PATH}
        return self._run_in(self._checker, script, parameters, environment, merge=False)

    def _copy_changes(self, target: Any) -> None:
        """Do to a fresh container what the agent did to this one, apart from programs and libraries."""
        changes = [(change["Path"], change["Kind"]) for change in self._container.diff() or ()]
        added = {path for path, kind in changes if kind == 1}
        deleted, copied = [], []
        for path, kind in changes:
            if not _taken(path, added=kind == 1):
                continue
            if kind == 2:
                deleted.append(path)
            elif str(PurePosixPath(path).parent) not in added:
                copied.append(path)
        if deleted:
            target.exec_run(["/bin/rm", "-rf", "--", *deleted])
        folders = {str(PurePosixPath(path).parent) for path in [*copied, *(path for path, _ in changes)]}
        for path in copied:
            if path in folders and path not in added:
                continue  # a folder of the image in which something else has changed
            stream, _ = self._container.get_archive(path)
            target.put_archive(str(PurePosixPath(path).parent), b"".join(stream))

    def close(self) -> None:
        """See `Sandbox`."""
        for container in (self._container, self._checker):
            if container is not None:
                self._machines.remove(container)
        self._socket.close()


def _taken(path: str, *, added: bool) -> bool:
    """Whether a check sees what the agent did here: not to programs of the image, nor to the settings beside them."""
    if PROGRAMS.match(path):
        return added and PurePosixPath(path).suffix in COMMAND_SUFFIXES
    return PRISTINE.match(path) is None


def _add(archive: tarfile.TarFile, entry: Mapping[str, Any]) -> None:
    """One entry of a task as a member of an archive."""
    kind = entry.get("type", "file")
    info = tarfile.TarInfo(entry["path"].lstrip("/"))
    info.uid, info.gid, info.mtime = entry.get("uid", 0), entry.get("gid", 0), entry.get("mtime", EPOCH)
    info.mode = entry.get("mode", 0o755 if kind == "folder" else 0o644)
    data = b""
    if kind == "folder":
        info.type = tarfile.DIRTYPE
    elif kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, entry["target"]
    else:
        data = bytes.fromhex(entry["hex"]) if "hex" in entry else entry["content"].encode()
        data *= entry.get("repeat", 1)
        info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _namespace_processes(first: int) -> tuple[Process, ...]:
    """The processes that share a process's namespace, on this computer."""
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        folder = Path("/proc") / name
        with contextlib.suppress(OSError):
            if os.readlink(folder / "ns" / "pid") == namespace:
                state, parent, *_ = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                words = tuple((folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
                found.append(Process(int(name), int(parent), folder.stat().st_uid, words, state))
    return tuple(found)


def _describe(member: tarfile.TarInfo, data: bytes) -> FileInfo:
    kind = "file" if member.isfile() else "folder" if member.isdir() else "link" if member.issym() else "other"
    text = data.decode("utf-8", "surrogateescape")
    target = member.linkname if kind == "link" else ""
    mode = stat.S_IMODE(member.mode)
    return FileInfo(kind, mode, member.uid, member.gid, member.size, int(member.mtime), text, target)


class Containers(Machines):
    """A daemon, an image, and one container in the making for the next episode.

    Raises:
        BackendError: There is no daemon, or it has no such image.
    """

    def __init__(self, name: str, image: str | None) -> None:
        docker = require("docker", "docker")
        self.name = name
        self.owner = os.getpid()
        self.image = image or IMAGE
        self.errors: Any = docker.errors
        address = os.environ.get("CONTAINER_HOST", "unix:///run/podman/podman.sock") if name == "podman" else None
        try:
            self.client: Any = (
                docker.DockerClient(base_url=address, timeout=30) if address else docker.from_env(timeout=30)
            )
            self.client.ping()
        except Exception as error:  # docker-py raises what requests, urllib3 and the socket raise
            way = "systemctl start podman.socket, or CONTAINER_HOST" if name == "podman" else "DOCKER_HOST"
            raise BackendError(f"No {name} daemon answers ({error}); start one, and name it with {way}") from None
        try:
            self.client.images.get(self.image)
        except self.errors.ImageNotFound:
            raise BackendError(
                f"{name} has no image {self.image!r}. Build it: {name} build -t {self.image} {DOCKERFILE.parent} "
                f"(or import a root file system: tar -C FOLDER -c . | {name} import - {self.image})"
            ) from None
        self._sweep()
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="cmat-gym-containers")
        self._spare: tuple[Limits, Future[ContainerSandbox]] | None = None

    def _sweep(self) -> None:
        """Remove the containers of processes that were killed."""
        for container in self.client.containers.list(all=True, filters={"label": LABEL}):
            owner = container.labels[LABEL]
            if not (owner.isdigit() and Path(f"/proc/{owner}").exists()):
                self.remove(container)

    def start(self, limits: Limits) -> ContainerSandbox:
        """The warm container, or a new one; in any case the next one is begun."""
        spare, self._spare = self._spare, None
        sandbox = spare[1].result() if spare and spare[0] == limits else ContainerSandbox(self, limits)
        if spare and spare[0] != limits:
            spare[1].result().close()
        self._spare = (limits, self._maker.submit(ContainerSandbox, self, limits))
        return sandbox

    def create(self, limits: Limits) -> Any:
        """A running container in which nothing runs yet."""
        docker = require("docker", "docker")
        ulimit = docker.types.Ulimit
        try:
            return self.client.containers.run(
                self.image,
                IDLE,
                detach=True,
                hostname=HOSTNAME,
                labels={LABEL: str(self.owner)},
                network_mode="none",
                environment=ENVIRONMENT,
                working_dir="/",
                user="0",
                mem_limit=limits.memory,
                memswap_limit=limits.memory,
                pids_limit=limits.processes,
                nano_cpus=int(limits.cpus * 1e9),
                cap_drop=["ALL"],
                cap_add=CAPABILITIES,
                security_opt=["no-new-privileges"],
                oom_score_adj=500,  # where memory runs out on the host, these go first
                shm_size=min(limits.disk, 16 << 20),
                ulimits=[
                    ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files),
                    ulimit(name="fsize", soft=limits.file_size, hard=limits.file_size),
                    ulimit(name="core", soft=0, hard=0),
                    # Podman would ask for more than it may have; `pids_limit` is what counts.
                    ulimit(name="nproc", soft=MANY_PROCESSES, hard=MANY_PROCESSES),
                ],
            )
        except self.errors.APIError as error:
            raise BackendError(f"{self.name} cannot start a container: {error}") from None

    def remove(self, container: Any) -> None:
        """Kill a container and forget its files."""
        try:
            container.remove(force=True, v=True)
        except self.errors.APIError:
            return  # already gone

    def close(self) -> None:
        """Drop the container in the making."""
        spare, self._spare = self._spare, None
        if spare:
            spare[1].result().close()
        self._maker.shutdown()


@lru_cache(maxsize=4)
def _open(name: str, image: str | None, owner: int) -> Containers:
    import atexit

    found = Containers(name, image)
    atexit.register(lambda: found.close() if os.getpid() == owner else None)
    return found


def open_containers(name: str, image: str | None = None) -> Containers:
    """This process's connection to a daemon.

    Raises:
        BackendError: There is no daemon, or it has no such image.
        MissingExtraError: docker-py is not installed.
    """
    return _open(name, image, os.getpid())


def import_root(client: Any, folder: Path, image: str = IMAGE) -> None:
    """Make an image of a root file system, for machines without a registry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".", filter=lambda info: None if info.ischr() or info.isblk() else info)
    repository, _, tag = image.partition(":")
    client.api.import_image_from_data(buffer.getvalue(), repository=repository, tag=tag or "latest")
