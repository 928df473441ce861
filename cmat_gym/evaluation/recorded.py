"""Evaluations as `cmat-gym eval` leaves them, and files of episodes, read back for tables and reports."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.trajectory import Trajectory, read_trajectories
from cmat_gym.evaluation.evaluate import Evaluation, TaskRecord
from cmat_gym.evaluation.panel import Panel

__all__ = ["RESULTS", "evaluations_of", "read_episodes", "read_evaluation_folder"]

RESULTS = "results.json"


def read_evaluation_folder(folder: Path) -> list[Evaluation]:
    """The runs of an evaluation folder, with their episodes where those are still there.

    Raises:
        TaskError: A file is damaged, or episodes do not belong to the records beside them.
    """
    file = folder / RESULTS
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        runs = [Evaluation.from_json(record) for record in data]
    except (ValueError, TypeError, AttributeError) as error:
        raise TaskError(f"{file} is no record of evaluations: {error}") from error
    return [
        Evaluation.from_json(record, _episodes(folder / f"episodes-{number}.jsonl", run))
        for number, (record, run) in enumerate(zip(data, runs, strict=True), start=1)
    ]


def _episodes(file: Path, run: Evaluation) -> list[Trajectory]:
    episodes = list(read_trajectories(file)) if file.is_file() else []
    if episodes and [episode.task_id for episode in episodes] != [record.task_id for record in run.records]:
        raise TaskError(f"{file} holds other episodes than {RESULTS} tells of {run.name!r}; evaluate again")
    return episodes


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
