"""Where the tasks of the household come from: builtin houses (generator.py) or the published games (official.py)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cmat_gym.core.task import TaskSource
from cmat_gym.envs.alfworld.generator import BuiltinHouseTasks
from cmat_gym.envs.alfworld.official import OfficialHouseTasks

__all__ = ["open_tasks"]


def open_tasks(source: str | Path = "builtin", seed: int = 0) -> TaskSource:
    """The tasks that `source` names; equal arguments give the same object within a process.

    Args:
        source: `builtin`, `official`, or a path (see `OfficialHouseTasks`).
        seed: Seed of the builtin houses.

    Raises:
        TaskError: There are no games.
        UsageError: The seed is negative.
    """
    if source == "builtin":
        return _builtin(seed)
    return _official(str(source))


@lru_cache(maxsize=8)
def _builtin(seed: int) -> TaskSource:
    return BuiltinHouseTasks(seed)


@lru_cache(maxsize=4)
def _official(source: str) -> TaskSource:
    return OfficialHouseTasks(source)
