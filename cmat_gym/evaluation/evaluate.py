"""`evaluate`: any policy on a fixed panel, as a record that can be stored, compared and checked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym

import cmat_gym
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.protocol import PROTOCOLS
from cmat_gym.core.roles import Policy
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory, new_trajectory
from cmat_gym.evaluation.panel import Panel, resolve_id
from cmat_gym.evaluation.play import PolicyFactory, WorkerPool, make_policy, play_here
from cmat_gym.evaluation.recording import Finished, Recording, read_finished, read_settings
from cmat_gym.evaluation.records import RunSettings, TaskRecord, task_kind
from cmat_gym.evaluation.statistics import Interval, bootstrap_difference, bootstrap_mean, bootstrap_ratio, wilson

__all__ = ["Evaluation", "OnProgress", "PolicyFactory", "TaskRecord", "compare", "evaluate", "read_evaluation"]

FORMAT = 1
OnProgress: TypeAlias = Callable[[int, int, float], None]
"""Called after each finished episode with: episodes done, episodes in all, mean score so far."""


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
        seconds: Wall time of the rollout; of a run that was gone on with, of all its calls.
        prompt: Hash of the world's system prompt.
        policy: What the policy was made with, such as its seed, as far as the caller said so.
        version: Version of cmat-gym.
        trajectories: The episodes themselves, in the panel's order; stored apart, as JSON Lines.
    """

    name: str
    panel: Panel
    protocol: str
    env_kwargs: Mapping[str, Any]
    records: tuple[TaskRecord, ...]
    num_envs: int
    seconds: float = field(compare=False)
    prompt: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)
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
    def cost(self) -> float | None:
        """Price of all tokens; None where no price is known."""
        costs = [record.cost for record in self.records if record.cost is not None]
        return sum(costs) if costs else None

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
            "prompt": self.prompt,
            "policy": dict(self.policy),
            "version": self.version,
            "totals": {
                "score": self.score._asdict(),
                "success": self.success._asdict(),
                "invalid_rate": self.invalid_rate._asdict(),
                "mean_turns": self.mean_turns,
                "prompt_tokens": self.prompt_tokens,
                "sampled_tokens": self.sampled_tokens,
                "cost": self.cost,
                "errors": self.errors,
            },
            "records": [record.to_json() for record in self.records],
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
            fields["records"] = tuple(TaskRecord.from_json(record) for record in data["records"])
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
    workers: WorkerPool | None = None,
    record_to: str | Path | None = None,
    policy_settings: Mapping[str, Any] | None = None,
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
        num_envs: Environments played side by side in this process, hence actions in a batch.
        workers: Processes to play in instead; the policy is then given as what makes it. For policies whose actions
            depend on the episode alone the records are the same either way.
        record_to: Folder for a line per task, written as tasks finish. Called again, `evaluate` plays only what is not
            recorded there yet.
        policy_settings: What the policy was made with, such as its seed; part of the record, and of what must be equal
            where a recorded run is gone on with.
        on_progress: Called after each finished episode.
        env_kwargs: Keywords of `gym.make`, such as `source`, `protocol` or `memory`.

    Raises:
        UsageError: The panel belongs to another world, `num_envs` is below 1, or `record_to` holds a run with other
            settings.
        TaskError: The tasks found are not the ones the panel was made of.
    """
    if isinstance(panel, Panel) and resolve_id(env_id) != panel.env_id:
        raise UsageError(f"The panel was made for {panel.env_id!r}, not for {env_id!r}")
    if not isinstance(panel, Panel):
        panel = Panel.of(env_id, split, 100 if panel is None else panel, **env_kwargs)
    if num_envs < 1:
        raise UsageError(f"num_envs must be at least 1, got {num_envs}")
    env_kwargs = {**env_kwargs, "split": panel.split}
    envs = [gym.make(panel.env_id, **env_kwargs)]
    with ExitStack() as stack:
        stack.callback(_close, envs)
        tasks = panel.tasks(base_env(envs[0]).tasks)
        name = name or _name(policy)
        settings = _settings(envs[0], name, panel, policy_settings or {})
        recording = stack.enter_context(Recording(record_to, settings)) if record_to is not None else None
        ledger = _Ledger(tasks, recording, on_progress)
        waiting = [task for task in tasks if task.id not in ledger.finished]
        if waiting and workers is not None:
            if isinstance(policy, Policy) and not isinstance(policy, type):
                raise UsageError(f"Worker processes need what makes the policy, not the policy itself, got {policy!r}")
            ids = [task.id for task in waiting]
            workers.play(panel.env_id, env_kwargs, policy, ids, name, ledger.add)
        elif waiting:
            envs += [gym.make(panel.env_id, **env_kwargs) for _ in range(min(num_envs, len(waiting)) - 1)]
            play_here(envs, make_policy(policy, envs), waiting, name, ledger.add)
        if recording is not None:
            recording.sort()
        seconds = ledger.elapsed() if waiting or recording is None else recording.elapsed
    return _evaluation(settings, ledger.finished, seconds, min(num_envs, len(panel)))


def read_evaluation(folder: str | Path) -> Evaluation:
    """A recorded run, complete.

    Raises:
        TaskError: It cannot be read, or tasks are missing; the message says how many.
    """
    settings, finished = read_settings(folder), dict(read_finished(folder))
    if missing := [task_id for task_id in settings.panel.task_ids if task_id not in finished]:
        raise TaskError(
            f"{folder} holds {len(finished)} of {len(settings.panel)} tasks (the first one missing is {missing[0]!r}): "
            "run the command that wrote it again to play the rest"
        )
    elapsed = max(done.record.elapsed for done in finished.values())
    return _evaluation(settings, finished, elapsed, int(settings.policy.get("num_envs", 1)))


def _close(envs: Sequence[gym.Env[str, str]]) -> None:
    for env in envs:
        env.close()


class _Ledger:
    """The episodes as they finish: kept, written down, and counted for the progress bar."""

    def __init__(self, tasks: Sequence[Task], recording: Recording | None, on_progress: OnProgress | None) -> None:
        self.total, self.recording, self.on_progress = len(tasks), recording, on_progress
        self._kinds = {task.id: task_kind(task) for task in tasks}
        self.finished: dict[str, Finished] = dict(recording.done) if recording is not None else {}
        self._before = recording.elapsed if recording is not None else 0.0
        self._start = time.perf_counter()
        self._sum = sum(done.record.score for done in self.finished.values())

    def elapsed(self) -> float:
        """Seconds since the run began, in all its calls."""
        return self._before + time.perf_counter() - self._start

    def add(self, trajectory: Trajectory, seconds: float) -> None:
        """An episode has ended."""
        kind = self._kinds[trajectory.task_id]
        record = TaskRecord.of(trajectory, kind=kind, seconds=seconds, elapsed=self.elapsed())
        done = Finished(record, trajectory)
        self.finished[trajectory.task_id] = done
        if self.recording is not None:
            self.recording.add(done)
        self._sum += done.record.score
        if self.on_progress is not None:
            self.on_progress(len(self.finished), self.total, self._sum / len(self.finished))


def _settings(env: gym.Env[str, str], name: str, panel: Panel, policy: Mapping[str, Any]) -> RunSettings:
    world = base_env(env)
    blank = new_trajectory(env, name, world.find_task(panel.task_ids[0]))
    prompt = hashlib.sha256(world.system_prompt.encode()).hexdigest()[:12]
    return RunSettings(name, panel, PROTOCOLS[world.protocol], prompt, blank.env_kwargs, dict(policy))


def _evaluation(settings: RunSettings, finished: Mapping[str, Finished], seconds: float, num_envs: int) -> Evaluation:
    ordered = [finished[task_id] for task_id in settings.panel.task_ids]
    return Evaluation(
        name=settings.name,
        panel=settings.panel,
        protocol=settings.protocol,
        env_kwargs=settings.env_kwargs,
        records=tuple(done.record for done in ordered),
        num_envs=num_envs,
        seconds=seconds,
        prompt=settings.prompt,
        policy=settings.policy,
        version=settings.version,
        trajectories=tuple(done.trajectory for done in ordered),
    )


def _name(policy: Policy | PolicyFactory) -> str:
    return getattr(policy, "__name__", type(policy).__name__)


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
