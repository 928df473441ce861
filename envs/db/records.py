"""What a builtin task asks for, as a small program over tables: it can be evaluated in Python and written as SQL.

The two ways are independent: answers and final tables come from Python, never from the engine that grades with them,
and the tests run the SQL on the embedded engine and on MariaDB to show that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cmat_gym.envs.db.dialect.engine import Table

__all__ = [
    "CHANGING",
    "Filter",
    "Program",
    "Values",
    "change_rows",
    "evaluate",
    "evaluate_rows",
    "near_misses",
    "other_readings",
    "rows_of",
    "tables_after",
    "to_sql",
]

CHANGING = ("INSERT", "UPDATE", "DELETE")
Row = tuple[str | None, ...]


class Filter(NamedTuple):
    """A condition on a column: `=` compares texts, the others numbers."""

    column: str
    operator: str
    value: str

    def holds(self, value: str | None) -> bool:
        """Whether a value of the column passes."""
        if value is None:
            return False
        match self.operator:
            case "=":
                return value == self.value
            case ">":
                return float(value) > float(self.value)
            case ">=":
                return float(value) >= float(self.value)
            case "<":
                return float(value) < float(self.value)
            case _:
                return float(value) <= float(self.value)


class Program(NamedTuple):
    """A request.

    Attributes:
        kind: `select`, `count`, `aggregate`, `rank`, `busiest`, `INSERT`, `UPDATE` or `DELETE`.
        table: The table it is about; with `joined` each of its rows goes with one row of the other table.
        joined: `(table, key)`: `table.key` names the row of `joined` table by its `name`.
        target: The column that is shown, aggregated or set; columns of two tables are written `table.column`.
        filters: All of them must hold.
        function: SUM, AVG, MIN or MAX of an aggregate; ASC or DESC of a ranking.
        by: The column a ranking sorts by.
        limit: Rows of a ranking.
        offset: Rows of a ranking that come before.
        value: What an UPDATE sets.
        row: What an INSERT adds.
    """

    kind: str
    table: str
    target: str = ""
    filters: tuple[Filter, ...] = ()
    joined: tuple[str, str] | None = None
    function: str = ""
    by: str = ""
    limit: int = 0
    offset: int = 0
    value: str = ""
    row: tuple[str, ...] = ()


# In Python -----------------------------------------------------------------------------------------------------------


Values = Mapping[str, str | None]


def rows_of(program: Program, tables: Mapping[str, Table]) -> list[Values]:
    """The rows a program is about, as column -> value, in the order of the table."""
    table = tables[program.table]
    if program.joined is None:
        return [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    found: list[Values] = []
    other, key = tables[program.joined[0]], program.joined[1]
    place = other.columns.index("name")
    parents = {row[place]: row for row in other.rows}
    for row in table.rows:
        values = {f"{table.name}.{name}": value for name, value in zip(table.columns, row, strict=True)}
        parent = parents.get(values[f"{table.name}.{key}"])
        if parent is not None:
            values |= {f"{other.name}.{name}": value for name, value in zip(other.columns, parent, strict=True)}
            found.append(values)
    return found


def _passes(row: Values, filters: Sequence[Filter]) -> bool:
    for item in filters:  # noqa: SIM110 - the hottest loop of drawing a task; a generator takes twice as long
        if not item.holds(row[item.column]):
            return False
    return True


def evaluate(program: Program, tables: Mapping[str, Table]) -> tuple[str, ...]:
    """The answer of a query, item by item, as the server prints the values."""
    return evaluate_rows(program, rows_of(program, tables))


def evaluate_rows(program: Program, all_rows: Sequence[Values]) -> tuple[str, ...]:
    """The same over rows that are there already; many programs over one table share them."""
    rows = [row for row in all_rows if _passes(row, program.filters)]
    match program.kind:
        case "select":
            return tuple(str(row[program.target]) for row in rows)
        case "count":
            return (str(len(rows)),)
        case "rank":
            ordered = sorted(rows, key=lambda row: float(row[program.by] or 0), reverse=program.function == "DESC")
            return tuple(str(row[program.target]) for row in ordered[program.offset : program.offset + program.limit])
        case "busiest":
            counts: dict[str, int] = {}
            for row in rows:
                counts[str(row[program.target])] = counts.get(str(row[program.target]), 0) + 1
            return tuple(sorted(counts, key=lambda name: -counts[name])[:1])
    numbers = [float(row[program.target] or 0) for row in rows]
    if not numbers:
        return ("None",)
    value = {"SUM": sum(numbers), "AVG": sum(numbers) / len(numbers), "MIN": min(numbers), "MAX": max(numbers)}
    return (repr(value[program.function]),)


def tables_after(program: Program, tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables after a change."""
    changed = change_rows(program, rows_of(program, tables))
    return {**tables, program.table: tables[program.table]._replace(rows=tuple(changed))}


