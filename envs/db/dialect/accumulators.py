"""Aggregates that run inside of SQLite, a row at a time."""

from __future__ import annotations

import math
from typing import Any

from cmat_gym.envs.db.dialect.collation import key
from cmat_gym.envs.db.dialect.errors import MySQLError

__all__ = ["AGGREGATES", "WINDOW_AGGREGATES"]

GROUP_CONCAT_MAX = 1024  # bytes


class _First:
    """The value of the first row of a group: what MySQL shows for a column that is not grouped by."""

    def __init__(self) -> None:
        self.value: Any = None
        self.seen = False

    def step(self, value: Any) -> None:
        if not self.seen:
            self.value, self.seen = value, True

    def finalize(self) -> Any:
        return self.value


class _One(_First):
    """The value of a scalar subquery, which must have one row at most."""

    def step(self, value: Any) -> None:
        if self.seen:
            raise MySQLError(1242, "Subquery returns more than 1 row")
        super().step(value)


class _Sum:
    """Added one after the other as the server does; SQLite's own sum compensates rounding errors in newer versions."""

    def __init__(self) -> None:
        self.total: Any = 0
        self.count = 0

    def step(self, value: Any) -> None:
        if value is not None:
            self.total += value
            self.count += 1

    def inverse(self, value: Any) -> None:
        if value is not None:
            self.total -= value
            self.count -= 1

    def value(self) -> Any:
        return self._number(self.total) if self.count else None

    def finalize(self) -> Any:
        return self.value()

    def _number(self, total: Any) -> Any:
        return float(total) if isinstance(total, int) and abs(total) >= 1 << 63 else total


class _Average(_Sum):
    def value(self) -> Any:
        return self.total / self.count if self.count else None


class _Spread:
    """Variance and standard deviation, by Welford's recurrence."""

    sample = False
    root = False

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = 0.0

    def step(self, value: float | None) -> None:
        if value is not None:
            self.count += 1
            delta = value - self.mean
            self.mean += delta / self.count
            self.squares += delta * (value - self.mean)

    def finalize(self) -> float | None:
        if self.count <= self.sample:
            return None
        variance = self.squares / (self.count - self.sample)
        return math.sqrt(variance) if self.root else variance


class _SampleVariance(_Spread):
    sample = True


class _Deviation(_Spread):
    root = True


class _SampleDeviation(_Spread):
    sample = root = True


class _CountDistinct:
    """COUNT(DISTINCT a, b, …): rows with a NULL do not count; texts are told apart by collation."""

    def __init__(self) -> None:
        self.seen: set[tuple[Any, ...]] = set()

    def step(self, *values: Any) -> None:
        if None not in values:
            self.seen.add(tuple(key(value) if isinstance(value, str) else value for value in values))

    def finalize(self) -> int:
        return len(self.seen)


class _Concat:
    """GROUP_CONCAT(value, separator, distinct, directions, sort key, …), cut at 1,024 bytes."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, tuple[Any, ...]]] = []
        self.separator = ","
        self.distinct = False
        self.directions = ""

    def step(self, value: str | None, separator: str, distinct: int, directions: str, *keys: Any) -> None:
        self.separator, self.distinct, self.directions = separator, bool(distinct), directions
        if value is not None and len(self.rows) < 100_000:
            self.rows.append((value, keys))

    def finalize(self) -> str | None:
        if not self.rows:
            return None
        for place in reversed(range(len(self.directions))):
            self.rows.sort(key=lambda row, place=place: _sort_key(row[1][place]), reverse=self.directions[place] == "d")  # type: ignore[misc]
        texts = [value for value, _ in self.rows]
        if self.distinct:
            texts = list({key(text): text for text in reversed(texts)}.values())[::-1]
        joined = self.separator.join(texts)
        return joined.encode()[:GROUP_CONCAT_MAX].decode(errors="ignore")


def _sort_key(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    return (2, key(value)) if isinstance(value, str) else (1, value)


AGGREGATES: dict[str, tuple[int, type]] = {
    "my_first": (1, _First), "my_one": (1, _One), "my_sum": (1, _Sum), "my_avg": (1, _Average),
    "my_var_pop": (1, _Spread), "my_var_samp": (1, _SampleVariance), "my_std_pop": (1, _Deviation),
    "my_std_samp": (1, _SampleDeviation), "my_count_distinct": (-1, _CountDistinct), "my_group_concat": (-1, _Concat),
}  # fmt: skip
WINDOW_AGGREGATES: dict[str, tuple[int, type]] = {"my_win_sum": (1, _Sum), "my_win_avg": (1, _Average)}
