"""Talking to a persistent bash through three pipes: commands in, text out, and the end of a command on its own pipe.

Nothing of this protocol is in the text that the agent sees or can write: the status pipe is closed for everything that
a command runs. An agent that destroys its own shell gets a new one.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable

from cmat_gym.envs.os.backend import Output

__all__ = ["OUTPUT_KEPT", "PREPARE", "ShellPipes", "quote", "wrap"]

OUTPUT_KEPT = 1 << 16
PREPARE = "shopt -s expand_aliases"
GRACE = 0.3  # seconds a stopped command's shell has to come back


def quote(text: str) -> str:
    """A text as one word of the shell; NUL cannot be in one and is dropped."""
    return "'" + text.replace("\0", "").replace("'", "'\\''") + "'"


def wrap(command: str) -> bytes:
    """The line that makes the shell run a command, without input, and report its status."""
    line = f"eval {quote(command)} </dev/null 3>&-; {{ builtin echo $? >&3; }} 2>/dev/null\n"
    return line.encode("utf-8", "replace")


class ShellPipes:
    """The host's ends of a shell's pipes.

    `remote` are the shell's ends; close them once they were handed over.
    """

    def __init__(self) -> None:
        (stdin, self._in), (self._out, stdout), (self._status, status) = os.pipe(), os.pipe(), os.pipe()
        self.remote = (stdin, stdout, status)
        for fd in (self._in, self._out, self._status):
            os.set_blocking(fd, False)
        self._pending = 0  # statuses that are still to come from commands nobody waits for

    def hand_over(self) -> None:
        """Close the shell's ends here."""
        for fd in self.remote:
            os.close(fd)
        self.remote = (-1, -1, -1)

    def post(self, command: str) -> None:
        """Let the shell run a short command, without waiting for it."""
        try:
            os.write(self._in, wrap(command))
        except BrokenPipeError:
            return  # a shell that died at once; the next command will find out
        self._pending += 1

    def close(self) -> None:
        """Close the host's ends."""
        for fd in (self._in, self._out, self._status):
            os.close(fd)

    def run(
        self, command: str, seconds: float, limit: int, control: socket.socket, stop: Callable[[float], None]
    ) -> Output:
        """Run a command and read its output to its end, or stop it.

        Args:
            command: Any text.
            seconds: Wall-clock time it may take.
            limit: Bytes it may print.
            control: Becomes readable when the shell has ended.
            stop: Called with the command's age to kill what it started.

        Returns:
            Its event is `exit` where the shell has ended, and `restart` where the shell did not come back either.
        """
        begin = time.monotonic()
        reader = _Reader(self._in, self._out, self._status, control, wrap(command), self._pending + 1)
        self._pending = 0
        if reader.read_until(begin + seconds, limit):
            return reader.output("exit" if reader.ended else "")
        event = "flood" if reader.size > limit else "timeout"
        stop(time.monotonic() - begin)
        if reader.read_until(time.monotonic() + GRACE, None):
            return reader.output("exit" if reader.ended else event)
        return reader.output("restart")


class _Reader:
    """One command's exchange."""

    def __init__(
        self, stdin: int, stdout: int, status: int, control: socket.socket, data: bytes, statuses: int
    ) -> None:
        self.stdin, self.stdout, self.status = stdin, stdout, status
        self.data = memoryview(data)
        self.statuses = statuses
        self.lines = bytearray()
        self.kept = bytearray()
        self.size = 0
        self.ended = False
        self.poll = select.poll()
        for fd in (stdout, status, control.fileno()):
            self.poll.register(fd, select.POLLIN)
        self._write()
        if self.data:
            self.poll.register(stdin, select.POLLOUT)

    def read_until(self, deadline: float, limit: int | None) -> bool:
        """Whether the command, or its shell, ended in time and below the limit."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or (limit is not None and self.size > limit):
                return False
            for fd, _ in self.poll.poll(left * 1000):
                if fd == self.stdin:
                    self._write()
                elif fd == self.stdout:
                    self._read_output()
                elif fd == self.status:
                    self.lines += self._read(self.status)
                    self.ended |= not self.lines
                else:
                    self.ended = True
            if self.ended or self.lines.count(b"\n") >= self.statuses:
                self._read_output()
                return True

    def output(self, event: str) -> Output:
        """The text so far; a command that ran to its end has a status."""
        text = self.kept.decode("utf-8", "surrogateescape")
        done = self.lines.count(b"\n") >= self.statuses
        return Output(text, int(self.lines.split(b"\n")[-2]) if done and event in ("", "exit") else None, event)

    def _write(self) -> None:
        try:
            self.data = self.data[os.write(self.stdin, self.data) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.data, self.ended = self.data[:0], True
        if not self.data:
            try:
                self.poll.unregister(self.stdin)
            except KeyError:
                return

    def _read_output(self) -> None:
        while part := self._read(self.stdout):
            self.size += len(part)
            self.kept += part[: max(0, OUTPUT_KEPT - len(self.kept))]
            if len(part) < 65536:
                return

    @staticmethod
    def _read(fd: int) -> bytes:
        try:
            return os.read(fd, 65536)
        except BlockingIOError:
            return b""
