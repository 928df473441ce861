"""The `namespace` backend: this process's end of the keeper and of its cages (see the package `cage`)."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import BackendError
from cmat_gym.envs.os.backend import FinalState, Limits, Machines, Output, Ran, Sandbox, SandboxDied, Script
from cmat_gym.envs.os.cgroups import Group, remove_dead
from cmat_gym.envs.os.shell import PREPARE, ShellPipes

__all__ = ["NamespaceSandbox", "Namespaces", "open_namespaces"]

HERE = Path(__file__).parent
START_SECONDS = 20.0
ANSWER_SECONDS = 60.0
CHECK_SECONDS = 30.0
CHECK_OUTPUT = 1 << 16
WAY_OUT = (
    "Use backend='docker' (pip install 'cmat-gym[docker]' and a Docker daemon) or backend='podman', "
    "or allow user namespaces for this user"
)


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


class NamespaceSandbox(Sandbox):
    """One cage. It exists from the first moment on as a request to the keeper; `ready` waits until it stands."""

    def __init__(self, keeper: Namespaces, limits: Limits) -> None:
        self.limits = limits
        self._keeper = keeper  # alive as long as one of its cages is
        self._channel = Channel()
        self._pipes = ShellPipes()
        self._group = Group(limits)
        self._ready = self._frozen = False
        joins = self._group.open()
        try:
            keeper.request(limits, [self._channel.remote.fileno(), *self._pipes.remote, *joins])
        finally:
            self._channel.remote.close()
            self._pipes.hand_over()
            for fd in joins:
                os.close(fd)
        self._pipes.post(PREPARE)
        self._open = [self._pipes]
        self._finalizer = weakref.finalize(self, _release, self._channel.socket, self._open, self._group, os.getpid())

    def ready(self) -> None:
        """Wait until the cage stands.

        Raises:
            BackendError: It could not be built.
        """
        if not self._ready:
            self._channel.receive()
            self._ready = True

    def populate(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """See `Sandbox`."""
        self.ready()
        self._channel.ask({"op": "populate", "entries": list(entries)})

    def run(self, command: str) -> Output:
        """See `Sandbox`."""
        self.ready()
        limits = self.limits
        output = self._pipes.run(
            command, limits.command_seconds, limits.output_bytes, self._channel.socket, self._interrupt
        )
        if output.event in ("exit", "restart"):
            self._new_shell()
        return output

    def _interrupt(self, age: float) -> None:
        self._channel.ask({"op": "interrupt", "age": age})

    def _new_shell(self) -> None:
        pipes = ShellPipes()
        try:
            self._channel.ask({"op": "shell"}, pipes.remote)
        finally:
            pipes.hand_over()
        self._open[:] = [pipes]
        self._pipes.close()
        self._pipes = pipes
        pipes.post(PREPARE)

    def execute(self, script: Script, parameters: Sequence[str] = ()) -> Ran:
        """See `Sandbox`."""
        return self._run_script(script, parameters, "")

    def check(self, script: Script, parameters: Sequence[str] = ()) -> Ran:
        """See `Sandbox`."""
        self.freeze()
        return self._run_script(script, parameters, "check")

    def _run_script(self, script: Script, parameters: Sequence[str], copy: str) -> Ran:
        self.ready()
        request = {
            "op": "run",
            "argv": script.command(parameters),
            "copy": copy,
            "timeout": CHECK_SECONDS,
            "limit": CHECK_OUTPUT,
        }
        answer = self._channel.ask(request)
        return Ran(answer["output"], answer["code"], answer["timed_out"])

    def freeze(self) -> None:
        """See `Sandbox`."""
        if not self._frozen:
            self.ready()
            self._channel.ask({"op": "freeze"})
            self._frozen = True

    def inspect(self, paths: Sequence[str]) -> FinalState:
        """See `Sandbox`."""
        self.ready()
        return FinalState.from_json(self._channel.ask({"op": "inspect", "paths": list(paths)}))

    def close(self) -> None:
        """See `Sandbox`."""
        self._finalizer()


def _release(control: socket.socket, pipes: list[ShellPipes], group: Group, owner: int) -> None:
    """Let go of a cage; a process that was forked from its owner only closes its copies of the files."""
    control.close()
    for pipe in pipes:
        pipe.close()
    if os.getpid() == owner:
        group.close()


class Namespaces(Machines):
    """A keeper process, and one cage kept warm for the next episode.

    Raises:
        BackendError: This machine does not allow it.
    """

    name = "namespace"

    def __init__(self, root: str = "/") -> None:
        if platform.system() != "Linux":
            raise BackendError(f"The namespace sandbox needs Linux, not {platform.system()}. {WAY_OUT}")
        self.root = root
        self.owner = os.getpid()
        self._spares: dict[Limits, NamespaceSandbox] = {}
        self._socket, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START_SECONDS)
        code = f"import sys; sys.path.insert(0, {str(HERE)!r}); from cage import keeper; keeper.main()"
        command = [sys.executable, "-I", "-S", "-B", "-c", code, str(remote.fileno()), json.dumps({"root": root})]
        with remote:
            process = subprocess.Popen(command, pass_fds=[remote.fileno()], env={"PATH": "/usr/bin:/bin"}, cwd="/")
        try:
            answer = json.loads(self._socket.recv(65536) or b'{"error": "it ended at once"}')
        except OSError as error:
            answer = {"error": str(error)}
        process.wait()  # the keeper itself is its grandchild, PID 1 of its own namespace
        if "error" in answer:
            self._socket.close()
            raise BackendError(f"The namespace sandbox cannot be built here: {answer['error']}. {WAY_OUT}")
        self.writable_usr: bool = answer["translated"]

    def start(self, limits: Limits) -> NamespaceSandbox:
        """The warm cage, or a new one; in any case the next one is begun."""
        sandbox = self._spares.pop(limits, None) or NamespaceSandbox(self, limits)
        try:
            sandbox.ready()
        except SandboxDied:  # a spare that was killed while it waited
            sandbox = NamespaceSandbox(self, limits)
            sandbox.ready()
        if len(self._spares) < 4:  # of different limits
            self._spares[limits] = NamespaceSandbox(self, limits)
        return sandbox

    def start_cold(self, limits: Limits) -> NamespaceSandbox:
        """A new cage, with no other one in the making: for measuring."""
        sandbox = NamespaceSandbox(self, limits)
        sandbox.ready()
        return sandbox

    def request(self, limits: Limits, fds: Sequence[int]) -> None:
        """Ask the keeper for a cage that speaks through the given files."""
        options = {
            "disk": limits.disk,
            "inodes": limits.inodes,
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
            socket.send_fds(self._socket, [json.dumps(options).encode()], fds)
        except OSError as error:
            raise SandboxDied(f"The keeper of the sandboxes is gone ({error})") from None

    def close(self) -> None:
        """Drop the warm cages and let the keeper end, with everything in it."""
        spares, self._spares = self._spares, {}
        for spare in spares.values():
            spare.close()
        self._socket.close()
        remove_dead(patience=2.0)


_keepers: dict[str, Namespaces] = {}


def open_namespaces(root: str = "/") -> Namespaces:
    """This process's keeper over a root; a process that was forked gets its own.

    Raises:
        BackendError: The machine does not allow it.
    """
    found = _keepers.get(root)
    if found is None or found.owner != os.getpid():
        found = _keepers[root] = Namespaces(root)
    return found


def _close_all() -> None:
    for keeper in list(_keepers.values()):
        if keeper.owner == os.getpid():
            keeper.close()
    _keepers.clear()


def _forget_after_fork() -> None:
    """A forked process must not hold the sockets: the keeper would outlive its owner."""
    for keeper in _keepers.values():
        keeper._socket.close()
        spares, keeper._spares = keeper._spares, {}
        for spare in spares.values():
            with contextlib.suppress(OSError):
                spare.close()
    _keepers.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_close_all)
