"""Evaluations as `cmat-gym eval` leaves them, and files of episodes, read back for tables and reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.trajectory import Trajectory, read_trajectories
from cmat_gym.evaluation.evaluate import Evaluation, read_evaluation
from cmat_gym.evaluation.panel import Panel
from cmat_gym.evaluation.recording import recorded_runs
from cmat_gym.evaluation.records import TaskRecord

__all__ = ["evaluations_of", "read_episodes", "read_runs"]


def read_runs(folder: str | Path) -> tuple[list[Evaluation], list[str]]:
    """The complete runs at or below a folder, in the order of their names, and why others are left out.

    Raises:
        UsageError: There is no such folder, or no run in it.
    """
    runs: list[Evaluation] = []
    left_out: list[str] = []
    for run in recorded_runs(folder):
        try:
            runs.append(read_evaluation(run))
        except TaskError as error:
            left_out.append(f"Left out: {error}")
    return runs, left_out


def read_episodes(file: str | Path) -> list[Evaluation]:
    """A file of episodes as evaluations, one for each policy and world in it.

    Raises:
        TaskError: It is no such file.
        UsageError: There are no episodes in it.
    """
    found = evaluations_of(read_trajectories(file))
    if not found:
        raise UsageError(f"{file} holds no episodes")
    return found


def evaluations_of(episodes: Iterable[Trajectory]) -> list[Evaluation]:
    """Episodes of any origin as evaluations on no fixed panel, one for each policy, world, source and protocol."""
    groups: dict[tuple[str, ...], list[Trajectory]] = {}
    for episode in episodes:
        key = (episode.policy, episode.env_id, *_origin(episode), episode.protocol)
        groups.setdefault(key, []).append(episode)
    return [_evaluation(group) for group in groups.values()]


def _evaluation(episodes: Sequence[Trajectory]) -> Evaluation:
    first = episodes[0]
    source, split = _origin(first)
    panel = Panel(
        first.env_id,
        source,
        official=not source.startswith("builtin"),
        split=split,
        task_ids=tuple(episode.task_id for episode in episodes),
        sha256="",
    )
    return Evaluation(
        name=first.policy or "episodes",
        panel=panel,
        protocol=first.protocol,
        env_kwargs=first.env_kwargs,
        records=tuple(TaskRecord.of(episode) for episode in episodes),
        num_envs=1,
        seconds=math.nan,  # nobody noted it
        trajectories=tuple(episodes),
    )


def _origin(episode: Trajectory) -> tuple[str, str]:
    """Source and split, as the task's id says them: `domain/source/split/…`."""
    parts = episode.task_id.split("/")
    return (parts[1], parts[2]) if len(parts) > 3 else ("unknown", "unknown")
