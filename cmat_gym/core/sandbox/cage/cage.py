"""PID 1 of one episode: builds the copy-on-write root, starts the shell, and serves the host's few requests.

The agent's processes live in the same process namespace, but cannot look into this one (it holds capabilities that
they lack and is not dumpable), stop it or see its mounts. Nothing here executes or imports a file that the agent can
write, except the shell itself and what the host asks to run, and both run with the agent's rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Collection
from typing import Any, NoReturn

from . import seccomp, skeleton, syscalls, trees

EPISODE, CHECK, ROOT = "/episode", "/check", "/episode/root"
ENVIRONMENT = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash", "TERM": "dumb",
               "LANG": "C.UTF-8", "TZ": "UTC", "HOSTNAME": skeleton.HOSTNAME}  # fmt: skip
AGENT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The same for checks, in another order: a program of the base always wins over one that the agent has installed.
CHECKER_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
CODE_FOLDERS = ("lib", "lib32", "lib64", "libx32", "libexec", "share")  # of /usr
COMMAND_SUFFIXES = ("", ".sh", ".bash", ".py", ".pl")  # of an added program; next to one lie no settings (pyvenv.cfg)
HIDDEN = ("kcore", "keys", "key-users", "kmsg", "kallsyms", "timer_list", "sched_debug", "cmdline", "sysrq-trigger",
          "interrupts", "config.gz", "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo")  # fmt: skip


def main(kind: type[Cage], options: dict[str, Any], fds: list[int], ready: int, go: int) -> NoReturn:
    """Become PID 1 of fresh namespaces and serve until the host lets go.

    `fds`: the control socket, `options["pipes"]` files for the program inside, then files of control groups to join.
    """
    control = socket.socket(fileno=fds[0])
    pipes, groups = fds[1 : 1 + options["pipes"]], fds[1 + options["pipes"] :]
    try:
        for fd in groups:
            os.write(fd, b"0")
            os.close(fd)
        set_limit("NPROC", options["total_processes"])  # of all users together: counted by the new namespace
        syscalls.unshare(
            syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
            | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
        )  # fmt: skip
        os.write(ready, b"+")
        if os.read(go, 1) != b"+":
            os._exit(1)
        os.close(ready)
        os.close(go)
        if os.fork():
            os._exit(0)
        kind(options, control).run(pipes)
    except Exception as error:
        with contextlib.suppress(OSError):
            send(control, {"error": f"{type(error).__name__}: {error}"})
    os._exit(1)


def send(control: socket.socket, message: dict[str, Any]) -> None:
    """Send one message: four bytes of length, then JSON."""
    data = json.dumps(message).encode()
    control.sendall(len(data).to_bytes(4, "big") + data)


def set_limit(name: str, value: int) -> None:
    """Set a resource limit for good, or keep the one that is there where it is lower."""
    kind = getattr(resource, f"RLIMIT_{name}")
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


class Cage:
    """What PID 1 of a shell machine knows; `interpreter.py` makes another kind of it."""

    def __init__(self, options: dict[str, Any], control: socket.socket) -> None:
        self.options = options
        self.control = control
        self.shell = 0
        self.filter = seccomp.build_filter()

    def run(self, pipes: list[int]) -> NoReturn:
        """Build the root, start what runs in it, and serve."""
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        wake, waker = os.pipe()
        for fd in (wake, waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.build_root()
        socket.sethostname(skeleton.HOSTNAME)
        self.start_program(pipes)
        send(self.control, {"ok": True})
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 4096)
                    self.reap()
                else:
                    self.serve()

    def reap(self) -> None:
        """Collect what ended; the end of the shell is news for the host."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if pid == self.shell:
                    self.shell = 0
                    send(self.control, {"event": "exit"})

    def serve(self) -> None:
        """Answer one request; the end of the channel is the end of the cage."""
        header, fds, _, _ = socket.recv_fds(self.control, 4, 4)
        if not header:
            os._exit(0)
        size = int.from_bytes(header, "big")
        data = b""
        while len(data) < size:
            part = self.control.recv(size - len(data))
            if not part:
                os._exit(0)
            data += part
        request = json.loads(data)
        try:
            answer = getattr(self, f"do_{request['op']}")(request, fds)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        send(self.control, answer)

    # The root ---------------------------------------------------------------------------------------------------------

    def build_root(self) -> None:
        """A writable copy of skeleton and /usr, in memory, with its own /proc and devices."""
        options = self.options
        size = f"size={options['disk']},nr_inodes={options['inodes']},mode=755"
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount("tmpfs", EPISODE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, size)
        for name in ("root", "upper", "work", "usr", "usr-work", "shm", "local"):
            os.mkdir(f"{EPISODE}/{name}")
        os.chmod(f"{EPISODE}/shm", 0o1777)
        for name in ("upper", "usr"):
            os.utime(f"{EPISODE}/{name}", (skeleton.EPOCH, skeleton.EPOCH))
        self.overlay(ROOT, [self.lower_root()], f"{EPISODE}/upper", f"{EPISODE}/work")
        if options["translated"]:
            self.overlay(f"{ROOT}/usr", [self.lower_usr()], f"{EPISODE}/usr", f"{EPISODE}/usr-work")
        else:
            syscalls.bind(self.lower_usr(), f"{ROOT}/usr")
            for name in ("bin", "sbin", "lib", "share"):
                os.mkdir(f"{EPISODE}/local/{name}")
            syscalls.bind(f"{EPISODE}/local", f"{ROOT}/usr/local")
        syscalls.bind("/dev", f"{ROOT}/dev")
        read_only = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | syscalls.MS_NOSUID
        syscalls.mount("none", f"{ROOT}/dev", flags=read_only)
        syscalls.bind(f"{EPISODE}/shm", f"{ROOT}/dev/shm")
        self.mount_proc(ROOT)

    def lower_root(self) -> str:
        return "/skeleton" if self.options["root"] == "/" else "/base"

    def lower_usr(self) -> str:
        return "/base" if self.options["root"] == "/" else "/base/usr"

    @staticmethod
    def overlay(target: str, lowers: list[str], upper: str, work: str) -> None:
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work},userxattr"
        syscalls.mount("overlay", target, "overlay", flags, options)

    @staticmethod
    def mount_proc(root: str) -> None:
        """A fresh /proc that nobody writes to; what tells of the host's kernel is covered."""
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", f"{root}/proc", "proc", flags)
        for name in HIDDEN:
            with contextlib.suppress(OSError):
                syscalls.mount("/dev/null", f"{root}/proc/{name}", flags=syscalls.MS_BIND)
        for name in ("sys", "bus", "irq", "fs", "acpi", "scsi"):
            with contextlib.suppress(OSError):
                syscalls.bind(f"{root}/proc/{name}", f"{root}/proc/{name}", read_only=True)
        syscalls.mount(
            "none", f"{root}/proc", flags=syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | flags
        )

    # Starting processes -----------------------------------------------------------------------------------------------

    def start_program(self, pipes: list[int]) -> None:
        """Start the login shell; `pipes` are its input, its output and the pipe it reports the end of a command on."""
        self.shell = self.fork()
        if self.shell == 0:
            stdin, stdout, status = pipes
            files = [stdin, stdout, stdout, status]
            self.become_agent(ROOT, files, ["bash", "--login"], {**ENVIRONMENT, "PATH": AGENT_PATH})
        for fd in pipes:
            os.close(fd)

    def fork(self) -> int:
        """Fork; an agent that has used up all processes loses them."""
        for _ in range(50):
            try:
                return os.fork()
            except OSError:
                self.signal_all(signal.SIGKILL)
                time.sleep(0.02)
                self.reap()
        return os.fork()

    @staticmethod
    def signal_all(number: int) -> None:
        """Send a signal to every process but this one."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)

    def become_agent(self, root: str, files: list[int], arguments: list[str], environment: dict[str, str]) -> NoReturn:
        """Never returns: lock this process into a root, take its powers away, and execute a program on these files."""
        try:
            self.lock_in(root, files, syscalls.KEPT_CAPABILITIES)
            os.execve(f"/usr/bin/{arguments[0]}", arguments, environment)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(127)

    def lock_in(self, root: str, files: list[int], kept: Collection[int], hidden: Collection[str] = ()) -> None:
        """Lock this process into a root, with these files alone, and take its powers away; there is no way back.

        `kept` are the capabilities it keeps within the cage, `hidden` are files below the root that are covered.
        """
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else the next file is not ours
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # where memory runs out, PID 1 is the last to go
        syscalls.unshare(syscalls.CLONE_NEWNS)
        for path in hidden:
            syscalls.mount("/dev/null", f"{root}{path}", flags=syscalls.MS_BIND)
        syscalls.change_root(root)
        for number, fd in enumerate(files):
            os.dup2(fd, 100 + number)
        for number in range(len(files)):
            os.dup2(100 + number, number)
        os.closerange(len(files), 65536)
        self.limit()
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        syscalls.drop_capabilities(kept)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.install_filter(self.filter)

    def limit(self) -> None:
        """Limits of each process."""
        for name, value in self.options["limits"].items():
            set_limit(name, value)

    # Requests ---------------------------------------------------------------------------------------------------------

    def do_shell(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Start a new shell in place of a dead or stuck one."""
        if self.shell:
            pid, self.shell = self.shell, 0
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.start_program(fds)
        return {"ok": True}

    def do_interrupt(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Kill every process, apart from the shell, that is younger than `age` seconds."""
        ticks = os.sysconf("SC_CLK_TCK")
        since = (time.clock_gettime(time.CLOCK_BOOTTIME) - request["age"]) * ticks - 1
        killed = 0
        for process in self.processes():
            if process["started"] >= since and process["pid"] != self.shell:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGKILL)
                    killed += 1
        return {"killed": killed}

    def do_freeze(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Stop every process of the agent, for good.

        One that was not stopped yet may wake another one up, so it is done until all of them are seen asleep.
        """
        for _ in range(50):
            self.signal_all(signal.SIGSTOP)
            if all(process["state"] in "TZX" for process in self.processes()):
                return {"ok": True}
            time.sleep(0.002)
        self.signal_all(signal.SIGKILL)
        return {"ok": True}

    def do_populate(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Write the files of a task into the root."""
        return self.in_root(lambda: trees.write_tree(request["entries"]))

    def do_inspect(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """What the files below some paths are, as the agent sees them, and which processes there are."""
        answer = self.in_root(lambda: trees.read_tree(request["paths"]))
        return {**answer, "processes": self.processes()}

    def do_run(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Run a script: in the root itself, or in a copy of it with pristine programs, which is then gone."""
        output, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        pid = self.fork()
        if pid == 0:
            root, path = ROOT, AGENT_PATH
            files = [null, writer, null if request["copy"] else writer]
            if request["copy"]:
                try:
                    root, path = self.build_copy(request["copy"]), CHECKER_PATH
                except BaseException as error:
                    os.write(writer, f"{type(error).__name__}: {error}".encode())
                    os._exit(126)
            self.become_agent(root, files, request["argv"], {**ENVIRONMENT, "PATH": path})
        os.close(writer)
        os.close(null)
        data, timed_out = drain(output, request["timeout"], request["limit"])
        os.close(output)
        if timed_out:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return {
            "output": data.decode("utf-8", "surrogateescape"),
            "code": os.waitstatus_to_exitcode(status),
            "timed_out": timed_out,
        }

    def build_copy(self, name: str) -> str:
        """In this process's own mounts: the final state once more, under the pristine /usr; writes go to the copy.

        Copies of one name share what is written, so that the scripts of a chain see one another's effects.
        """
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        for part in (f"{name}-upper", f"{name}-work"):
            os.makedirs(f"{EPISODE}/{part}", exist_ok=True)
        root = f"{EPISODE}/{name}-root"
        os.makedirs(root, exist_ok=True)
        self.overlay(root, [f"{EPISODE}/upper", self.lower_root()], f"{EPISODE}/{name}-upper", f"{EPISODE}/{name}-work")
        # /usr, /proc and /dev are mount points in the agent's root, so they are still the folders they were.
        self.mount_copied_usr(f"{root}/usr", name)
        syscalls.bind("/dev", f"{root}/dev")
        self.mount_proc(root)
        trees.repair_links(root, self.lower_root())
        return root

    def mount_copied_usr(self, target: str, name: str) -> None:
        """/usr for a check: what the agent has added is there, what it has changed is not.

        Libraries are pristine altogether, and so are the settings beside programs: what is added to them can change
        what a pristine program does.
        """
        usr = self.lower_usr()
        if not self.options["translated"]:
            syscalls.bind(usr, target)
            syscalls.bind(f"{EPISODE}/local", f"{target}/local")
            return
        for part in (f"{name}-usr", f"{name}-usr-work"):
            os.makedirs(f"{EPISODE}/{part}", exist_ok=True)
        self.overlay(target, [usr, f"{EPISODE}/usr"], f"{EPISODE}/{name}-usr", f"{EPISODE}/{name}-usr-work")
        for folder in ("", "bin", "sbin"):
            for added in set(os.listdir(f"{target}/{folder}")) - set(os.listdir(f"{usr}/{folder}")):
                if os.path.splitext(added)[1] not in COMMAND_SUFFIXES and (folder or added == "pyvenv.cfg"):
                    trees.remove(f"{target}/{folder}/{added}")
        for folder in CODE_FOLDERS:
            if os.path.isdir(f"{usr}/{folder}") and not os.path.islink(f"{usr}/{folder}"):
                syscalls.bind(f"{usr}/{folder}", f"{target}/{folder}")

    # Looking ----------------------------------------------------------------------------------------------------------

    def in_root(self, work: Any) -> dict[str, Any]:
        """Do something in a child process locked into the agent's root, where no symbolic link leads out."""
        reader, writer = os.pipe()
        pid = self.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                os.chroot(ROOT)
                os.chdir("/")
                result = work()
            except BaseException as error:
                result = {"error": f"{type(error).__name__}: {error}"}
            with os.fdopen(writer, "wb") as file:
                file.write(json.dumps(result).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            data = file.read()
        os.waitpid(pid, 0)
        answer: dict[str, Any] = json.loads(data)
        return answer

    @staticmethod
    def processes() -> list[dict[str, Any]]:
        """The agent's processes, without PID 1."""
        found = []
        for name in os.listdir(f"{ROOT}/proc"):
            if not name.isdigit() or name == "1":
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                folder = f"{ROOT}/proc/{name}"
                with open(f"{folder}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                with open(f"{folder}/cmdline", "rb") as file:
                    words = file.read(4096).decode("utf-8", "replace").split("\0")[:-1]
                state, parent = fields[0].decode(), int(fields[1])
                uid = os.stat(folder).st_uid
                found.append({"pid": int(name), "parent": parent, "uid": uid, "command": words, "state": state,
                              "started": int(fields[19])})  # fmt: skip
        return found


def drain(fd: int, timeout: float, limit: int) -> tuple[bytes, bool]:
    """Read to the end of the pipe or to the limit of time; what exceeds the limit of size is thrown away."""
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    data = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return bytes(data), True
        part = os.read(fd, 65536)
        if not part:
            return bytes(data), False
        data += part[: max(0, limit - len(data))]
