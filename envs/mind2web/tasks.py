"""Opens a source of web tasks: generated sites, walks recorded on them, or the user's own files of the benchmarks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cmat_gym.core.errors import TaskError, UsageError, choose
from cmat_gym.core.task import TaskSource
from cmat_gym.envs.mind2web.calls import AutoWebTasks, find_files
from cmat_gym.envs.mind2web.generator import BuiltinWebTasks
from cmat_gym.envs.mind2web.official import UNITS, BuiltinRecordTasks, OfficialRecordTasks
from cmat_gym.envs.mind2web.static import INTERFACES

__all__ = ["PAGES", "Web", "open_web"]

PAGES = ("live", "static")


class Web(NamedTuple):
    """A source of tasks, and how they are played: `live`, `record` or `call`."""

    tasks: TaskSource
    play: str


def open_web(
    source: str | Path = "builtin",
    pages: str | None = None,
    interface: str = "elements",
    unit: str = "task",
    scores: str | Path | None = None,
    seed: int = 0,
) -> Web:
    """The tasks that `source` names; equal arguments give the same object within a process.

    Args:
        source: `builtin`, or a folder or file of Mind2Web or AutoWebBench.
        pages: `live` or `static`; None is `live` for `builtin` and `static` for files.
        interface: `elements`, `single` or `tournament`, for recorded steps.
        unit: `task` or `step`: what an episode over Mind2Web's files is.
        scores: File with the candidate scores of Mind2Web's ranker (JSON).
        seed: Of the builtin tasks.

    Raises:
        UnknownNameError: An unknown kind of pages, interface or unit.
        UsageError: `pages="live"` with files, or an option that the source does not take.
        TaskError: The files cannot be read.
    """
    choose("interface", interface, INTERFACES)
    choose("unit", unit, UNITS)
    builtin = source == "builtin"
    pages = choose("kind of pages", pages or ("live" if builtin else "static"), PAGES)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"site_seed must be an integer of at least 0, got {seed!r}")
    if builtin and (scores is not None or unit != "task"):
        raise UsageError("scores= and unit='step' are about Mind2Web's own files: give their folder as source=")
    if not builtin and pages == "live":
        raise UsageError(f"Recorded pages cannot be acted in: pages='live' needs source='builtin', not {str(source)!r}")
    if builtin:
        return _open_builtin(pages, interface, seed)
    place = Path(source).expanduser().resolve()
    return _open_files(place, interface, unit, None if scores is None else Path(scores).expanduser().resolve())


@lru_cache(maxsize=16)
def _open_builtin(pages: str, interface: str, seed: int) -> Web:
    return Web(BuiltinWebTasks(seed), "live") if pages == "live" else Web(BuiltinRecordTasks(seed, interface), "record")


@lru_cache(maxsize=8)
def _open_files(place: Path, interface: str, unit: str, scores: Path | None) -> Web:
    if not place.exists():
        raise TaskError(f"There is no {place}: give a folder or a file of Mind2Web or AutoWebBench, or 'builtin'")
    if "autowebbench" in place.name or (place.is_dir() and find_files(place)):
        return Web(AutoWebTasks(place), "call")
    if place.is_file() and _is_call_file(place):
        return Web(AutoWebTasks(place), "call")
    return Web(OfficialRecordTasks(place, interface, unit, scores), "record")


def _is_call_file(path: Path) -> bool:
    """Whether a JSON file's first record has a `source`: AutoWebBench's, under another name."""
    with path.open("rb") as file:
        return file.read(64).lstrip(b" \n\r\t[{").startswith((b'"source"', b'"target"')) or path.suffix == ".xz"
