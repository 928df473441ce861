"""Draws that make sites and tasks: cheap, seeded, and the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Dice"]

T = TypeVar("T")


class Dice:
    """A seeded generator that is read in blocks: a scalar draw from numpy costs ten times more."""

    def __init__(self, *entropy: int) -> None:
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self.uniform: Callable[[], float] = _blocks(generator).__next__

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer with low <= n <= high."""
        return low + int(self.uniform() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[int(self.uniform() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items in random order."""
        pool = list(items)
        return [pool.pop(int(self.uniform() * len(pool))) for _ in range(count)]


def _blocks(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(128).tolist()
