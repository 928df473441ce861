"""The space of observations and actions: any text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["FreeText"]

# Letters of several scripts, digits, marks, a line break, an emoji: what a sample is drawn from.
_SAMPLE_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 []{}().,:;!?\"'\n_-/äßéñ汉字かな한글🙂"


class FreeText(gym.Space[str]):
    """All Unicode strings of at most `max_length` characters, the empty one included.

    `gymnasium.spaces.Text` checks every character against an alphabet (1.1 ms on 2 kB); this space checks the type and
    the length only, so `contains` costs the same for one word and for a whole page.

    Args:
        max_length: Greatest number of characters.
        seed: Seed or generator of `sample`.
    """

    def __init__(self, max_length: int = 1 << 20, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 0:
            raise ValueError(f"max_length must be >= 0, got {max_length}")
        self.max_length = max_length
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no natural array form; see `cmat_gym.AdmissibleActions` for a numeric observation."""
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Draw a short string (at most 32 characters) over several scripts."""
        if mask is not None or probability is not None:
            raise ValueError("FreeText.sample takes neither a mask nor probabilities")
        length = int(self.np_random.integers(0, min(32, self.max_length) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[i] for i in picks)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Strings are JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[str]) -> list[str]:
        """Inverse of `to_jsonable`."""
        return list(sample_n)

    def __repr__(self) -> str:
        """Short form, whatever the alphabet."""
        return f"FreeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        """Equal spaces allow equal lengths."""
        return isinstance(other, FreeText) and other.max_length == self.max_length

    def __hash__(self) -> int:
        """Consistent with `__eq__`."""
        return hash((FreeText, self.max_length))
