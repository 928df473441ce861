"""Builtin tasks: seeded families, one file tree and one request each.

Splits never meet: the hash of a request decides which split may have it, so no request of `dev` or `test` is ever
trained on. Train goes from easy to hard by chance (half of its tasks are of the easiest level); the panels take the
families in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count

from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.os import families_files, families_system, families_text
from cmat_gym.envs.os.drafts import Dice, Problem

__all__ = ["FAMILIES", "MAX_TURNS", "BuiltinOSTasks"]

MAX_TURNS = 8
SIZES = {"train": 2**31, "dev": 500, "test": 500}
_MODULES = (families_files, families_text, families_system)
LEVELS: Mapping[int, tuple[Callable[[Dice], Problem], ...]] = {
    level: tuple(family for module in _MODULES for family in module.FAMILIES[level]) for level in (1, 2, 3)
}
FAMILIES: Mapping[str, Callable[[Dice], Problem]] = {
    family.__name__: family for families in LEVELS.values() for family in families
}
_LEVEL_OF_TEN = (1, 1, 1, 1, 1, 2, 2, 2, 3, 3)


def request_split(instruction: str) -> str:
    """The only split in which this is asked."""
    return ("dev", "test", *["train"] * 8)[int(content_hash(instruction)[:8], 16) % 10]


@lru_cache(maxsize=4096)
def _draw(seed: int, split: str, index: int) -> tuple[str, Problem]:
    """The first problem drawn whose request belongs to the split, and its family."""
    for attempt in count():
        dice = Dice(seed, list(SIZES).index(split), index, attempt)
        if split == "train":
            family = dice.pick(LEVELS[dice.pick(_LEVEL_OF_TEN)])
        else:
            family = list(FAMILIES.values())[index % len(FAMILIES)]
        problem = family(dice)
        if request_split(problem.instruction) == split:
            return family.__name__, problem
    raise AssertionError("the loop above has no end")


class BuiltinOSTasks(TaskSource):
    """Procedural shell tasks: a practically endless `train` split, and panels of 500 for `dev` and `test`.

    Args:
        seed: Another seed gives other tasks, with other ids.

    Raises:
        UsageError: The seed is negative.
    """

    domain = "os"

    def __init__(self, seed: int = 0) -> None:
        if seed < 0:
            raise UsageError(f"task_seed must be 0 or more, got {seed}")
        self.seed = seed
        self.name = "builtin-v0" if seed == 0 else f"builtin-v0-seed{seed}"

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def problem(self, split: str, index: int) -> Problem:
        """The problem at `index` of `split`, with its files and its plan."""
        return _draw(self.seed, split, index)[1]

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`."""
        family, problem = _draw(self.seed, split, index)
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=problem.instruction,
            payload=problem.payload(family),
            max_turns=MAX_TURNS,
        )
