"""Opens a source of web tasks: generated sites, their recorded walks, or the user's own files of the benchmark."""

from __future__ import annotations

from functools import lru_cache

from cmat_gym.core.task import TaskSource
from cmat_gym.envs.mind2web.generator import BuiltinWebTasks

__all__ = ["open_tasks"]


@lru_cache(maxsize=8)
def open_live(seed: int) -> BuiltinWebTasks:
    """The builtin live tasks of a seed."""
    return BuiltinWebTasks(seed)
