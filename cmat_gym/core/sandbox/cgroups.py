"""Control groups around the sandboxes, where this process may write them: the only limit on all memory together.

Version 1 and 2. A group is made for each sandbox and removed after it; what a killed process left behind is removed by
the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from functools import lru_cache
from itertools import count
from pathlib import Path

from cmat_gym.core.sandbox.limits import Limits

__all__ = ["Group", "hierarchies", "remove_dead"]

PREFIX = "cmat-gym"
_numbers = count()
_dying: list[Path] = []


@lru_cache(maxsize=1)
def hierarchies() -> tuple[Path, ...]:
    """Folders in which groups with memory and process limits can be made; empty where there are none."""
    found = tuple(path for path in _candidates() if _usable(path))
    _sweep(found)
    return found


def _candidates() -> list[Path]:
    """This process's own place in each hierarchy that limits memory or processes."""
    mounts: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, target, kind, options, *_ = line.split(" ")
            if kind == "cgroup2":
                mounts[""] = Path(target)
            elif kind == "cgroup":
                mounts.update(dict.fromkeys({"memory", "pids", "cpu"} & set(options.split(",")), Path(target)))
    places = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, names, place = line.split(":", 2)
            for name in names.split(","):
                if name in mounts and (name or len(mounts) == 1):
                    own = mounts[name] / place.lstrip("/")
                    places.append(own if own.is_dir() else mounts[name])
    return list(dict.fromkeys(places))


def _usable(folder: Path) -> bool:
    trial = folder / f"{PREFIX}-{os.getpid()}-trial"
    try:
        trial.mkdir()
    except OSError:
        return False
    usable = any(
        (trial / name).exists() for name in ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us")
    )
    with contextlib.suppress(OSError):
        trial.rmdir()
    return usable


def _sweep(folders: tuple[Path, ...]) -> None:
    """Remove the groups of processes that are gone."""
    for folder in folders:
        for group in folder.glob(f"{PREFIX}-*"):
            match = re.fullmatch(rf"{PREFIX}-(\d+)-.*", group.name)
            if match and not Path(f"/proc/{match[1]}").exists():
                with contextlib.suppress(OSError):
                    group.rmdir()


class Group:
    """The control groups of one sandbox; nothing at all where none can be made."""

    def __init__(self, limits: Limits) -> None:
        self.folders: list[Path] = []
        name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        # Files in memory count as memory: without the disk's size on top, a full disk would kill every process.
        memory, processes = str(limits.memory + limits.disk), str(limits.processes + 3)
        quota = int(limits.cpus * 100_000)
        for hierarchy in hierarchies():
            folder = hierarchy / name
            with contextlib.suppress(OSError):
                folder.mkdir()
                self.folders.append(folder)
            for file, value in (("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory),
                                ("memory.max", memory), ("memory.swap.max", "0"), ("pids.max", processes),
                                ("cpu.cfs_quota_us", str(quota)), ("cpu.max", f"{quota} 100000")):  # fmt: skip
                if (folder / file).exists():
                    with contextlib.suppress(OSError):
                        (folder / file).write_text(value)

    def open(self) -> list[int]:
        """Files through which a process joins the groups by writing `0`."""
        return [os.open(folder / "cgroup.procs", os.O_WRONLY) for folder in self.folders]

    def close(self) -> None:
        """Remove the groups, or do so later, when their last process is gone."""
        _dying.extend(self.folders)
        self.folders = []
        remove_dead()


def remove_dead(patience: float = 0.0) -> None:
    """Remove the groups of closed sandboxes, as far as their processes have ended."""
    deadline = time.monotonic() + patience
    while True:
        for folder in list(_dying):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                continue
            _dying.remove(folder)
        if not _dying or time.monotonic() >= deadline:
            return
        time.sleep(0.005)
