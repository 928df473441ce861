"""Where tasks come from: functions of the standard library (functions.py), broken by seeded mistakes (generator.py)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cmat_gym.core.errors import choose
from cmat_gym.envs.code_correction.generator import BuiltinCodeTasks

__all__ = ["BuiltinCodeTasks", "open_tasks"]


def open_tasks(source: str | Path = "builtin", seed: int = 0, names: str = "original") -> BuiltinCodeTasks:
    """The builtin tasks; equal arguments give the same object within a process.

    Args:
        source: `builtin`: data of the paper's table were never published.
        seed: Of the mistakes.
        names: `original`, or `renamed` for functions with other names of variables.

    Raises:
        UnknownNameError: Another source, or unknown `names`.
        UsageError: The seed is negative.
        TaskError: This Python comes without the sources of its library.
    """
    choose("source", str(source), ["builtin"])
    return _builtin(seed, names)


@lru_cache(maxsize=8)
def _builtin(seed: int, names: str) -> BuiltinCodeTasks:
    return BuiltinCodeTasks(seed, names)
