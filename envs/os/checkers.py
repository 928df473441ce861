"""The five standard checkers of AgentBench's shell tasks, by what they decide.

Source: spec of THUDM/AgentBench (Apache-2.0); written anew. They run in this process, out of the agent's reach.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

__all__ = ["CHECKERS", "find_checker", "parse_size"]

UNITS = ("", "K", "M", "G", "T", "P")
_SIZE = re.compile(r"\s*([+-]?\d+)\s*(B|Byte|[KMGTP]B?)?\s*", re.ASCII)


def parse_size(text: str, *, strict: bool = False) -> int | None:
    """Bytes of a size such as `12`, `12K` or `12KB`; None where it is not one (fractions are not).

    Args:
        text: The size.
        strict: As the original, which takes the B of `KB` for the unit and then fails on the K.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    unit = match[2] or ""
    if strict and len(unit) == 2:
        return None
    factor = 1 if unit in ("", "B", "Byte") else 1024 ** UNITS.index(unit[0])
    return int(match[1]) * factor


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def integer_match(answer: str, gold: str) -> bool:
    """Equal as integers."""
    number = _integer(answer)
    return number is not None and number == _integer(gold)


def string_match(answer: str, gold: str) -> bool:
    """Equal apart from kinds of line ends and surrounding space."""
    return _plain(answer) == _plain(gold)


def size_match(answer: str, gold: str) -> bool:
    """Equal as sizes in bytes."""
    size = parse_size(answer)
    return size is not None and size == parse_size(gold)


def size_match_strict(answer: str, gold: str) -> bool:
    """Equal as sizes, with the original's corner."""
    size = parse_size(answer, strict=True)
    return size is not None and size == parse_size(gold, strict=True)


def containing(answer: str, gold: str) -> bool:
    """The gold output is part of the answer."""
    return gold.strip() in answer


def contained_in(answer: str, gold: str) -> bool:
    """The answer is part of the gold output."""
    return answer in gold


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


CHECKERS: Mapping[str, Callable[[str, str], bool]] = {
    "integer-match": integer_match,
    "string-match": string_match,
    "size-match": size_match,
    "containing": containing,
    "in": contained_in,
}


def find_checker(file: str, *, strict_sizes: bool = False) -> Callable[[str, str], bool] | None:
    """The standard checker that a script's file name stands for, or None."""
    name = PurePosixPath(file).stem
    if strict_sizes and name == "size-match":
        return size_match_strict
    return CHECKERS.get(name)
