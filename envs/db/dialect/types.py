"""What the compiler knows of an expression: its SQLite text, and the MySQL type of its value.

SQLite has no DECIMAL and gives every value a type of its own; MySQL knows the type of every expression beforehand.
So types are tracked here, at compile time: a DECIMAL travels as a REAL that is rounded at its scale after every
operation (exact up to 15 digits), a date as text in ISO form, a truth value as an integer.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["Kind", "Typed", "as_bool", "as_int", "as_number", "as_real", "as_text", "collated", "merge", "quote_text"]


class Kind(Enum):
    """The types that matter for what MySQL prints and how it compares."""

    TEXT = "text"
    INT = "int"
    UNSIGNED = "unsigned"
    DECIMAL = "decimal"
    REAL = "real"
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    NULL = "null"


_NUMBERS = frozenset((Kind.INT, Kind.UNSIGNED, Kind.DECIMAL, Kind.REAL))
TEMPORAL = frozenset((Kind.DATE, Kind.DATETIME, Kind.TIME))
MAX_SCALE = 30


class Typed(NamedTuple):
    """A compiled expression.

    Attributes:
        sql: SQLite text.
        kind: MySQL type of the value.
        scale: Digits after the point, of a DECIMAL, as it is shown, or of a rounded DOUBLE as text.
        collated: SQLite itself knows the collation of this text (a column), so that it need not be named.
        literal: The text of a string literal.
        digits: Digits after the point that are calculated with, where they are more than the ones shown.
    """

    sql: str
    kind: Kind
    scale: int = 0
    collated: bool = False
    literal: str | None = None
    digits: int = 0

    @property
    def precise(self) -> int:
        """Digits after the point that are calculated with."""
        return max(self.scale, self.digits)

    @property
    def is_number(self) -> bool:
        """Whether values are numbers."""
        return self.kind in _NUMBERS

    @property
    def is_temporal(self) -> bool:
        """Whether values are dates or times."""
        return self.kind in TEMPORAL


def quote_text(text: str) -> str:
    """A text as an SQLite literal."""
    if "\x00" in text:
        return f"CAST(X'{text.encode().hex()}' AS TEXT)"
    return "'" + text.replace("'", "''") + "'"


def as_number(value: Typed) -> Typed:
    """The value as the number arithmetic takes it for: a text counts as a DOUBLE."""
    if value.kind is Kind.UNSIGNED:
        return value._replace(sql=f"my_unsigned({value.sql})")
    if value.is_number or value.kind is Kind.NULL:
        return value
    if value.is_temporal:
        return Typed(f"my_date_number({value.sql})", Kind.INT)
    return Typed(f"CAST({value.sql} AS REAL)", Kind.REAL)


def as_real(value: Typed) -> str:
    """SQLite text of the value as a DOUBLE; integers may stay integers, which compare the same."""
    return as_number(value).sql


def as_int(value: Typed) -> str:
    """SQLite text of the value as an integer, the way an argument that must be one is taken."""
    if value.kind in (Kind.INT, Kind.UNSIGNED, Kind.NULL):
        return value.sql
    if value.kind is Kind.TEXT:
        return f"CAST({value.sql} AS INTEGER)"
    if value.kind is Kind.REAL:
        return f"CAST(my_round_real({value.sql}, 0) AS INTEGER)"
    return f"CAST(ROUND({as_real(value)}) AS INTEGER)"


def as_bool(value: Typed) -> str:
    """SQLite text of the value as a condition."""
    return as_real(value)


def as_text(value: Typed) -> str:
    """SQLite text of the value as MySQL writes it."""
    match value.kind:
        case Kind.INT:
            return f"CAST({value.sql} AS TEXT)"
        case Kind.UNSIGNED:
            return f"my_unsigned_text({value.sql})"
        case Kind.DECIMAL:
            return f"my_decimal_text({value.sql}, {value.scale})"
        case Kind.REAL if value.scale:
            return f"my_decimal_text({value.sql}, {value.scale})"
        case Kind.REAL:
            return f"my_real_text({value.sql})"
        case _:
            return value.sql


def collated(value: Typed) -> str:
    """SQLite text of a text that is compared or sorted."""
    return value.sql if value.collated else f"{value.sql} COLLATE mysql"


def merge(*values: Typed) -> tuple[Kind, int]:
    """Type and scale of a result that may be any of the values (CASE, COALESCE, UNION, …)."""
    kinds = {value.kind for value in values} - {Kind.NULL}
    if not kinds:
        return Kind.NULL, 0
    if len(kinds) == 1:
        (kind,) = kinds
        return kind, max(value.scale for value in values)
    if kinds <= _NUMBERS:
        if Kind.REAL in kinds:
            return Kind.REAL, 0
        return Kind.DECIMAL, max(value.scale for value in values)
    if kinds == {Kind.DATE, Kind.DATETIME}:
        return Kind.DATETIME, 0
    return Kind.TEXT, 0


def convert(value: Typed, kind: Kind, scale: int = 0) -> str:
    """SQLite text of the value as a value of a merged type."""
    if kind is Kind.TEXT:
        return as_text(value)
    if kind is Kind.REAL and value.is_number:
        return f"CAST({as_real(value)} AS REAL)"
    if kind is Kind.DECIMAL and value.kind is Kind.UNSIGNED:
        return as_real(value)
    return value.sql
