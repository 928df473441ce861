"""A Python interpreter in a cage: runs a module that nobody trusts, and evaluates expressions with it.

The interpreter is this process's own (a fork of its keeper), so that it is the same Python, and starts in no time.
"""

from __future__ import annotations

import json
import secrets
import sys
import sysconfig
from typing import Any, NamedTuple

from cmat_gym.core.errors import BackendError
from cmat_gym.core.sandbox.keeper import Cages, InCage, open_once
from cmat_gym.core.sandbox.limits import Limits

__all__ = ["Interpreter", "Interpreters", "Outcome", "Program", "Report", "open_interpreters"]

REPORT_BYTES = 1 << 20


class Program(NamedTuple):
    """A module as text, and what to evaluate once it was imported.

    Attributes:
        module: Its name; the file of that name in the standard library cannot be seen while it runs.
        package: Whether it is the `__init__` of a package.
        text: Its source.
        sources: Each a piece of Python whose last line is an expression; it sees the names of the module.
        fuel: Lines of Python that a source may run; None does not count them.
    """

    module: str
    package: bool
    text: str
    sources: tuple[str, ...]
    fuel: int | None = None


class Outcome(NamedTuple):
    """What a source led to: `value` and its repr, `error` and the exception's name, or `fuel`."""

    kind: str
    text: str


class Report(NamedTuple):
    """What running a program led to.

    Attributes:
        error: Empty, or why there are no outcomes: the name of the exception that the import raised, `timeout`,
            `exit` or `crash`.
        outcomes: One per source.
    """

    error: str
    outcomes: tuple[Outcome, ...] = ()


class Interpreter(InCage):
    """One cage. Every program runs in a process of its own; only trusted ones should share a cage."""

    def run(self, program: Program) -> Report:
        """Run a program, within the limits of time and output.

        Raises:
            SandboxDied: The cage is gone.
        """
        self.ready()
        nonce = secrets.token_hex(8)
        request = {
            "op": "python",
            "nonce": nonce,
            "module": program.module,
            "package": program.package,
            "text": program.text,
            "sources": program.sources,
            "fuel": program.fuel,
            "hidden": _files(program),
            "timeout": self.limits.command_seconds,
            "limit": REPORT_BYTES,
        }
        answer = self._channel.ask(request)
        if answer["timed_out"]:
            return Report("timeout")
        if answer["code"] != 0:
            return Report("crash")
        return _read(answer["output"], nonce, len(program.sources))


def _files(program: Program) -> list[str]:
    """The files in the library from which the original could be read."""
    name = program.module.replace(".", "/")
    folder, _, stem = (f"{name}/__init__" if program.package else name).rpartition("/")
    compiled = [f"__pycache__/{stem}.{sys.implementation.cache_tag}{tag}.pyc" for tag in ("", ".opt-1", ".opt-2")]
    return [f"{folder}/{path}".lstrip("/") for path in (f"{stem}.py", *compiled)]


def _read(text: str, nonce: str, count: int) -> Report:
    """The report of a process that has ended by itself; what it is not sure to have written counts for nothing."""
    try:
        data: Any = json.loads(text)
        if data["nonce"] != nonce:
            return Report("exit")
        if data["error"]:
            return Report(str(data["error"]))
        outcomes = tuple(Outcome(str(kind), str(value)) for kind, value in data["outcomes"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return Report("exit")
    return Report("", outcomes) if len(outcomes) == count else Report("exit")


class Interpreters(Cages[Interpreter]):
    """Gives out interpreters, and keeps one warm.

    Raises:
        BackendError: This machine does not allow it.
    """

    what = "sandbox for Python code"
    way_out = "It needs Linux with user namespaces allowed for this user; code is never run without it"

    def __init__(self) -> None:
        library = sysconfig.get_path("stdlib")
        if sys.implementation.name != "cpython":
            raise BackendError(f"The {self.what} needs CPython, not {sys.implementation.name}. {self.way_out}")
        super().__init__({"kind": "python", "root": library})

    def _begin(self, limits: Limits) -> Interpreter:
        return Interpreter(self, limits)


def open_interpreters() -> Interpreters:
    """This process's interpreters; a process that was forked gets its own.

    Raises:
        BackendError: The machine does not allow it.
    """
    return open_once(Interpreters, "", Interpreters)
