"""What is kept of a run: one line of JSON per task, written when the task is finished, and never played again.

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import cmat_gym
from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.panel import Panel

__all__ = [
    "Finished",
    "Recording",
    "RunSettings",
    "TaskRecord",
    "read_finished",
    "read_settings",
    "recorded_runs",
    "task_kind",
]

FORMAT = 1
SETTINGS, RECORDS, EPISODES = "settings.json", "records.jsonl", "episodes.jsonl"
_TIMING = ("seconds", "elapsed")
_KIND_KEYS = ("type", "task_type", "family", "shape", "errand")  # what the worlds call the kind of a task

T = TypeVar("T")


@dataclass(frozen=True)
class TaskRecord:
    """What came of one task.

    Attributes:
        task_id: The task.
        score: Official score at the end.
        success: The domain's own notion of success.
        turns: Turns taken.
        invalid_actions: How many of them held an action the world refused.
        truncated: Whether the turn limit ended the episode.
        prompt_tokens: Tokens the model read, over all turns; None for a policy that does not count them.
        sampled_tokens: Tokens it wrote.
        cost: Price of the tokens; None where no price is known.
        error: What ended the episode from outside, if anything did.
        kind: The world's own kind of task, such as a type of question; empty where it has none.
        seconds: Wall time from the episode's opening to its end, other episodes' turns included where they were played
            side by side. No part of comparisons, like `elapsed`.
        elapsed: Wall time of the whole run up to this episode's end.
    """

    task_id: str
    score: float
    success: bool
    turns: int
    invalid_actions: int
    truncated: bool
    prompt_tokens: int | None = None
    sampled_tokens: int | None = None
    cost: float | None = None
    error: str | None = None
    kind: str = ""
    seconds: float = field(default=0.0, compare=False)
    elapsed: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, trajectory: Trajectory, *, kind: str = "", seconds: float = 0.0, elapsed: float = 0.0) -> TaskRecord:
        """Sum up an episode."""
        turns = trajectory.turns
        counts = [count for turn in turns if (count := _counts(turn.sample, turn.notes.get("usage"))) is not None]
        costs = [cost for _, _, cost in counts if cost is not None]
        return cls(
            task_id=trajectory.task_id,
            score=trajectory.score,
            success=trajectory.success,
            turns=len(turns),
            invalid_actions=sum(not turn.valid_action for turn in turns),
            truncated=bool(turns) and turns[-1].truncated,
            prompt_tokens=sum(read for read, _, _ in counts) if counts else None,
            sampled_tokens=sum(written for _, written, _ in counts) if counts else None,
            cost=sum(costs) if costs else None,
            error=trajectory.error,
            kind=kind,
            seconds=seconds,
            elapsed=elapsed,
        )

    @property
    def invalid_rate(self) -> float:
        """Share of turns whose action was refused; 0 for an episode without a turn."""
        return self.invalid_actions / self.turns if self.turns else 0.0

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON-able dict, what is measured by the clock apart."""
        data = asdict(self)
        timing = {name: round(data.pop(name), 3) for name in _TIMING}
        return {**data, "timing": timing}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskRecord:
        """Inverse of `to_json`; what a line of a run's folder says beyond the record is left out.

        Raises:
            TaskError: Fields are missing or unknown.
        """
        values = {**data, **data.get("timing", {})}
        known = {item.name for item in fields(cls)}
        if unknown := set(values) - known - {"timing", "invalid_rate", *_REPEATED}:
            raise TaskError(f"A task's record has unknown fields: {', '.join(sorted(unknown))}")
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except TypeError as error:
            raise TaskError(f"A task's record is incomplete: {error}") from error


def task_kind(task: Task) -> str:
    """The world's own kind of a task, as its payload names it; empty where it names none."""
    return next((kind for key in _KIND_KEYS if isinstance(kind := task.payload.get(key), str)), "")


