"""The embedded engine: one database in memory, spoken to in MySQL's dialect.

SQLite stores the rows; the dialect layer compiles every statement for it. Table and column names of the agent never
reach SQLite: its tables are t0, t1, … with columns c0, c1, …, so no name is special. An authorizer lets nothing
through but reading and writing those tables, whatever the compiler might get wrong.
"""

from __future__ import annotations

import datetime
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from cmat_gym.envs.db.dialect.accumulators import AGGREGATES, WINDOW_AGGREGATES
from cmat_gym.envs.db.dialect.collation import compare
from cmat_gym.envs.db.dialect.definitions import Statement, create_table
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.dialect.numbers import decimal_of
from cmat_gym.envs.db.dialect.runtime import FUNCTIONS
from cmat_gym.envs.db.dialect.scopes import Catalog, Column, TableInfo
from cmat_gym.envs.db.dialect.statements import compile_statement
from cmat_gym.envs.db.dialect.types import Kind

__all__ = ["Engine", "Table"]

Row = tuple[Any, ...]
STEPS_PER_CALL = 1000  # SQLite instructions between two looks at the budget
COMPILED = 2048  # statements whose compiled form is remembered, over all engines of the process
MAX_BYTES = 4 << 20  # a database may grow by this much
MAX_VALUE = 1 << 20  # bytes of one value
MAX_STATEMENT = 1 << 16  # characters


