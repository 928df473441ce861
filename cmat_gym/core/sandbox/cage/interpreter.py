"""PID 1 of a cage in which nothing can be executed: forks of this Python run a module and call into it.

The root is empty but for the standard library, read-only. The programs and libraries of the host are not in it, nor is
/proc or any device; a fork needs none of them, as the interpreter is in memory already. That also makes it fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any, NoReturn

from . import runner, syscalls
from .cage import EPISODE, ROOT, Cage, drain

# Of the library's folder: what is not the standard library, or repeats it.
COVERED = ("site-packages", "dist-packages", "test", "idlelib", "lib2to3", "ensurepip", "turtledemo", "pydoc_data")


class InterpreterCage(Cage):
    """What PID 1 of an interpreter knows."""

    def build_root(self) -> None:
        """An empty folder that holds the library under its own path; nothing in it can be written."""
        library, empty = f"{ROOT}{self.options['root']}", f"{EPISODE}/empty"
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount("tmpfs", EPISODE, "tmpfs", flags, "size=65536,nr_inodes=100,mode=755")
        os.makedirs(library)
        os.mkdir(empty)
        syscalls.bind(ROOT, ROOT)  # a mount of its own can become the root
        syscalls.bind("/base", library, read_only=True)
        for name in COVERED:
            if os.path.isdir(f"{library}/{name}"):
                syscalls.bind(empty, f"{library}/{name}")
        syscalls.mount("none", ROOT, flags=syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | flags)

    def start_program(self, pipes: list[int]) -> None:
        """Nothing runs until a request comes."""

    def do_python(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Run a module and call into it, in a process of its own, which is gone with all its children afterwards."""
        reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        pid = self.fork()
        if pid == 0:
            self.become_program(request, [null, null, null, writer])
        os.close(writer)
        os.close(null)
        data, timed_out = drain(reader, request["timeout"], request["limit"])
        os.close(reader)
        self.signal_all(signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self.reap()
        return {
            "output": data.decode("utf-8", "replace"),
            "code": os.waitstatus_to_exitcode(status),
            "timed_out": timed_out,
        }

    def become_program(self, request: dict[str, Any], files: list[int]) -> NoReturn:
        """Never returns: lock this process in, and run what was asked for."""
        with contextlib.suppress(BaseException):
            library = self.options["root"]
            hidden = [f"{library}/{path}" for path in request["hidden"]]
            present = [path for path in hidden if os.path.isfile(f"{ROOT}{path}")]
            self.lock_in(ROOT, files, kept=(), hidden=present)
            runner.run(request, library, len(files) - 1)
        os._exit(1)
