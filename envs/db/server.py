"""The real backend: MySQL or MariaDB. Every episode gets a schema of its own and an account that sees nothing else.

Tables are made and read through a second account, of the caller, that the agent knows nothing of.
"""

from __future__ import annotations

import contextlib
import decimal
import os
import re
import secrets
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from cmat_gym.core.errors import BackendError, UsageError, require
from cmat_gym.envs.db.dialect.dates import NOW
from cmat_gym.envs.db.dialect.engine import Row, Table
from cmat_gym.envs.db.dialect.errors import MySQLError, duplicate_column

__all__ = ["DSN", "ServerBackend", "parse_dsn"]

PUBLIC_NAME = "db"  # what agents see instead of the name of their schema
COLLATION = "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
PRIVILEGES = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, EXECUTE"
_READING = re.compile(r"[\s(]*(select|show|describe|desc|explain|help|use)\b", re.IGNORECASE)
_LOST = {0, 1927, 2006, 2013, 2014, 2055}
MAX_STATEMENT = 1 << 16
_HINTS: Mapping[object, str] = {  # the way out, by MySQL's number
    1045: ". Are user and password of the DSN right, and may the account log in from this machine?",
    1130: ". The server takes no connections from this machine",
    2003: ". Is the server running, and does it listen at this address?",
}


class DSN(NamedTuple):
    """Where a server is: a host and a port, or a socket."""

    host: str
    port: int
    user: str
    password: str
    socket: str = ""


def parse_dsn(text: str) -> DSN:
    """Read `mysql://user:password@host:port`, or `mysql://user@localhost?socket=/path`.

    Raises:
        UsageError: It is none.
    """
    parts = urlsplit(text)
    socket = re.fullmatch(r"socket=(.+)", parts.query)
    try:
        port = parts.port or 3306
    except ValueError:
        port = 0
    if (
        parts.scheme not in ("mysql", "mariadb")
        or not parts.hostname
        or not parts.username
        or not port
        or parts.path.strip("/")
    ):
        shown = re.sub(r"(//[^:/]*):.*@", r"\1:…@", text)
        raise UsageError(
            f"{shown!r} is no DSN: write mysql://user:password@host:3306, special letters of user and password as %40 "
            "and so on, and without a database, as every episode gets one of its own"
        )
    return DSN(
        parts.hostname,
        port,
        unquote(parts.username),
        unquote(parts.password or ""),
        unquote(socket[1]) if socket else "",
    )


