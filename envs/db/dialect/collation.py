"""Which texts are the same text, and which comes first: the collation utf8mb4_general_ci.

Every character has one weight: case and accents do not count, trailing spaces do not count (the collation pads), and
all characters beyond the basic plane weigh the same. `general_ci.json` lists the characters whose weight is not their
own code point, as the server itself weighs them.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

__all__ = ["compare", "fold", "key", "same"]

BEYOND_BASIC_PLANE = 0xFFFD


class _Weights(dict[int, int]):
    """A table for `str.translate`; characters that are not in it weigh their own code point."""

    def __missing__(self, point: int) -> int:
        if point > 0xFFFF:
            return BEYOND_BASIC_PLANE
        raise LookupError(point)


@lru_cache(maxsize=1)
def _weights() -> _Weights:
    table = json.loads((Path(__file__).parent.parent / "data" / "general_ci.json").read_text(encoding="utf-8"))
    return _Weights({ord(letter): ord(weight) for weight, letters in table.items() for letter in letters})


def fold(text: str) -> str:
    """The text with every character replaced by its weight."""
    return text.upper() if text.isascii() else text.translate(_weights())


@lru_cache(maxsize=1 << 14)
def key(text: str) -> str:
    """Equal for texts that are equal to the server."""
    return fold(text).rstrip(" ")


def same(left: str, right: str) -> bool:
    """Whether the server holds two texts for equal."""
    return left == right or key(left) == key(right)


def compare(left: str, right: str) -> int:
    """Negative, zero or positive, as `left` sorts before, with or after `right`."""
    first, second = key(left), key(right)
    if first == second:
        return 0
    if first.startswith(second) or second.startswith(first):  # what is missing counts as spaces
        width = max(len(first), len(second))
        first, second = first.ljust(width), second.ljust(width)
    return -1 if first < second else 1
