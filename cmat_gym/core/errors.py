"""Every error the package raises on purpose.

    CmatError
    ├── UnknownNameError (also a ValueError)   an id, split, protocol, model … that does not exist; lists the choices
    ├── TaskError (also a ValueError)          a task or a source that cannot be read
    ├── UsageError (also a ValueError)         a call in the wrong order, or an argument of the wrong kind
    ├── ReplayError                            a recorded episode that does not repeat
    ├── BackendError                           a service or a sandbox that failed underneath a world or a policy
    ├── BudgetError                            what may be spent on an endpoint is spent
    └── MissingExtraError (also an ImportError) an optional part that is not installed

`InvalidAction` stands apart: a world raises it inside a step, and `TextEnv` turns it into an observation. It never
reaches the caller.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

__all__ = [
    "BackendError",
    "BudgetError",
    "CmatError",
    "InvalidAction",
    "MissingExtraError",
    "ReplayError",
    "TaskError",
    "UnknownNameError",
    "UsageError",
    "choose",
    "describe_error",
    "require",
]


class CmatError(Exception):
    """Root of all errors of cmat-gym. All of them can be pickled, so that worker processes can report them."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the message: subclasses take other arguments than the message they make of them."""
        return _rebuild, (type(self), self.args)


def _rebuild(kind: type[CmatError], args: tuple[Any, ...]) -> CmatError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class UnknownNameError(CmatError, ValueError):
    """A name that is not among the choices; the message lists them."""

    def __init__(self, kind: str, name: object, choices: Iterable[str]) -> None:
        known = sorted(choices)
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"Unknown {kind} {name!r}; choose one of: {', '.join(known) or '(none)'}.{hint}")


class TaskError(CmatError, ValueError):
    """A task, or a file that tasks come from, cannot be used."""


class UsageError(CmatError, ValueError):
    """The caller used the API in a way that cannot work."""


class ReplayError(CmatError):
    """A recorded episode gave something else when played again."""


class BackendError(CmatError):
    """A simulator or service underneath a world failed; the episode ends, the other episodes go on.

    A policy raises it where a model's server fails; that ends the run, whose recorded tasks are kept.
    """


class BudgetError(CmatError):
    """The tokens or the money that may be spent on an endpoint are spent; what was recorded is kept."""


class MissingExtraError(CmatError, ImportError):
    """An optional part is not installed; the message prints the command that installs it."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module!r} is not installed. It comes with: pip install 'cmat-gym[{extra}]'")


class InvalidAction(Exception):
    """The agent's action cannot be carried out; the text tells the agent why."""


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return `name` if it is among `choices`, else raise `UnknownNameError`."""
    known = tuple(choices)
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return name


def require(module: str, extra: str) -> ModuleType:
    """Import and return an optional module, or raise `MissingExtraError` naming the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(module, extra) from error


def describe_error(error: BaseException) -> str:
    """An exception in one line, for a record: its type and its message."""
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
