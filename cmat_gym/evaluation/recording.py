"""A run on disk: one line of JSON per task, written when the task is finished, and never played again.

A run's folder holds

    settings.json    who played which panel under which rules; a run goes on only where all of it is equal
    records.jsonl    one line per task: what came of it, and apart from that, what time it took
    episodes.jsonl   one line per task: the episode itself

While a run goes on, lines stand in the order in which tasks finish; at its end both files are put into the panel's
order. Two runs with equal settings then have equal records but for `timing`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.records import RunSettings, TaskRecord

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = ["Finished", "Recording", "read_finished", "read_settings", "recorded_runs"]

SETTINGS, RECORDS, EPISODES, LOCK = "settings.json", "records.jsonl", "episodes.jsonl", ".lock"

T = TypeVar("T")


class Finished(NamedTuple):
    """A task that is done with."""

    record: TaskRecord
    trajectory: Trajectory


class Recording:
    """The folder of one run, open for writing.

    Attributes:
        settings: What the run is played with.
        done: Task id -> what an earlier call has recorded. Tasks that an error from outside ended are left out: they
            are played again.
        elapsed: Wall time of the earlier calls in seconds.
    """

    def __init__(self, folder: str | Path, settings: RunSettings) -> None:
        """Begin a run, or go on with one.

        Raises:
            UsageError: The folder holds a run with other settings, which the message names, or another process is
                writing to it.
            TaskError: A file there cannot be read.
        """
        self.folder, self.settings = Path(folder), settings
        self._files: list[IO[str]] = []
        begun = (self.folder / SETTINGS).is_file()
        if begun:
            self._check_settings()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        try:
            if begun:
                for name in (EPISODES, RECORDS):
                    _cut_torn_line(self.folder / name)
            else:
                _write(self.folder / SETTINGS, [settings.to_json()], indent=1)
            found = dict(read_finished(self.folder))
        except BaseException:
            self._lock.close()
            raise
        self.elapsed = max((finished.record.elapsed for finished in found.values()), default=0.0)
        self.done = {task_id: finished for task_id, finished in found.items() if finished.record.error is None}

    def __enter__(self) -> Recording:
        """Open the files."""
        self._files = [(self.folder / name).open("a", encoding="utf-8") for name in (EPISODES, RECORDS)]
        return self

    def __exit__(self, *raised: object) -> None:
        """Close them; what was added stays, whatever was raised."""
        for file in (*self._files, self._lock):
            file.close()

    def add(self, finished: Finished) -> None:
        """Write a finished task down. The record comes last: an episode without one does not count."""
        lines = (finished.trajectory.to_json(), self.settings.line(finished.record))
        for file, line in zip(self._files, lines, strict=True):
            file.write(json.dumps(line) + "\n")
            file.flush()

    def sort(self) -> None:
        """Put the files of a complete run into the panel's order."""
        found = dict(read_finished(self.folder))
        ordered = [found[task_id] for task_id in self.settings.panel.task_ids]
        _write(self.folder / EPISODES, [finished.trajectory.to_json() for finished in ordered])
        _write(self.folder / RECORDS, [self.settings.line(finished.record) for finished in ordered])

    def _check_settings(self) -> None:
        if differences := read_settings(self.folder).differences(self.settings):
            raise UsageError(
                f"{self.folder} holds a run with other settings: {'; '.join(differences)}. "
                "Give these settings to go on with it, or another folder"
            )


def read_settings(folder: str | Path) -> RunSettings:
    """The settings of a recorded run.

    Raises:
        TaskError: There are none, or they cannot be read.
    """
    path = Path(folder) / SETTINGS
    try:
        return RunSettings.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise TaskError(f"{path} holds no settings of a run: {error}") from error


def read_finished(folder: str | Path) -> Iterator[tuple[str, Finished]]:
    """Task id and what came of it, for every recorded task; where a task was played again, the last play.

    Raises:
        TaskError: A line cannot be read; the message names file and line.
    """
    folder = Path(folder)
    episodes = {trajectory.task_id: trajectory for trajectory in _lines(folder / EPISODES, Trajectory.from_json)}
    records = {record.task_id: record for record in _lines(folder / RECORDS, TaskRecord.from_json)}
    for task_id, record in records.items():
        if task_id in episodes:
            yield task_id, Finished(record, episodes[task_id])


def recorded_runs(folder: str | Path) -> list[Path]:
    """The folders of all runs at or below `folder`, in the order of their names.

    Raises:
        UsageError: There is no such folder, or no run in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {str(folder)!r} with recorded runs")
    runs = sorted(path.parent for path in folder.rglob(SETTINGS) if (path.parent / RECORDS).is_file())
    if not runs:
        raise UsageError(f"{str(folder)!r} holds no recorded run; `cmat-gym eval … --out {folder}` writes one")
    return runs


def _lines(path: Path, read: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield read(json.loads(line))
            except (ValueError, AttributeError, TypeError) as error:
                raise TaskError(f"{path}, line {number}: {error}") from error


def _lock(folder: Path) -> IO[str]:
    """Keep other processes from writing to the run, where the system can; the lock ends with the file or process."""
    file = (folder / LOCK).open("w", encoding="utf-8")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UsageError(
                f"Another process is writing the run in {folder}: wait for it, or give a folder"
            ) from error
    return file


def _cut_torn_line(path: Path) -> None:
    """Remove the end of a file that an interrupted write has left without its line's end."""
    if not path.is_file():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def _write(path: Path, values: list[dict[str, Any]], indent: int | None = None) -> None:
    """Write lines of JSON, all or nothing."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text("".join(json.dumps(value, indent=indent) + "\n" for value in values), encoding="utf-8")
    scratch.replace(path)
