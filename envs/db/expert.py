"""The oracle: what is left to do from the current state, statement by statement.

It asks the one query, or makes the one change, that the task is about, and answers. Where something else was changed
before, it puts the tables right first. Gold tables are computed in an engine of its own, apart from the agent's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from cmat_gym.core.protocol import Call
from cmat_gym.envs.db import prompts
from cmat_gym.envs.db.backend import Backend
from cmat_gym.envs.db.dialect.engine import Engine, Table
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.records import CHANGING
from cmat_gym.envs.db.scorer import content_digest

__all__ = ["DBExpert", "Step", "payload_tables", "quote_name"]

_THOUGHTS = {"INSERT": prompts.THINK_INSERT, "UPDATE": prompts.THINK_UPDATE, "DELETE": prompts.THINK_DELETE}


class Step(NamedTuple):
    """One action and the reason for it."""

    call: Call
    thought: str


def payload_tables(payload: Mapping[str, Any]) -> list[Table]:
    """The tables a task starts with."""
    return [Table(name, tuple(columns), tuple(tuple(row) for row in rows)) for name, columns, rows in payload["tables"]]


def _statement(sql: str, thought: str) -> Step:
    return Step(Call("execute_sql", {"query": sql}), thought)


def _answer(values: Sequence[str], thought: str) -> Step:
    return Step(Call("commit_final_answer", {"answers": list(values)}), thought)


class DBExpert:
    """Solves one task.

    Args:
        payload: Of the task.
    """

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self.payload = payload
        self.changing = payload["type"] in CHANGING
        self._cache: tuple[int, list[Step]] | None = None

    def plan(self, backend: Backend, ready: bool) -> list[Step]:
        """What is left to do.

        Args:
            backend: The database as it is; only read.
            ready: Whether a query has shown the answer.
        """
        if not self.changing:
            table = self.payload["tables"][0][0]
            query = [_statement(self.payload["sql"], prompts.THINK_QUERY.format(table=table))]
            return [*([] if ready else query), _answer(self.payload["answer"], prompts.THINK_ANSWER)]
        if self._cache is None or self._cache[0] != backend.changes:
            self._cache = backend.changes, self._changes(backend)
        return self._cache[1]

    @cached_property
    def gold(self) -> list[Table]:
        """The tables as they should be in the end."""
        return self._after(payload_tables(self.payload)) or []

    def _after(self, tables: list[Table]) -> list[Table] | None:
        """What the gold statement makes of some tables; None where it fails."""
        engine = Engine()
        try:
            engine.load("db", tables)
            engine.execute(self.payload["sql"])
            return [table._replace(rows=tuple(engine.rows(table.name))) for table in tables]
        except MySQLError:
            return None
        finally:
            engine.close()

    def current(self, backend: Backend) -> dict[str, Table]:
        """The task's tables as they are, as far as they are there."""
        known = set(backend.table_names())
        return {
            table.name: Table(table.name, backend.columns(table.name), tuple(backend.rows(table.name)))
            for table in self.gold
            if table.name in known
        }

    def _changes(self, backend: Backend) -> list[Step]:
        done = _answer(["done"], prompts.THINK_CHANGED)
        found = self.current(backend)
        wrong = [table for table in self.gold if not _same(found.get(table.name), table)]
        if not wrong:
            return [done]
        tables = [found[table.name] for table in self.gold if table.name in found]
        shapes = [(table.name, table.columns) for table in tables] == [
            (table.name, table.columns) for table in self.gold
        ]
        if shapes and (after := self._after(tables)) is not None and all(map(_same, after, self.gold)):
            return [_statement(self.payload["sql"], _THOUGHTS[self.payload["type"]]), done]
        return [*(step for table in wrong for step in _repair(found.get(table.name), table)), done]


def _same(first: Table | None, second: Table) -> bool:
    return first is not None and content_digest([first]) == content_digest([second])


def quote_name(name: str) -> str:
    """A name as MySQL reads it whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _repair(found: Table | None, wanted: Table) -> list[Step]:
    """Statements that make a table what it should be, whatever it is."""
    name, statements = quote_name(wanted.name), []
    if found is not None and found.columns != wanted.columns:
        statements.append(f"DROP TABLE {name}")
        found = None
    if found is None:
        statements.append(
            f"CREATE TABLE {name} ({', '.join(f'{quote_name(column)} TEXT' for column in wanted.columns)})"
        )
    elif found.rows:
        statements.append(f"DELETE FROM {name}")
    if wanted.rows:
        rows = ", ".join(f"({', '.join(map(_literal, row))})" for row in wanted.rows)
        statements.append(f"INSERT INTO {name} VALUES {rows}")
    return [_statement(sql, prompts.THINK_REPAIR) for sql in statements]
