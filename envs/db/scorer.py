"""Scores of answers and of changed tables, by the rules of DBBench's two editions and by a stricter one of ours.

    strict             the default: like function_calling, but None, NaN and their like are not 0, and repeats count
    function_calling   AgentBench's function-calling edition
    v0.2               AgentBench v0.2

Everything is compared as data: no text of an agent is ever run.

Source: github.com/THUDM/AgentBench, task `dbbench`.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cmat_gym.envs.db.dialect.engine import Table

__all__ = ["RULES", "content_digest", "read_answer", "same_answer", "table_hash"]

Answer = str | list[str]
TOLERANCE = 0.01
CUT = 1024  # bytes of the joined row hashes that the official server looks at: its group_concat_max_len
_NULL_WORDS = frozenset(("none", "null", "undefined", "nan", "inf", "infinity", "-inf", "-infinity", ""))
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


# Answers -------------------------------------------------------------------------------------------------------------


def read_answer(text: str) -> list[Any]:
    """The items of an answer: of a Python list or tuple of plain values, else the text itself as the only item."""
    text = text.strip()
    try:
        value = ast.literal_eval(text) if text[:1] in ("[", "(") else text
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return [text]
    return list(value) if isinstance(value, (list, tuple)) else [text]


def _v02(answer: Answer, gold: Sequence[str]) -> bool:
    """One value against one: as numbers if both are, else as texts. Otherwise the sets."""
    items = read_answer(answer) if isinstance(answer, str) else answer
    if len(items) == 1 and len(gold) == 1:
        try:
            return float(items[0]) == float(gold[0])
        except (TypeError, ValueError, OverflowError):
            return bool(items[0] == gold[0])
    try:
        return set(items) == set(gold)
    except TypeError:  # a list within the list
        return False


def _clean(item: object) -> str:
    """Without spaces, quotes, a final percent sign and commas."""
    text = str(item).strip().strip("'\"").strip()
    return text.removesuffix("%").replace(",", "")


def _clean_nulls(item: object) -> str:
    text = _clean(item)
    return "0" if text.lower() in _NULL_WORDS else text


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _strict_float(text: str) -> float | None:
    """The number a text is: plain digits only, so neither `nan` nor `1_000`."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _function_calling(answer: Answer, gold: Sequence[str]) -> bool:
    items = [_clean_nulls(item) for item in _as_list(answer)]
    wanted = [_clean_nulls(item) for item in gold]
    if len(items) == 1 and len(wanted) == 1:
        pair = _float(items[0]), _float(wanted[0])
        return items == wanted if pair[0] is None or pair[1] is None else abs(pair[0] - pair[1]) <= TOLERANCE
    numbers, targets = [_float(item) for item in items], [_float(item) for item in wanted]
    if None not in numbers and None not in targets:
        return _pair_up(numbers, targets)
    return set(items) == set(wanted)


def _strict(answer: Answer, gold: Sequence[str]) -> bool:
    items, wanted = [_clean(item) for item in _as_list(answer)], [_clean(item) for item in gold]
    if len(items) != len(wanted):
        return False
    numbers, targets = [_strict_float(item) for item in items], [_strict_float(item) for item in wanted]
    texts = sorted(item for item, number in zip(items, numbers, strict=True) if number is None)
    wanted_texts = sorted(item for item, number in zip(wanted, targets, strict=True) if number is None)
    if texts != wanted_texts:
        return False
    return _pair_up([n for n in numbers if n is not None], [n for n in targets if n is not None])


def _as_list(answer: Answer) -> list[Any]:
    return read_answer(answer) if isinstance(answer, str) else answer


def _pair_up(numbers: Sequence[float | None], targets: Sequence[float | None]) -> bool:
    """Whether each number has a target of its own that is near enough; the first that fits is taken."""
    left = list(targets)
    for number in numbers:
        near = next((place for place, target in enumerate(left) if abs(number - target) <= TOLERANCE), None)  # type: ignore[operator]
        if near is None:
            return False
        del left[near]
    return not left


RULES: dict[str, Callable[[Answer, Sequence[str]], bool]] = {
    "strict": _strict,
    "function_calling": _function_calling,
    "v0.2": _v02,
}
"""Name of a rule -> whether an answer is right."""


def same_answer(answer: Answer, gold: Sequence[str], rules: str = "strict") -> bool:
    """Whether an answer is right by a rule of `RULES`."""
    return RULES[rules](answer, gold)


# Tables --------------------------------------------------------------------------------------------------------------


def table_hash(rows: Iterable[Sequence[Any]]) -> str:
    """The official fingerprint of a table, as the official checker prints it.

    Five hex digits of each row's MD5, sorted, joined, cut at 1,024 bytes as the server does, and hashed once more.
    """
    prints = sorted(
        hashlib.md5(
            ",".join(str(v) for v in row if v is not None).encode(errors="replace"), usedforsecurity=False
        ).hexdigest()[:5]
        for row in rows
    )
    if not prints:
        return "[(None,)]"
    joined = ",".join(prints).encode()[:CUT]
    return str([(hashlib.md5(joined, usedforsecurity=False).hexdigest(),)])


def content_digest(tables: Iterable[Table]) -> str:
    """Fingerprint of tables that misses nothing but the order of the rows: NULL is not the empty text."""
    digest = hashlib.sha256()
    for table in sorted(tables, key=lambda table: table.name):
        digest.update(repr((table.name, tuple(table.columns))).encode(errors="replace"))
        for row in sorted(repr(tuple(row)) for row in table.rows):
            digest.update(row.encode(errors="replace"))
    return digest.hexdigest()
