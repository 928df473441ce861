"""Where tasks come from: the builtin generator, or DBBench's own files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cmat_gym.core.task import TaskSource
from cmat_gym.envs.db.generator import BuiltinDBTasks
from cmat_gym.envs.db.official import OfficialDBTasks

__all__ = ["open_tasks"]


def open_tasks(source: str | Path = "builtin") -> TaskSource:
    """The tasks that `source` names; equal arguments give the same object within a process.

    Args:
        source: `builtin`, or a DBBench file, or a folder with DBBench files.

    Raises:
        TaskError: There are no such files, or they are damaged.
    """
    if source == "builtin":
        return _builtin()
    return _official(Path(source).expanduser().resolve())


@lru_cache(maxsize=1)
def _builtin() -> BuiltinDBTasks:
    return BuiltinDBTasks()


@lru_cache(maxsize=8)
def _official(path: Path) -> OfficialDBTasks:
    return OfficialDBTasks(path)
