"""LIKE and REGEXP.

A regular expression of an agent must not be able to hang the process: `re` backtracks and cannot be interrupted. So
patterns whose work may explode are refused with the error MySQL itself gives when its time for an expression is up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from cmat_gym.envs.db.dialect.collation import fold
from cmat_gym.envs.db.dialect.errors import MySQLError

__all__ = ["check_effort", "like", "regexp"]

MAX_PATTERN = 1000
MAX_EFFORT = 50_000_000  # steps a search may take at worst: less than a second
_REPEATS = {constants.MAX_REPEAT, constants.MIN_REPEAT}
_WORD_EDGES = {"[[:<:]]": r"\b(?=\w)", "[[:>:]]": r"\b(?<=\w)"}
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "word": r"\w",
}  # fmt: skip


@lru_cache(maxsize=4096)
def _like_regex(pattern: str, escape: str) -> re.Pattern[str]:
    parts: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == escape:
            parts.append(re.escape(fold(next(letters, escape))))
        elif letter == "%":
            if not parts or parts[-1] != ".*":
                parts.append(".*")
        else:
            parts.append("." if letter == "_" else re.escape(fold(letter)))
    return re.compile("".join(parts), re.DOTALL)


def like(text: str, pattern: str, escape: str = "\\") -> bool:
    """Whether `text` has the form of `pattern`, without regard to case and accents; every space counts."""
    if escape not in pattern and "_" not in pattern:
        pieces = fold(pattern).split("%")
        if len(pieces) <= 3 or len(text) * len(pieces) > 10_000:
            return _pieces_match(fold(text), pieces)
    if len(text) ** min(pattern.count("%"), 3) > MAX_EFFORT:
        raise MySQLError(3024, "Query execution was interrupted, maximum statement execution time exceeded")
    return _like_regex(pattern, escape).fullmatch(fold(text)) is not None


def _pieces_match(text: str, pieces: list[str]) -> bool:
    """Pieces between `%` signs: the first at the start, the last at the end, the others in order."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return text == first
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in pieces[1:-1]:
        position = text.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True


@lru_cache(maxsize=1024)
def _regex(pattern: str, case_sensitive: bool) -> tuple[re.Pattern[str], float]:
    """The compiled pattern, and the power of the text's length that a search may cost."""
    if len(pattern) > MAX_PATTERN:
        raise MySQLError(3699, "Timeout exceeded in regular expression match.")
    translated = pattern
    for posix, ours in _WORD_EDGES.items():
        translated = translated.replace(posix, ours)
    translated = re.sub(r"\[:(\w+):\]", lambda match: _CLASSES.get(match[1], match[0]), translated)
    flags = re.NOFLAG if case_sensitive else re.IGNORECASE
    try:
        return re.compile(translated, flags), 1 + _power(parser.parse(translated, flags), False)
    except (re.error, RecursionError, OverflowError) as error:
        raise MySQLError(1139, f"Got error '{error}' from regexp") from None


def _power(tree: Iterable[tuple[Any, Any]], repeated: bool) -> float:
    """How many choices a match may have to try against each other, as a power of the text's length.

    A free repeat counts one, a short one less; whatever has choices inside of a repeat may explode and counts ten.
    """
    total = 0.0
    for op, argument in tree:
        if op in _REPEATS:
            low, high, body = argument
            inner = _power(body, repeated or high > 1)
            if inner and high > 1:
                total += 10.0
            elif high is constants.MAXREPEAT:
                total += 1.0
            else:
                total += min(1.0, 0.3 * (high - low))
            total += inner
        elif op is constants.SUBPATTERN:
            total += _power(argument[-1], repeated)
        elif op is constants.BRANCH:
            total += max(_power(branch, repeated) for branch in argument[1]) + 0.3 * repeated
        elif op in (constants.ASSERT, constants.ASSERT_NOT):
            total += _power(argument[1], repeated)
        elif op is constants.GROUPREF:
            total += 1.0
    return total


def check_effort(text: str, power: float) -> None:
    """Refuse a search that may take longer than anybody would wait."""
    if power > 1 and (len(text) + 1) ** min(power, 12) > MAX_EFFORT:
        raise MySQLError(3699, "Timeout exceeded in regular expression match.")


def regexp(text: str, pattern: str, case_sensitive: bool = False) -> re.Match[str] | None:
    """The first match of a regular expression in a text.

    Raises:
        MySQLError: The pattern is not one (1139), or a search may take too long (3699).
    """
    compiled, power = _regex(pattern, case_sensitive)
    check_effort(text, power)
    return compiled.search(text)
