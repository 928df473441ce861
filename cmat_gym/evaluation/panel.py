"""Panels: fixed lists of tasks that every run of a comparison plays, with a hash that proves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import gymnasium as gym

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import CmatError, TaskError, UsageError, choose
from cmat_gym.core.registry import world_id
from cmat_gym.core.task import Task, TaskSource, content_hash

__all__ = ["Panel", "resolve_id"]

SPREADS = ("even", "first")


@dataclass(frozen=True)
class Panel:
    """A fixed list of tasks.

    Attributes:
        env_id: Registered id of the world.
        source: Name and version of the task source.
        official: Whether the tasks are the published benchmark's.
        split: Split the tasks were taken from.
        task_ids: The tasks, in the order they are played.
        sha256: Hash over the world, the source, the split and the content of every task; equal hashes, equal panels.
            Empty for tasks that somebody happened to play, such as those of a file of episodes.
    """

    env_id: str
    source: str
    official: bool
    split: str
    task_ids: tuple[str, ...]
    sha256: str

    @classmethod
    def of(
        cls, env_id: str, split: str = "dev", size: int | None = 100, *, spread: str = "even", **env_kwargs: Any
    ) -> Panel:
        """Choose the tasks of a panel.

        Args:
            env_id: The world; short forms such as `WebShop` are fine.
            split: The split to take tasks from.
            size: Number of tasks; a split with fewer gives all it has, as does None.
            spread: `even` takes tasks at equal distances over the whole split (official files are often sorted),
                `first` takes the first ones.
            env_kwargs: Keywords of `gym.make`, such as `source`, that decide which tasks there are.

        Raises:
            UnknownNameError: An unknown world, split or spread.
            UsageError: A size below 1.
        """
        choose("spread", spread, SPREADS)
        if size is not None and size < 1:
            raise UsageError(f"A panel has at least 1 task, got size={size}")
        env_id = resolve_id(env_id)
        # With its split: official sources may lack the one that worlds open by default.
        env = gym.make(env_id, **{**env_kwargs, "split": split, "memory": None})
        try:
            source = base_env(env).tasks
            sequence = source.split(split)
            count = len(sequence) if size is None else min(size, len(sequence))
            if count == 0:
                raise UsageError(f"Split {split!r} of {source.name!r} has no tasks to evaluate on")
            step = len(sequence) if spread == "even" else count
            tasks = [sequence[position * step // count] for position in range(count)]
            task_ids = tuple(task.id for task in tasks)
            return cls(env_id, source.name, source.official, split, task_ids, sha256="").hashed(tasks)
        finally:
            env.close()

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.task_ids)

    def hashed(self, tasks: Sequence[Task]) -> Panel:
        """The same panel with the hash that the content of `tasks` gives."""
        contents = [task.content_hash() for task in tasks]
        digest = content_hash([self.env_id, self.source, self.split, list(self.task_ids), contents])
        return replace(self, sha256=digest)

    def tasks(self, source: TaskSource) -> list[Task]:
        """Fetch the tasks and check that they are still the ones the panel was made of.

        Raises:
            TaskError: The source has no such tasks, or their content differs.
        """
        tasks = [source.find(task_id) for task_id in self.task_ids]
        found = self.hashed(tasks).sha256
        if found != self.sha256:
            raise TaskError(
                f"The panel of {len(self)} tasks from {self.source}/{self.split} has hash {self.sha256[:12]}, but the "
                f"tasks found have {found[:12]}: the files behind `source` are not the ones the panel was made from"
            )
        return tasks

    def describe(self) -> str:
        """The panel in one line, as tables print it."""
        kind = "official" if self.official else "builtin"
        panel = f"panel {self.sha256[:12]}" if self.sha256 else "no fixed panel"
        return f"{self.env_id} · {kind} {self.source}/{self.split} · {len(self)} tasks · {panel}"

    def to_json(self) -> dict[str, Any]:
        """The panel as a JSON-able dict."""
        return {**asdict(self), "task_ids": list(self.task_ids)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Panel:
        """Inverse of `to_json`.

        Raises:
            TaskError: Fields are missing or unknown.
        """
        try:
            return cls(**{**data, "task_ids": tuple(data["task_ids"])})
        except (KeyError, TypeError) as error:
            raise TaskError(f"A panel record is incomplete or has unknown fields: {error}") from error


def resolve_id(env_id: str) -> str:
    """The id to give to `gym.make`: one of our worlds, also in short form, or an id the caller registered.

    Raises:
        UnknownNameError: Neither; the message lists the worlds.
    """
    try:
        return world_id(env_id)
    except CmatError:
        if env_id in gym.registry:
            return env_id
        raise
