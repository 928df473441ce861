"""Runs functions: ours, and what agents make of them, in cages without files, programs or a network.

The code that runs is a whole module of the standard library with one function replaced. The file of that module, and
with it the original function, cannot be seen from within, and what the tests expect is not known there.
"""

from __future__ import annotations

import contextlib
import os

from cmat_gym.core.errors import BackendError
from cmat_gym.core.sandbox.interpreter import Interpreter, Program, Report, open_interpreters
from cmat_gym.core.sandbox.limits import Limits, SandboxDied
from cmat_gym.envs.code_correction.functions import Function

__all__ = ["FUEL", "LIMITS", "judge", "open_sandbox", "record"]

LIMITS = Limits(memory=256 << 20, processes=8, disk=1 << 20, inodes=100, file_size=1 << 16, cpu_seconds=4,
                open_files=64, command_seconds=2.0)  # fmt: skip
FUEL = 20_000  # lines that one call of a task's own functions may run: the same on every machine

_bench: dict[int, Interpreter] = {}  # of this process, for code of our own


def open_sandbox() -> None:
    """Make sure that code can be run here.

    Raises:
        BackendError: It cannot; the message says why.
    """
    open_interpreters()


def judge(function: Function, text: str, sources: tuple[str, ...]) -> Report:
    """What an agent's function does, in a cage that nobody has used and nobody will use again.

    Raises:
        BackendError: There is no cage.
    """
    interpreter = open_interpreters().start(LIMITS)
    try:
        return interpreter.run(_program(function, text, sources, None))
    except SandboxDied:
        return Report("crash")
    finally:
        interpreter.close()


def record(function: Function, text: str, sources: tuple[str, ...]) -> Report:
    """What a function of our own making does, with a limit on lines rather than on time."""
    program = _program(function, text, sources, FUEL)
    with contextlib.suppress(SandboxDied):
        return _own_bench().run(program)
    _bench.clear()  # a mutant that has taken its cage down; once more, to be sure that it was this one
    try:
        return _own_bench().run(program)
    except SandboxDied:
        _bench.clear()
        return Report("crash")


def _own_bench() -> Interpreter:
    owner = os.getpid()
    if owner not in _bench:
        _bench.clear()  # of a parent that this process was forked from
        _bench[owner] = open_interpreters().start(LIMITS)
    return _bench[owner]


def _program(function: Function, text: str, sources: tuple[str, ...], fuel: int | None) -> Program:
    source = function.source
    try:
        return Program(source.module, source.package, function.module_with(text), sources, fuel)
    except UnicodeError as error:
        raise BackendError(f"The text of {function.name} cannot be sent: {error}") from None