def _counts(sample: Any, usage: Any) -> tuple[int, int, float | None] | None:
    """Tokens read and written in a turn, and their price."""
    if sample is not None:
        return len(sample.prompt_ids), len(sample.token_ids), None
    if usage is not None:
        return usage["prompt_tokens"], usage["sampled_tokens"], usage["cost"]
    return None


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run's records say.

    Attributes:
        name: Who acts.
        panel: The tasks, with their hash.
        protocol: Protocol (the grammar of actions) with its version.
        prompt: Hash of the world's system prompt; it changes where a word of it does.
        env_kwargs: Keywords the environments are made with, as far as they are JSON.
        policy: What the policy was made with: its seed, its model, how it samples.
        version: Version of cmat-gym.
    """

    name: str
    panel: Panel
    protocol: str
    prompt: str
    env_kwargs: Mapping[str, Any]
    policy: Mapping[str, Any] = field(default_factory=dict)
    version: str = cmat_gym.__version__

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON-able dict."""
        return {"format": FORMAT, **asdict(self), "panel": self.panel.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSettings:
        """Inverse of `to_json`.

        Raises:
            TaskError: Another format version, or fields are missing or unknown.
        """
        if data.get("format") != FORMAT:
            raise TaskError(f"Run format {data.get('format')!r} cannot be read; this version reads {FORMAT}")
        try:
            values = {name: value for name, value in data.items() if name != "format"}
            return cls(**{**values, "panel": Panel.from_json(data["panel"])})
        except (KeyError, TypeError) as error:
            raise TaskError(f"The settings of a run are incomplete or have unknown fields: {error}") from error

    def differences(self, other: RunSettings) -> list[str]:
        """Each setting that differs, with both values, in words."""
        mine, others = (_flat(run.to_json()) for run in (self, other))
        return [
            f"{name} is {_short(mine.get(name))} there and {_short(others.get(name))} here"
            for name in sorted(mine.keys() | others.keys())
            if mine.get(name) != others.get(name)
        ]

    def line(self, record: TaskRecord) -> dict[str, Any]:
        """The record as it stands in the file: complete without the rest of the folder."""
        values = record.to_json()
        timing = values.pop("timing")
        identity = (
            self.panel.env_id,
            self.panel.sha256,
            self.name,
            self.policy.get("seed"),
            self.protocol,
            self.prompt,
        )
        repeated = dict(zip(_REPEATED, identity, strict=True))
        return {"task_id": record.task_id, **repeated, **values, "invalid_rate": record.invalid_rate, "timing": timing}


_REPEATED = ("env_id", "panel", "policy", "seed", "protocol", "prompt")
"""What every line of `records.jsonl` repeats from the settings."""


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name -> value; the panel's tasks are in its hash."""
    values = json.loads(json.dumps({**settings, "panel": settings["panel"]["sha256"][:12]}))
    nested = {f"{group}.{name}": value for group in ("env_kwargs", "policy") for name, value in values[group].items()}
    return {name: value for name, value in values.items() if name not in ("env_kwargs", "policy")} | nested


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


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
            UsageError: The folder holds a run with other settings; the message names them.
            TaskError: A file there cannot be read.
        """
        self.folder, self.settings = Path(folder), settings
        self._files: list[IO[str]] = []
        if (self.folder / SETTINGS).is_file():
            self._check_settings()
            for name in (EPISODES, RECORDS):
                _cut_torn_line(self.folder / name)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / SETTINGS, [settings.to_json()], indent=1)
        found = dict(read_finished(self.folder))
        self.elapsed = max((finished.record.elapsed for finished in found.values()), default=0.0)
        self.done = {task_id: finished for task_id, finished in found.items() if finished.record.error is None}

    def __enter__(self) -> Recording:
        """Open the files."""
        self._files = [(self.folder / name).open("a", encoding="utf-8") for name in (EPISODES, RECORDS)]
        return self

    def __exit__(self, *raised: object) -> None:
        """Close them; what was added stays, whatever was raised."""
        for file in self._files:
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
