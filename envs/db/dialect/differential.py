"""Compares the embedded engine with a real server, statement by statement."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from cmat_gym.envs.db.dialect.collation import key
from cmat_gym.envs.db.dialect.engine import Row
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.dialect.grammar import TABLES

__all__ = ["Side", "Verdict", "compare"]


class Side(Protocol):
    """What is compared: an engine, or a server."""

    def execute(self, sql: str) -> list[Row]:
        """Run one statement."""
        ...

    def rows(self, name: str) -> list[Row]:
        """All rows of a table."""
        ...


ALIKE = {1969: 3024}  # numbers by which the two servers call one and the same thing


class Verdict(NamedTuple):
    """What two sides made of a statement. `kind` is `same`, or the sort of difference."""

    sql: str
    kind: str
    ours: str = ""
    theirs: str = ""

    @property
    def agrees(self) -> bool:
        """Whether an agent would notice no difference."""
        return self.kind in ("same", "order")


def _outcome(side: Side, sql: str) -> tuple[list[Row], int]:
    try:
        return side.execute(sql), 0
    except MySQLError as error:
        return [], ALIKE.get(error.code, error.code)


def _folded(value: Any) -> Any:
    return key(value) if isinstance(value, str) else value


def _close(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-14)
    if isinstance(ours, Decimal) and isinstance(theirs, Decimal):
        return ours == theirs and ours.as_tuple().exponent == theirs.as_tuple().exponent
    return type(ours) is type(theirs) and bool(ours == theirs)


def _equal(ours: list[Row], theirs: list[Row]) -> bool:
    return len(ours) == len(theirs) and all(
        len(a) == len(b) and all(map(_close, a, b)) for a, b in zip(ours, theirs, strict=True)
    )


def compare(ours: Side, theirs: Side, sql: str) -> Verdict:
    """Run a statement on both sides and compare: result, error number, and every table after a change."""
    (a, error), (b, other) = _outcome(ours, sql), _outcome(theirs, sql)
    if error != other:
        return Verdict(sql, "error", str(error or a)[:300], str(other or b)[:300])
    if not _equal(a, b):
        if _equal(sorted(a, key=repr), sorted(b, key=repr)):
            kind = "order" if "ORDER BY" not in sql else "order within equal keys"
            return Verdict(sql, kind, str(a)[:300], str(b)[:300])
        folded = [sorted(repr(tuple(map(_folded, row))) for row in rows) for rows in (a, b)]
        kind = "equal texts stand for each other" if folded[0] == folded[1] else "result"
        return Verdict(sql, kind, str(a)[:600], str(b)[:600])
    if sql[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
        for name in TABLES:
            if (mine := ours.rows(name)) != (its := theirs.rows(name)):
                gone, extra = [row for row in its if row not in mine], [row for row in mine if row not in its]
                return Verdict(sql, "table", str(extra)[:300], str(gone)[:300])
    return Verdict(sql, "same")