class Table(NamedTuple):
    """A table from outside: name, column names, rows of texts (None is NULL)."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


_compiled: OrderedDict[tuple[str, str, str], Statement] = OrderedDict()

_READING = {sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_WRITING = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_DEFINING = {
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_REINDEX,
}  # fmt: skip
_UNSAFE_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_compileoption_get"}


class Engine:
    """One MySQL-like database in memory.

    Args:
        flavour: `mysql` (8) or `mariadb`: they differ in reserved words and in a few refusals.
        max_steps: SQLite instructions one statement may take: the same on every machine.
        timeout: Seconds one statement may take, whatever it does.
        max_rows: Rows of a result that are read; the rest is never computed.
    """

    def __init__(
        self, flavour: str = "mysql", max_steps: int = 5_000_000, timeout: float = 10.0, max_rows: int = 1000
    ) -> None:
        self.flavour = flavour
        self.max_rows = max_rows
        self.timeout = timeout
        self.catalog = Catalog("test")
        self._max_calls = max(1, max_steps // STEPS_PER_CALL)
        self._calls = 0
        self._deadline = 0.0
        self._pending: MySQLError | None = None
        self._own_work = True
        self._shape = ""
        self._changes = 0
        self._connection = self._connect()

    # Setting up -------------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.create_collation("mysql", compare)
        for name, (count, function) in FUNCTIONS.items():
            connection.create_function(name, count, self._guarded(function), deterministic=True)
        for name, (count, aggregate) in AGGREGATES.items():
            connection.create_aggregate(name, count, self._guarded_aggregate(aggregate))
        for name, (count, aggregate) in WINDOW_AGGREGATES.items():
            connection.create_window_function(name, count, aggregate)
        connection.execute("PRAGMA trusted_schema = OFF")
        # Automatic indexes come with Bloom filters, which take texts of unequal length for unequal in any collation.
        connection.execute("PRAGMA automatic_index = OFF")
        connection.execute(f"PRAGMA max_page_count = {MAX_BYTES // 4096}")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE + (1 << 16))
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_authorizer(self._authorize)
        connection.set_progress_handler(self._progress, STEPS_PER_CALL)
        return connection

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """SQLite swallows the exceptions of functions, so MySQL's errors are kept for `execute` to raise."""

        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except MySQLError as error:
                self._pending = error
                raise

        return call

    def _guarded_aggregate(self, aggregate: type) -> type:
        engine = self

        class Guarded(aggregate):  # type: ignore[misc]
            def step(self, *values: Any) -> None:
                try:
                    super().step(*values)
                except MySQLError as error:
                    engine._pending = error
                    raise

        return Guarded if aggregate.__name__ == "_One" else aggregate

    def _authorize(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (second or "").lower() in _UNSAFE_FUNCTIONS else sqlite3.SQLITE_OK
        if action in _READING or action in _WRITING or (action in _DEFINING and self._own_work):
            return sqlite3.SQLITE_OK
        if action in _WRITING and (first or "").startswith("sqlite_"):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_DENY

    def _progress(self) -> int:
        self._calls += 1
        return int(self._calls > self._max_calls or time.monotonic() > self._deadline)

    def _start_clock(self) -> None:
        self._calls = 0
        self._deadline = time.monotonic() + self.timeout

    def load(self, database: str, tables: Iterable[Table]) -> None:
        """Start afresh with these tables. All columns are TEXT.

        Raises:
            MySQLError: A table cannot be: two columns of one name (1060), or a name that is none (1166).
        """
        found = tuple(tables)
        contents = [
            (TableInfo(table.name, f"t{number}", _text_columns(table.columns)), table.rows)
            for number, table in enumerate(found)
        ]
        self._restart(database, contents)
        # Says all that `Catalog.shape` does, as every column is TEXT, at a tenth of its cost.
        self._shape = repr((database, [table[:2] for table in found]))

    def _restart(self, database: str, contents: Sequence[tuple[TableInfo, Sequence[Sequence[Any]]]]) -> None:
        execute = self._connection.execute
        self._own_work = True
        self._start_clock()
        execute("BEGIN")
        old = {table.sql: _plain_width(table) for table in self.catalog.tables.values()}
        for info, rows in contents:
            # Names never reach SQLite, so a table of as many TEXT columns will do: emptying it is quicker.
            width = old.pop(info.sql, -1)
            if width and width == _plain_width(info):
                execute(f"DELETE FROM {info.sql}")
            else:
                if width >= 0:
                    execute(f"DROP TABLE {info.sql}")
                execute(create_table(info))
            if rows:
                marks = ", ".join("?" * len(info.columns))
                self._connection.executemany(f"INSERT INTO {info.sql} VALUES ({marks})", rows)
        for name in old:
            execute(f"DROP TABLE {name}")
        execute("COMMIT")
        self.catalog = Catalog(database, [info for info, _ in contents])
        self._shape = self.catalog.shape()
        self._changes += 1

    # Running ----------------------------------------------------------------------------------------------------------

    def execute(self, sql: str) -> list[Row]:
        """Run one statement; the rows of its result, at most `max_rows` of them.

        Raises:
            MySQLError: The server would refuse it, or it takes too much.
        """
        statement = self.compile(sql)
        if statement.rows is not None:
            return list(statement.rows)
        try:
            return self._run(statement)
        except sqlite3.Error as error:
            raise self._explain(error, statement) from None

    def compile(self, sql: str) -> Statement:
        """Compile a statement for the tables as they are; compiled statements are remembered."""
        if len(sql) > MAX_STATEMENT:
            raise MySQLError(1153, "Got a packet bigger than 'max_allowed_packet' bytes")
        sql = sql.encode(errors="replace").decode()
        key = (self.flavour, self._shape, sql)
        found = _compiled.get(key)
        if found is None:
            try:
                found = compile_statement(sql, self.catalog, self.flavour)
            except RecursionError:
                raise MySQLError(1436, "Thread stack overrun") from None
            _compiled[key] = found
            if len(_compiled) > COMPILED:
                _compiled.popitem(last=False)
        else:
            _compiled.move_to_end(key)
        return found

    def _run(self, statement: Statement) -> list[Row]:
        self._pending = None
        self._start_clock()
        self._own_work = bool(statement.definitions)
        connection = self._connection
        if statement.columns is not None:
            cursor = connection.execute(statement.sql)
            rows = cursor.fetchmany(self.max_rows)
            cursor.close()
            return _convert(rows, statement.columns)
        before = connection.total_changes
        for part in filter(None, statement.sql.split("; ") if statement.definitions else [statement.sql]):
            connection.execute(part).close()
        for definition in statement.definitions:
            self._redefine(definition.name, definition.table, definition.old_name)
        self._changes += connection.total_changes != before
        return []

    def _redefine(self, name: str, table: TableInfo | None, old_name: str) -> None:
        tables = self.catalog.tables
        if old_name:
            del tables[old_name]
        if table is None:
            del tables[name]
        else:
            tables[name] = table
        self._shape = self.catalog.shape()
        self._changes += 1

    def _explain(self, error: sqlite3.Error, statement: Statement) -> MySQLError:
        """MySQL's error for what went wrong inside of SQLite."""
        if self._pending is not None:
            return self._pending
        text = str(error)
        if text == "interrupted":
            if statement.recursive:
                return MySQLError(3636, "Recursive query aborted after 1001 iterations. Try increasing "
                                  "@@cte_max_recursion_depth to a larger value.")  # fmt: skip
            return MySQLError(3024, "Query execution was interrupted, maximum statement execution time exceeded")
        if "full" in text:
            return MySQLError(1114, "The table is full")
        if "too big" in text:
            return MySQLError(1301, "Result was larger than max_allowed_packet - truncated")
        if "integer overflow" in text:
            return MySQLError(1690, "BIGINT value is out of range")
        return MySQLError(1105, "Unknown error")

    # Reading the tables from outside ----------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """Grows with every statement that changed something."""
        return self._changes

    def table_names(self) -> list[str]:
        """The tables there are."""
        return list(self.catalog.tables)

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a table.

        Raises:
            MySQLError: There is no such table (1146).
        """
        return tuple(column.name for column in self.catalog.find(name).columns)

    def rows(self, name: str) -> list[Row]:
        """All rows of a table in order, as they are stored.

        Raises:
            MySQLError: There is no such table (1146).
        """
        table = self.catalog.find(name)
        columns = ", ".join(column.sql for column in table.columns)
        self._start_clock()
        return self._connection.execute(f"SELECT {columns} FROM {table.sql} ORDER BY rowid").fetchall()

    def dump(self) -> list[Any]:
        """The whole database as a JSON-able value."""
        found: list[Any] = []
        for table in self.catalog.tables.values():
            columns = [[column.name, column.kind.value, column.scale, column.declared] for column in table.columns]
            found.append([table.name, columns, [list(row) for row in self.rows(table.name)]])
        return found

    def restore(self, database: str, dump: Iterable[Any]) -> None:
        """Make the database what `dump` gave."""
        contents: list[tuple[TableInfo, Sequence[Sequence[Any]]]] = []
        for number, (name, columns, rows) in enumerate(dump):
            described = tuple(
                Column(column, f"c{n}", Kind(kind), scale, declared)
                for n, (column, kind, scale, declared) in enumerate(columns)
            )
            contents.append((TableInfo(name, f"t{number}", described), rows))
        self._restart(database, contents)

    def __getstate__(self) -> dict[str, Any]:
        """The database by its content: a connection cannot be sent."""
        settings = (self.flavour, self._max_calls * STEPS_PER_CALL, self.timeout, self.max_rows)
        return {
            "settings": settings,
            "database": self.catalog.database,
            "tables": self.dump(),
            "changes": self._changes,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A new connection with the same content."""
        Engine.__init__(self, *state["settings"])
        self.restore(state["database"], state["tables"])
        self._changes = state["changes"]

    def close(self) -> None:
        """Free the memory."""
        self._connection.close()


def _plain_width(table: TableInfo) -> int:
    """How many columns a table has, if they are c0, c1, … of type TEXT; else 0."""
    plain = all(column.kind is Kind.TEXT and column.sql == f"c{n}" for n, column in enumerate(table.columns))
    return len(table.columns) if plain else 0


@lru_cache(maxsize=512)
def _text_columns(names: tuple[str, ...]) -> tuple[Column, ...]:
    columns = tuple(Column(name, f"c{number}", Kind.TEXT) for number, name in enumerate(names))
    seen: set[str] = set()
    for column in columns:
        if not column.name or column.name.endswith(" "):
            raise MySQLError(1166, f"Incorrect column name '{column.name}'")
        if column.lower in seen:
            raise MySQLError(1060, f"Duplicate column name '{column.name}'")
        seen.add(column.lower)
    return columns


def _date(text: Any) -> Any:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return text


def _datetime(text: Any) -> Any:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return text


def _time(text: Any) -> Any:
    hours, minutes, *rest = (int(part) for part in str(text).split(":"))
    return datetime.timedelta(hours=hours, minutes=minutes, seconds=rest[0] if rest else 0)


def _int(value: Any) -> Any:
    if isinstance(value, float):  # SQLite went over to floating point
        raise MySQLError(1690, "BIGINT value is out of range")
    return value


_CONVERTERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.REAL: float, Kind.DATE: _date, Kind.DATETIME: _datetime, Kind.TIME: _time, Kind.INT: _int,
    Kind.UNSIGNED: lambda value: value + (1 << 64) if value < 0 else value,
}  # fmt: skip


def _convert(rows: list[Row], columns: tuple[Column, ...]) -> list[Row]:
    """Values as the driver hands them over: DOUBLE as float, DECIMAL as Decimal, dates as dates."""
    converters: list[Callable[[Any], Any] | None] = []
    for column in columns:
        if column.kind is Kind.DECIMAL:
            converters.append(lambda value, scale=column.scale: decimal_of(value, scale))  # type: ignore[misc]
        else:
            converters.append(_CONVERTERS.get(column.kind))
    if not any(converters):
        return rows
    return [
        tuple(
            value if value is None or convert is None else convert(value)
            for value, convert in zip(row, converters, strict=True)
        )
        for row in rows
    ]
