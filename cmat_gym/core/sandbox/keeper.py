"""This process's end of the cages: a keeper process that forks them, and one cage kept warm for the next episode."""

from __future__ import annotations

import abc
import atexit
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from cmat_gym.core.errors import BackendError
from cmat_gym.core.sandbox.cgroups import Group, remove_dead
from cmat_gym.core.sandbox.limits import Limits, SandboxDied

__all__ = ["Cages", "Channel", "InCage", "open_once"]

HERE = Path(__file__).parent
START_SECONDS = 20.0
ANSWER_SECONDS = 60.0
SPARES = 4  # of different limits


class Channel:
    """Length-prefixed JSON over a socket, with PID 1 of a cage at the other end."""

    def __init__(self) -> None:
        self.socket, self.remote = socket.socketpair()
        self.socket.settimeout(ANSWER_SECONDS)

    def ask(self, request: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            SandboxDied: The other end is gone.
            BackendError: It could not do it.
        """
        data = json.dumps(request).encode()
        try:
            socket.send_fds(self.socket, [len(data).to_bytes(4, "big")], fds)
            self.socket.sendall(data)
        except OSError as error:
            raise SandboxDied(f"The machine of this episode is gone ({error})") from None
        answer = self.receive()
        while "event" in answer:  # the shell ended meanwhile: whoever runs the next command finds out
            answer = self.receive()
        return answer

    def receive(self) -> dict[str, Any]:
        """Read one message."""
        size = int.from_bytes(self._exactly(4), "big")
        message: dict[str, Any] = json.loads(self._exactly(size))
        if "error" in message:
            raise BackendError(f"The sandbox failed: {message['error']}")
        return message

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except OSError as error:
                raise SandboxDied(f"The machine of this episode does not answer ({error})") from None
            if not part:
                raise SandboxDied("The machine of this episode is gone")
            data += part
        return data


class _Closable(Protocol):
    def close(self) -> None: ...


class InCage:
    """One cage. It exists from the first moment on as a request to the keeper; `ready` waits until it stands.

    Args:
        keeper: Who forks it.
        limits: What it may use.
        pipes: Files that its PID 1 gets, besides the channel.
    """

    def __init__(self, keeper: Cages[Any], limits: Limits, pipes: Sequence[int] = ()) -> None:
        self.limits = limits
        self._keeper = keeper  # alive as long as one of its cages is
        self._channel = Channel()
        self._group = Group(limits)
        self._ready = False
        self._open: list[_Closable] = []  # closed with the cage
        joins = self._group.open()
        try:
            keeper.request(limits, self._channel.remote.fileno(), pipes, joins)
        finally:
            self._channel.remote.close()
            for fd in joins:
                os.close(fd)
        self._finalizer = weakref.finalize(self, _release, self._channel.socket, self._open, self._group, os.getpid())

    def ready(self) -> None:
        """Wait until the cage stands.

        Raises:
            BackendError: It could not be built.
        """
        if not self._ready:
            self._channel.receive()
            self._ready = True

    def close(self) -> None:
        """End all processes and forget all files."""
        self._finalizer()


def _release(control: socket.socket, others: list[_Closable], group: Group, owner: int) -> None:
    """Let go of a cage; a process that was forked from its owner only closes its copies of the files."""
    control.close()
    for other in others:
        other.close()
    if os.getpid() == owner:
        group.close()


CageT = TypeVar("CageT", bound=InCage)


class Cages(abc.ABC, Generic[CageT]):
    """A keeper process that gives out cages of one kind, and keeps one warm for each set of limits in use.

    Args:
        options: What the keeper is told: `kind` of cage and the `root` that it shows.

    Raises:
        BackendError: This machine does not allow it.
    """

    what = "namespace sandbox"
    way_out = "Allow user namespaces for this user"

    def __init__(self, options: Mapping[str, Any]) -> None:
        if platform.system() != "Linux":
            raise BackendError(f"The {self.what} needs Linux, not {platform.system()}. {self.way_out}")
        self.owner = os.getpid()
        self._spares: dict[Limits, CageT] = {}
        self._socket, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START_SECONDS)
        code = f"import sys; sys.path.insert(0, {str(HERE)!r}); from cage import keeper; keeper.main()"
        command = [sys.executable, "-I", "-S", "-B", "-c", code, str(remote.fileno()), json.dumps(dict(options))]
        with remote:
            process = subprocess.Popen(command, pass_fds=[remote.fileno()], env={"PATH": "/usr/bin:/bin"}, cwd="/")
        try:
            answer = json.loads(self._socket.recv(65536) or b'{"error": "it ended at once"}')
        except OSError as error:
            answer = {"error": str(error)}
        process.wait()  # the keeper itself is its grandchild, PID 1 of its own namespace
        if "error" in answer:
            self._socket.close()
            raise BackendError(f"The {self.what} cannot be built here: {answer['error']}. {self.way_out}")
        self.answer: dict[str, Any] = answer

    @abc.abstractmethod
    def _begin(self, limits: Limits) -> CageT:
        """A new cage, not waited for."""

    def start_cold(self, limits: Limits) -> CageT:
        """A new cage, with no other one in the making: for measuring."""
        found = self._begin(limits)
        found.ready()
        return found

    def start(self, limits: Limits) -> CageT:
        """The warm cage, or a new one; in any case the next one is begun.

        Raises:
            BackendError: It cannot be built.
        """
        found = self._spares.pop(limits, None) or self._begin(limits)
        try:
            found.ready()
        except SandboxDied:  # a spare that was killed while it waited
            found = self.start_cold(limits)
        if len(self._spares) < SPARES:
            self._spares[limits] = self._begin(limits)
        return found

    def request(self, limits: Limits, channel: int, pipes: Sequence[int], joins: Sequence[int]) -> None:
        """Ask the keeper for a cage that speaks through the given files and joins the given control groups."""
        options = {
            "disk": limits.disk,
            "inodes": limits.inodes,
            "pipes": len(pipes),
            "total_processes": 4 * limits.processes + 4096,
            "limits": {
                "NPROC": limits.processes,
                "FSIZE": limits.file_size,
                "AS": 2 * limits.memory,
                "CPU": limits.cpu_seconds,
                "NOFILE": limits.open_files,
                "CORE": 0,
            },
        }
        try:
            socket.send_fds(self._socket, [json.dumps(options).encode()], [channel, *pipes, *joins])
        except OSError as error:
            raise SandboxDied(f"The keeper of the sandboxes is gone ({error})") from None

    def close(self) -> None:
        """Drop the warm cages and let the keeper end, with everything in it."""
        spares, self._spares = self._spares, {}
        for spare in spares.values():
            spare.close()
        self._socket.close()
        remove_dead(patience=2.0)

    def forget(self) -> None:
        """In a forked process: hold nothing of the owner's, or the keeper would outlive it."""
        self._socket.close()
        spares, self._spares = self._spares, {}
        for spare in spares.values():
            with contextlib.suppress(OSError):
                spare.close()


_keepers: dict[tuple[type, str], Cages[Any]] = {}
CagesT = TypeVar("CagesT", bound="Cages[Any]")


def open_once(kind: type[CagesT], name: str, make: Callable[[], CagesT]) -> CagesT:
    """This process's keeper of a kind and a name; a process that was forked gets its own.

    Raises:
        BackendError: The machine does not allow it.
    """
    found = _keepers.get((kind, name))
    if not isinstance(found, kind) or found.owner != os.getpid():
        found = make()
        _keepers[kind, name] = found
    return found


def _close_all() -> None:
    for keeper in list(_keepers.values()):
        if keeper.owner == os.getpid():
            keeper.close()
    _keepers.clear()


def _forget_after_fork() -> None:
    for keeper in _keepers.values():
        keeper.forget()
    _keepers.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_close_all)