class ServerBackend:
    """One schema on a server, and a connection that can do nothing else.

    Args:
        dsn: The server, with an account that may create schemas and accounts.
        timeout: Seconds a statement may take.
        max_rows: Rows of a result that the server gives.

    Raises:
        MissingExtraError: PyMySQL is not installed.
        BackendError: The server cannot be reached, or refuses to create the account.
    """

    def __init__(self, dsn: DSN, timeout: float = 10.0, max_rows: int = 1000) -> None:
        self._driver: Any = require("pymysql", "mysql")
        self._dsn = dsn
        self._timeout = timeout
        self._max_rows = max_rows
        self._name = f"cmat_{secrets.token_hex(6)}"
        self._password = secrets.token_hex(16)
        self._episode = 0
        self._agent: Any = None
        self.changes = 0
        self._admin = self._connect(dsn.user, dsn.password)
        self._mariadb = "mariadb" in str(self._admin.get_server_info()).lower()
        self._create_account()

    # Connections ------------------------------------------------------------------------------------------------------

    def _connect(self, user: str, password: str, schema: str | None = None) -> Any:
        where = (
            {"unix_socket": self._dsn.socket} if self._dsn.socket else {"host": self._dsn.host, "port": self._dsn.port}
        )
        try:
            return self._driver.connect(
                **where, user=user, password=password, database=schema, charset="utf8mb4", autocommit=True,
                read_timeout=self._timeout + 5, local_infile=False,
                ssl_disabled=bool(self._dsn.socket) or self._dsn.host in ("localhost", "127.0.0.1", "::1"),
            )  # fmt: skip
        except (self._driver.err.MySQLError, RuntimeError) as error:  # the latter: MySQL 8's login lacks a package
            place = self._dsn.socket or f"{self._dsn.host}:{self._dsn.port}"
            hint = _HINTS.get(error.args[0] if error.args else None, "")
            raise BackendError(f"No connection to MySQL at {place} as {user!r}: {error}{hint}") from error

    def _create_account(self) -> None:
        host = "localhost" if self._dsn.socket else "%"
        try:
            self._do(f"CREATE USER '{self._name}'@'{host}' IDENTIFIED BY '{self._password}'")
            self._do(f"GRANT {PRIVILEGES} ON `{self._name}\\_%`.* TO '{self._name}'@'{host}'")
        except self._driver.err.MySQLError as error:
            raise BackendError(
                f"The account of the DSN must be able to create schemas and accounts: {error}"
            ) from error
        # An environment that nobody closed takes its schema and its account along all the same.
        self._clean_up = weakref.finalize(self, _drop, self._admin, self._name, host, os.getpid())

    def _do(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement of ours, never of the agent's."""
        with self._admin.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    @property
    def schema(self) -> str:
        """The real name of the current episode's schema."""
        return f"{self._name}_{self._episode}"

    def _open_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
        self._agent = self._connect(self._name, self._password, self.schema)
        limit = (
            f"max_statement_time = {self._timeout}"
            if self._mariadb
            else f"max_execution_time = {int(self._timeout * 1000)}"
        )
        with self._agent.cursor() as cursor:
            cursor.execute(
                f"SET SESSION sql_mode = '', group_concat_max_len = 1024, time_zone = '+00:00', "
                f"sql_select_limit = {self._max_rows}, "
                f"timestamp = UNIX_TIMESTAMP('{NOW}'), lock_wait_timeout = 5, {limit}"
            )

    # The interface of a backend ---------------------------------------------------------------------------------------

    def load(self, database: str, tables: Iterable[Table]) -> None:
        """Start afresh with these tables, in a new schema. All columns are TEXT.

        Raises:
            MySQLError: A table cannot be.
        """
        creations: list[tuple[str, str, Sequence[Sequence[Any]]]] = []
        for table in tables:
            seen: set[str] = set()
            for column in table.columns:
                if column.lower() in seen:
                    raise duplicate_column(column)
                seen.add(column.lower())
            columns = ", ".join(f"{_quote(column)} TEXT" for column in table.columns)
            creations.append((table.name, f"CREATE TABLE {_quote(table.name)} ({columns})", table.rows))
        self._rebuild(creations)

    def _rebuild(self, creations: Iterable[tuple[str, str, Sequence[Sequence[Any]]]]) -> None:
        try:
            self._do(f"DROP DATABASE IF EXISTS {self.schema}")
            self._episode += 1
            self._do(f"CREATE DATABASE {self.schema} {COLLATION}")
            self._admin.select_db(self.schema)
            self._do("SET SESSION sql_mode = ''")
            for name, sql, rows in creations:
                self._do(sql)
                if rows:
                    marks = ", ".join(["(" + ", ".join(["%s"] * len(rows[0])) + ")"] * len(rows))
                    self._do(
                        f"INSERT INTO {_quote(name).replace('%', '%%')} VALUES {marks}",
                        [value for row in rows for value in row],
                    )
        except self._driver.err.MySQLError as error:
            raise self._translate(error) from error
        self._open_agent()
        self.changes += 1

    def execute(self, sql: str) -> list[Row]:
        """Run one statement of the agent's.

        Raises:
            MySQLError: The server refuses it.
            BackendError: The server is gone.
        """
        if len(sql) > MAX_STATEMENT:
            raise MySQLError(1153, "Got a packet bigger than 'max_allowed_packet' bytes")
        sql = sql.encode(errors="replace").decode()
        if not _READING.match(sql):
            self.changes += 1
        try:
            with self._agent.cursor() as cursor:
                if "rand" in sql.lower():
                    cursor.execute("SET SESSION rand_seed1 = 1, rand_seed2 = 2")
                cursor.execute(sql)
                rows = [self._public(row) for row in cursor.fetchmany(self._max_rows)]
            self._agent.commit()
        except self._driver.err.MySQLError as error:
            raise self._translate(error) from error
        return rows

    def _translate(self, error: Exception) -> MySQLError:
        code, message = (*error.args, "")[:2] if error.args else (1105, str(error))
        if code in _LOST:
            self._open_agent()  # raises where the server is gone; else the agent cut its own line
            return MySQLError(1317, "Query execution was interrupted")
        return MySQLError(int(code), self._hide(str(message)))

    def _public(self, row: Sequence[Any]) -> Row:
        """A row with the schema's real name hidden, and bytes as text."""
        return tuple(self._public_value(value) for value in row)

    def _public_value(self, value: Any) -> Any:
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str) and self._name in value:
            return self._hide(value)
        return value

    def _hide(self, text: str) -> str:
        """The names an agent may know for the real ones."""
        return re.sub(rf"{self._name}_\d+", PUBLIC_NAME, text).replace(self._name, "agent")

    def rows(self, name: str) -> list[Row]:
        """All rows of a table in order, read through our own account.

        Raises:
            MySQLError: There is no such table.
        """
        try:
            return self._do(f"SELECT * FROM {_quote(name)}")
        except self._driver.err.MySQLError as error:
            raise self._translate(error) from error

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a table.

        Raises:
            MySQLError: There is no such table.
        """
        try:
            return tuple(row[0] for row in self._do(f"SHOW COLUMNS FROM {_quote(name)}"))
        except self._driver.err.MySQLError as error:
            raise self._translate(error) from error

    def table_names(self) -> list[str]:
        """The tables there are."""
        return [row[0] for row in self._do("SHOW TABLES")]

    def dump(self) -> list[Any]:
        """The whole schema as a JSON-able value."""
        found: list[Any] = []
        for name in self.table_names():
            [(_, sql)] = self._do(f"SHOW CREATE TABLE {_quote(name)}")
            found.append([name, sql, [[_plain(value) for value in row] for row in self.rows(name)]])
        return found

    def restore(self, database: str, dump: Iterable[Any]) -> None:
        """Make the schema what `dump` gave."""
        self._rebuild((name, sql, rows) for name, sql, rows in dump)

    def __getstate__(self) -> dict[str, Any]:
        """The schema by its content: a connection cannot be sent."""
        settings = (self._dsn, self._timeout, self._max_rows)
        return {"settings": settings, "tables": self.dump() if self._episode else [], "changes": self.changes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A schema and an account of its own with the same content."""
        self.__init__(*state["settings"])  # type: ignore[misc]
        self.restore("", state["tables"])
        self.changes = state["changes"]

    def close(self) -> None:
        """Drop the schema and the account."""
        self._clean_up()


def _drop(connection: Any, name: str, host: str, owner: int) -> None:
    """Remove an account and its schemas; a forked child leaves its parent's alone."""
    if os.getpid() != owner:
        return
    with contextlib.suppress(Exception):  # the server may be gone, and the schema with it
        with connection.cursor() as cursor:
            cursor.execute("SHOW DATABASES LIKE %s", (f"{name}\\_%",))
            for (schema,) in cursor.fetchall():
                cursor.execute(f"DROP DATABASE IF EXISTS `{schema}`")
            cursor.execute(f"DROP USER IF EXISTS '{name}'@'{host}'")
        connection.close()


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return (
        str(value) if isinstance(value, decimal.Decimal) else value.decode() if isinstance(value, bytes) else str(value)
    )
