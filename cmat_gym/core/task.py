"""Tasks: what they are, where they come from, and the proof that splits do not leak."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, overload

from cmat_gym.core.canonical import canonical_json
from cmat_gym.core.errors import TaskError, UnknownNameError

__all__ = ["Manifest", "Score", "Task", "TaskSequence", "TaskSource", "content_hash"]


def content_hash(value: object) -> str:
    """SHA-256 (hex) of a JSON-able value in canonical form: sorted keys, no spaces, ASCII escapes."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Score(NamedTuple):
    """How well an episode went, in the official metric of its domain.

    `value` lies in [0, 1]; `success` is the domain's own notion of success; `details` are the parts, for reports.
    """

    value: float
    success: bool
    details: Mapping[str, float | str | bool] = {}


@dataclass(frozen=True, slots=True)
class Task:
    """One task, complete: equal ids mean equal content on every machine.

    Attributes:
        id: Stable name such as `webshop/builtin-v0/train/000017`.
        domain: The world's short name.
        split: `train`, `dev`, `test`, or a name of the official files.
        source: Name and version of the source the task comes from.
        instruction: What the user asks for, in words.
        payload: Everything else the world needs, JSON-able; never shown to the agent.
        max_turns: Turns the agent has unless the caller says otherwise.
    """

    id: str
    domain: str
    split: str
    source: str
    instruction: str
    payload: Mapping[str, Any] = field(hash=False)
    max_turns: int

    def content_hash(self) -> str:
        """Hash of what the agent has to solve: the domain, the instruction, the payload and the turn limit.

        Neither the id nor the split takes part, so two splits that share a hash share a task.
        """
        return content_hash([self.domain, self.instruction, dict(self.payload), self.max_turns])

    def to_json(self) -> dict[str, Any]:
        """The task as a JSON-able dict; `Task(**d)` is the inverse."""
        return {**asdict(self), "payload": dict(self.payload)}


class Manifest(NamedTuple):
    """Fingerprint of a split: how many tasks were read, and SHA-256 over their content hashes in order."""

    size: int
    sha256: str


class TaskSequence(Sequence[Task]):
    """The tasks of one split, made when they are asked for.

    `make(index)` is a pure function of the index, so workers need no shared state. Negative indices count from the end.
    """

    def __init__(self, source: TaskSource, split: str, length: int) -> None:
        self.source = source
        self.split = split
        self._length = length

    def __len__(self) -> int:
        """Number of tasks; for procedural training splits a very large one."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        """The task at `index`, or the list of a slice."""
        if isinstance(index, slice):
            return [self.source.make(self.split, i) for i in range(*index.indices(self._length))]
        position = index + self._length if index < 0 else index
        if not 0 <= position < self._length:
            raise IndexError(
                f"Task index {index} is outside split {self.split!r} of {self.source.name!r}, "
                f"which has {self._length} tasks"
            )
        return self.source.make(self.split, position)

    def __iter__(self) -> Iterator[Task]:
        """All tasks in order."""
        return (self.source.make(self.split, i) for i in range(self._length))

    def manifest(self, limit: int | None = None) -> Manifest:
        """Fingerprint of the first `limit` tasks (default: all)."""
        count = self._length if limit is None else min(limit, self._length)
        digest = hashlib.sha256()
        for index in range(count):
            digest.update(bytes.fromhex(self.source.make(self.split, index).content_hash()))
        return Manifest(count, digest.hexdigest())

    def __repr__(self) -> str:
        """Names source, split and size."""
        return f"TaskSequence({self.source.domain}/{self.source.name}/{self.split}, {self._length} tasks)"


class TaskSource(abc.ABC):
    """Where tasks come from. A world subclasses it and fills in `sizes` and `make`.

    Attributes:
        domain: The world's short name.
        name: Name and version of the source; part of every task id and of every report.
        official: Whether the tasks are the published benchmark's (reports never mix the two kinds).
    """

    domain: str
    name: str
    official: bool = False

    @abc.abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""

    @abc.abstractmethod
    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`; both are valid, and the result depends on nothing else."""

    def split(self, name: str) -> TaskSequence:
        """The tasks of one split.

        Raises:
            UnknownNameError: There is no such split; the message lists them.
        """
        sizes = self.sizes()
        if name not in sizes:
            raise UnknownNameError(f"split of {self.domain}/{self.name}", name, sizes)
        return TaskSequence(self, name, sizes[name])

    def task_id(self, split: str, index: int) -> str:
        """The stable id of a task."""
        return f"{self.domain}/{self.name}/{split}/{index:06d}"

    def find(self, task_id: str) -> Task:
        """The task with this id.

        Raises:
            TaskError: The id belongs to another source, or is not one.
        """
        parts = task_id.split("/")
        sizes = self.sizes()
        if (
            len(parts) != 4
            or parts[:2] != [self.domain, self.name]
            or parts[2] not in sizes
            or not (parts[3].isascii() and parts[3].isdigit() and int(parts[3]) < sizes[parts[2]])
        ):
            raise TaskError(
                f"Unknown task id {task_id!r}; ids here look like {self.task_id(next(iter(sizes)), 0)!r} "
                f"with splits {', '.join(f'{name} ({size} tasks)' for name, size in sizes.items())}"
            )
        return self.make(parts[2], int(parts[3]))
