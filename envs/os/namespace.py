"""The `namespace` backend: shells in the cages of `cmat_gym.core.sandbox`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cmat_gym.core.sandbox.keeper import Cages, InCage, open_once
from cmat_gym.core.sandbox.limits import Limits
from cmat_gym.envs.os.backend import FinalState, Machines, Output, Ran, Sandbox, Script
from cmat_gym.envs.os.shell import PREPARE, ShellPipes

__all__ = ["NamespaceSandbox", "Namespaces", "open_namespaces"]

CHECK_SECONDS = 30.0
CHECK_OUTPUT = 1 << 16


class NamespaceSandbox(InCage, Sandbox):
    """One cage with a persistent shell."""

    def __init__(self, keeper: Namespaces, limits: Limits) -> None:
        self._pipes = ShellPipes()
        try:
            super().__init__(keeper, limits, self._pipes.remote)
        finally:
            self._pipes.hand_over()
        self._open.append(self._pipes)
        self._pipes.post(PREPARE)
        self._frozen = False

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


class Namespaces(Cages[NamespaceSandbox], Machines):
    """A keeper process, and one cage kept warm for the next episode.

    Raises:
        BackendError: This machine does not allow it.
    """

    name = "namespace"
    way_out = (
        "Use backend='docker' (pip install 'cmat-gym[docker]' and a Docker daemon) or backend='podman', "
        "or allow user namespaces for this user"
    )

    def __init__(self, root: str = "/") -> None:
        super().__init__({"kind": "shell", "root": root})
        self.root = root
        self.writable_usr: bool = self.answer["translated"]

    def _begin(self, limits: Limits) -> NamespaceSandbox:
        return NamespaceSandbox(self, limits)


def open_namespaces(root: str = "/") -> Namespaces:
    """This process's keeper over a root; a process that was forked gets its own.

    Raises:
        BackendError: The machine does not allow it.
    """
    return open_once(Namespaces, root, lambda: Namespaces(root))