def change_rows(program: Program, rows: Sequence[Values]) -> list[Row]:
    """The rows of the changed table."""
    kept: list[Row] = []
    for row in rows:
        hit = program.kind != "INSERT" and _passes(row, program.filters)
        if not hit:
            kept.append(tuple(row.values()))
        elif program.kind == "UPDATE":
            kept.append(tuple({**row, program.target: program.value}.values()))
    if program.kind == "INSERT":
        kept.append(program.row)
    return kept


# In SQL --------------------------------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    """A column or `table.column` in SQL; backticks where they are needed."""
    return ".".join(f"`{part}`" if " " in part else part for part in name.split("."))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _where(filters: Sequence[Filter]) -> str:
    if not filters:
        return ""
    parts = [
        f"{_quoted(item.column)} {item.operator} {_text(item.value) if item.operator == '=' else item.value}"
        for item in filters
    ]
    return f" WHERE {' AND '.join(parts)}"


def to_sql(program: Program) -> str:
    """The statement an expert sends."""
    where = _where(program.filters)
    source = program.table
    if program.joined is not None:
        other, key = program.joined
        source = f"{program.table} JOIN {other} ON {_quoted(f'{program.table}.{key}')} = {other}.name"
    match program.kind:
        case "select":
            return f"SELECT {_quoted(program.target)} FROM {source}{where}"
        case "count":
            return f"SELECT COUNT(*) FROM {source}{where}"
        case "aggregate":
            inner = _quoted(program.target) + ("" if program.function in ("SUM", "AVG") else " + 0")
            return f"SELECT {program.function}({inner}) FROM {source}{where}"
        case "rank":
            way = " DESC" if program.function == "DESC" else ""
            skip = f" OFFSET {program.offset}" if program.offset else ""
            by = _quoted(program.by)
            order = f"ORDER BY {by} + 0{way} LIMIT {program.limit}{skip}"
            return f"SELECT {_quoted(program.target)} FROM {source}{where} {order}"
        case "busiest":
            target = _quoted(program.target)
            return f"SELECT {target} FROM {source}{where} GROUP BY {target} ORDER BY COUNT(*) DESC LIMIT 1"
        case "INSERT":
            return f"INSERT INTO {program.table} VALUES ({', '.join(map(_text, program.row))})"
        case "UPDATE":
            return f"UPDATE {program.table} SET {_quoted(program.target)} = {_text(program.value)}{where}"
    return f"DELETE FROM {program.table}{where}"


# Neighbours ----------------------------------------------------------------------------------------------------------


def other_readings(program: Program) -> Iterator[Program]:
    """The same request read differently, which must not matter: at a threshold the value itself counts or does not."""
    for place, item in enumerate(program.filters):
        if item.operator in (">", "<"):
            changed = item._replace(operator=f"{item.operator}=")
            yield program._replace(filters=(*program.filters[:place], changed, *program.filters[place + 1 :]))


def near_misses(program: Program) -> Iterator[Program]:
    """Programs an agent might take for the right one; each must give something else."""
    for place in range(len(program.filters)):
        yield program._replace(filters=(*program.filters[:place], *program.filters[place + 1 :]))
    if program.kind == "rank":
        yield program._replace(function="ASC" if program.function == "DESC" else "DESC")
        yield program._replace(offset=program.offset + 1)
        if program.offset:
            yield program._replace(offset=0)
    if program.kind == "aggregate":
        for function in ("SUM", "AVG", "MIN", "MAX"):
            if function != program.function:
                yield program._replace(function=function)
        yield Program("count", program.table, filters=program.filters, joined=program.joined)
    for place, item in enumerate(program.filters):
        if item.operator in (">", "<"):
            flipped = item._replace(operator="<" if item.operator == ">" else ">")
            yield program._replace(filters=(*program.filters[:place], flipped, *program.filters[place + 1 :]))
