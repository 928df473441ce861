"""`evaluate`: any policy on a fixed panel, as a record that can be stored, compared and checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym

import cmat_gym
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.protocol import PROTOCOLS
from cmat_gym.core.roles import Policy
from cmat_gym.core.rollout import OnTurn, rollout
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.panel import Panel, resolve_id
from cmat_gym.evaluation.statistics import Interval, bootstrap_difference, bootstrap_mean, bootstrap_ratio, wilson

__all__ = ["Evaluation", "OnProgress", "PolicyFactory", "TaskRecord", "compare", "evaluate"]

FORMAT = 1
PolicyFactory: TypeAlias = Callable[[Sequence[gym.Env[str, str]]], Policy]
OnProgress: TypeAlias = Callable[[int, int, float], None]
"""Called after each finished episode with: episodes done, episodes in all, mean score so far."""


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
        prompt_tokens: Tokens the model read, over all turns; None for a policy that samples no tokens.
        sampled_tokens: Tokens it wrote.
        error: What ended the episode from outside, if anything did.
    """

    task_id: str
    score: float
    success: bool
    turns: int
    invalid_actions: int
    truncated: bool
    prompt_tokens: int | None = None
    sampled_tokens: int | None = None
    error: str | None = None

    @classmethod
    def of(cls, trajectory: Trajectory) -> TaskRecord:
        """Sum up an episode."""
        turns = trajectory.turns
        samples = [turn.sample for turn in turns if turn.sample is not None]
        return cls(
            task_id=trajectory.task_id,
            score=trajectory.score,
            success=trajectory.success,
            turns=len(turns),
            invalid_actions=sum(not turn.valid_action for turn in turns),
            truncated=bool(turns) and turns[-1].truncated,
            prompt_tokens=sum(len(sample.prompt_ids) for sample in samples) if samples else None,
            sampled_tokens=sum(len(sample.token_ids) for sample in samples) if samples else None,
            error=trajectory.error,
        )


