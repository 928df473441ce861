"""What is said of a run: a record for each task, and the settings that decide what the records say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import cmat_gym
from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.panel import Panel

__all__ = ["RunSettings", "TaskRecord", "task_kind"]

FORMAT = 1
_TIMING = ("seconds", "elapsed")
_KIND_KEYS = ("type", "task_type", "family", "shape", "errand")  # what the worlds call the kind of a task


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
