"""Where tasks come from: builtin families (generator.py) or AgentBench's files (official.py)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cmat_gym.core.task import TaskSource
from cmat_gym.envs.os.generator import BuiltinOSTasks
from cmat_gym.envs.os.official import OSTasks

__all__ = ["BuiltinOSTasks", "OSTasks", "open_tasks"]


def open_tasks(source: str | Path = "builtin", seed: int = 0) -> TaskSource:
    """The tasks that `source` names; equal arguments give the same object within a process.

    Args:
        source: `builtin`, a checkout of AgentBench, a folder with its `dev.json` and `training.json`, or one file.
        seed: Of the builtin tasks.

    Raises:
        TaskError: The files cannot be read.
        UsageError: The seed is negative.
    """
    if source == "builtin":
        return _builtin(seed)
    path = Path(source).expanduser().resolve()
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _files(path, changed)


@lru_cache(maxsize=8)
def _builtin(seed: int) -> TaskSource:
    return BuiltinOSTasks(seed)


@lru_cache(maxsize=4)
def _files(path: Path, changed: int) -> TaskSource:
    """The tasks of a path; a file that was written again is read again."""
    return OSTasks.from_source(path)