@dataclass(frozen=True)
class Evaluation:
    """One policy on one panel.

    Attributes:
        name: Who acted, or the stage of a training run.
        panel: The tasks, with their hash.
        protocol: Protocol with its version.
        env_kwargs: Keywords the environments were made with, as far as they are JSON.
        records: One per task, in the panel's order.
        num_envs: Environments played side by side; part of the record because a batch can change what is sampled.
        seconds: Wall time of the rollout.
        version: Version of cmat-gym.
        trajectories: The episodes themselves, in the panel's order; stored apart, as JSON Lines.
    """

    name: str
    panel: Panel
    protocol: str
    env_kwargs: Mapping[str, Any]
    records: tuple[TaskRecord, ...]
    num_envs: int
    seconds: float
    version: str = cmat_gym.__version__
    trajectories: tuple[Trajectory, ...] = field(default=(), repr=False, compare=False)

    @property
    def score(self) -> Interval:
        """Mean official score, with its bootstrap interval over tasks."""
        return bootstrap_mean([record.score for record in self.records])

    @property
    def success(self) -> Interval:
        """Share of tasks that succeeded, with Wilson's interval."""
        return wilson(sum(record.success for record in self.records), len(self.records))

    @property
    def invalid_rate(self) -> Interval:
        """Share of turns whose action was refused, resampled over episodes.

        Where no episode or every turn holds a refused action resampling sees no spread; Wilson's interval over the
        episodes, which are independent as turns are not, gives the bounds then.
        """
        invalid, turns = [record.invalid_actions for record in self.records], [record.turns for record in self.records]
        if sum(turns) == 0 or sum(invalid) in (0, sum(turns)):
            return wilson(len(self.records) if sum(invalid) else 0, len(self.records))
        return bootstrap_ratio(invalid, turns)

    @property
    def mean_turns(self) -> float:
        """Turns per episode."""
        return sum(record.turns for record in self.records) / len(self.records)

    @property
    def sampled_tokens(self) -> int | None:
        """Tokens written in all; None for a policy that samples none."""
        counts = [record.sampled_tokens for record in self.records if record.sampled_tokens is not None]
        return sum(counts) if counts else None

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens read in all; None for a policy that samples none."""
        counts = [record.prompt_tokens for record in self.records if record.prompt_tokens is not None]
        return sum(counts) if counts else None

    @property
    def errors(self) -> int:
        """Episodes that something outside of the task ended; they count as score 0."""
        return sum(record.error is not None for record in self.records)

    def to_json(self) -> dict[str, Any]:
        """Panel, records and totals as a JSON-able dict, without the trajectories."""
        return {
            "format": FORMAT,
            "name": self.name,
            "panel": self.panel.to_json(),
            "protocol": self.protocol,
            "env_kwargs": dict(self.env_kwargs),
            "num_envs": self.num_envs,
            "seconds": self.seconds,
            "version": self.version,
            "totals": {
                "score": self.score._asdict(),
                "success": self.success._asdict(),
                "invalid_rate": self.invalid_rate._asdict(),
                "mean_turns": self.mean_turns,
                "prompt_tokens": self.prompt_tokens,
                "sampled_tokens": self.sampled_tokens,
                "errors": self.errors,
            },
            "records": [asdict(record) for record in self.records],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], trajectories: Sequence[Trajectory] = ()) -> Evaluation:
        """Inverse of `to_json`; the totals are computed again from the records.

        Raises:
            TaskError: Another format version, or fields are missing or unknown.
        """
        if data.get("format") != FORMAT:
            raise TaskError(f"Evaluation format {data.get('format')!r} cannot be read; this version reads {FORMAT}")
        try:
            fields = {key: value for key, value in data.items() if key not in ("format", "totals")}
            fields["panel"] = Panel.from_json(data["panel"])
            fields["records"] = tuple(TaskRecord(**record) for record in data["records"])
            return cls(**fields, trajectories=tuple(trajectories))
        except (KeyError, TypeError) as error:
            raise TaskError(f"An evaluation record is incomplete or has unknown fields: {error}") from error


def evaluate(
    policy: Policy | PolicyFactory,
    env_id: str,
    panel: Panel | int | None = None,
    *,
    split: str = "dev",
    name: str = "",
    num_envs: int = 16,
    on_progress: OnProgress | None = None,
    **env_kwargs: Any,
) -> Evaluation:
    """Play every task of a panel once.

    Args:
        policy: Who acts; or a class or function that makes the policy when given the environments, such as
            `ExpertPolicy`, which needs to see them.
        env_id: The world; short forms such as `WebShop` are fine.
        panel: The tasks; a number takes that many of `split`, None takes 100.
        split: Split of the panel where `panel` is a number.
        name: Name of the policy in tables and records.
        num_envs: Environments played side by side, hence actions in a batch.
        on_progress: Called after each finished episode.
        env_kwargs: Keywords of `gym.make`, such as `source`, `protocol` or `memory`.

    Raises:
        UsageError: The panel belongs to another world, or `num_envs` is below 1.
        TaskError: The tasks found are not the ones the panel was made of.
    """
    if isinstance(panel, Panel) and resolve_id(env_id) != panel.env_id:
        raise UsageError(f"The panel was made for {panel.env_id!r}, not for {env_id!r}")
    if not isinstance(panel, Panel):
        panel = Panel.of(env_id, split, 100 if panel is None else panel, **env_kwargs)
    if num_envs < 1:
        raise UsageError(f"num_envs must be at least 1, got {num_envs}")
    count = min(num_envs, len(panel))
    envs = [gym.make(panel.env_id, **{**env_kwargs, "split": panel.split}) for _ in range(count)]
    try:
        world = base_env(envs[0])
        actor = policy if isinstance(policy, Policy) and not isinstance(policy, type) else policy(envs)
        name = name or type(actor).__name__
        tasks = panel.tasks(world.tasks)
        start = time.perf_counter()
        trajectories = rollout(envs, actor, tasks, on_turn=_count_episodes(len(tasks), on_progress), policy_name=name)
        seconds = time.perf_counter() - start
    finally:
        for env in envs:
            env.close()
    return Evaluation(
        name=name,
        panel=panel,
        protocol=PROTOCOLS[world.protocol],
        env_kwargs=trajectories[0].env_kwargs,
        records=tuple(TaskRecord.of(trajectory) for trajectory in trajectories),
        num_envs=count,
        seconds=seconds,
        trajectories=tuple(trajectories),
    )


def compare(first: Evaluation, second: Evaluation, measure: str = "score") -> Interval:
    """How much better `second` is than `first` on the same tasks: the mean paired difference with its interval.

    Args:
        first: The run to compare with.
        second: The run in question.
        measure: A number in the records: `score`, `success`, `turns` or `invalid_actions`.

    Raises:
        UsageError: The runs did not play the same panel.
    """
    if first.panel.sha256 != second.panel.sha256:
        raise UsageError(
            f"{first.name!r} and {second.name!r} played different panels ({first.panel.sha256[:12]} and "
            f"{second.panel.sha256[:12]}); evaluate both on one panel to compare them"
        )
    values = [[float(getattr(record, measure)) for record in run.records] for run in (first, second)]
    return bootstrap_difference(values[0], values[1])


def _count_episodes(total: int, on_progress: OnProgress | None) -> OnTurn | None:
    """Turn rollout's news of every turn into news of every finished episode."""
    if on_progress is None:
        return None
    scores: list[float] = []

    def on_turn(index: int, trajectory: Trajectory) -> None:
        if trajectory.finished or trajectory.error is not None:
            scores.append(trajectory.score)
            on_progress(len(scores), total, sum(scores) / len(scores))

    return on_turn
