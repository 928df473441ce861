"""How alike two short texts are, by their sets of words: the measure `token_set_ratio` of the fuzzywuzzy family.

Same numbers as `thefuzz.fuzz.token_set_ratio` with its default processing and rounding.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["token_set_ratio"]

_NOT_WORD = re.compile(r"[\W_]")
_NO_LATIN_1 = dict.fromkeys(range(128, 256))


def _words(text: str) -> frozenset[str]:
    """The default processing: U+0080 to U+00FF dropped, all but letters and digits made blank, lower case."""
    return frozenset(_NOT_WORD.sub(" ", text.translate(_NO_LATIN_1)).lower().split())


def _longest_common_subsequence(first: str, second: str) -> int:
    """Its length, one machine word (or big integer) of matches at a time (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for index, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << index
    everywhere = (1 << len(first)) - 1
    unmatched = everywhere
    for character in second:
        matches = unmatched & places.get(character, 0)
        unmatched = (unmatched + matches | unmatched - matches) & everywhere
    return len(first) - unmatched.bit_count()


def _similarity(edits: int, total: int) -> float:
    """100 for equal texts; `edits` insertions and deletions turn one into the other, `total` is their joint length."""
    return 100.0 - 100.0 * edits / total


@lru_cache(maxsize=16_384)
def token_set_ratio(first: str, second: str) -> int:
    """0 (nothing in common) to 100 (the words of one contain those of the other), rounded.

    With s the common words, a and b the words of only one side (each sorted and joined by blanks), it is the best of
    the three similarities between `s`, `s a` and `s b`. A text without words is like nothing.
    """
    words, other_words = _words(first), _words(second)
    common = words & other_words
    only, other_only = words - common, other_words - common
    if common and not (only and other_only):
        return 100
    if not only or not other_only:
        return 0
    a, b, s = (" ".join(sorted(part)) for part in (only, other_only, common))
    gap = 1 if s else 0  # the blank between the common words and the rest
    edits = len(a) + len(b) - 2 * _longest_common_subsequence(a, b)
    ratios = [_similarity(edits, 2 * (len(s) + gap) + len(a) + len(b))]
    if s:
        ratios += [_similarity(gap + len(rest), 2 * len(s) + gap + len(rest)) for rest in (a, b)]
    return round(max(ratios))
