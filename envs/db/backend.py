"""What the world stands on: one database at a time, embedded or on a real server, behind one small interface."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from cmat_gym.core.errors import UnknownNameError
from cmat_gym.envs.db.dialect.engine import Engine, Row, Table
from cmat_gym.envs.db.mariadb import shared_server
from cmat_gym.envs.db.server import DSN, ServerBackend, parse_dsn

__all__ = ["BACKENDS", "Backend", "DBBackend", "open_backend"]

BACKENDS = ("embedded", "mariadb", "mysql://…")
MAX_ROWS = 400  # of a result; at least two characters each and two between them fill the 800 an agent is shown


class Backend(Protocol):
    """One database. `changes` grows with every statement that may have changed something."""

    @property
    def changes(self) -> int:
        """A number that differs after a change."""
        ...

    def load(self, database: str, tables: Iterable[Table]) -> None:
        """Start afresh with these tables; every column is TEXT."""
        ...

    def execute(self, sql: str) -> list[Row]:
        """Run a statement of the agent; raises `MySQLError`."""
        ...

    def rows(self, name: str) -> list[Row]:
        """All rows of a table, out of the agent's reach; raises `MySQLError`."""
        ...

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a table; raises `MySQLError`."""
        ...

    def table_names(self) -> list[str]:
        """The tables there are."""
        ...

    def dump(self) -> list[Any]:
        """The whole database as a JSON-able value."""
        ...

    def restore(self, database: str, dump: Iterable[Any]) -> None:
        """Make the database what `dump` gave."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class DBBackend(Engine):
    """The embedded database: MySQL's dialect on SQLite, in this process."""

    def __init__(self, timeout: float = 10.0) -> None:
        super().__init__("mysql", timeout=timeout, max_rows=MAX_ROWS)


def open_backend(name: str | None = None, timeout: float = 10.0) -> Backend:
    """A database of its own on the backend that `name` names.

    Args:
        name: None or `embedded`; `mariadb` for a private server; or the DSN of a server.
        timeout: Seconds one statement may take.

    Raises:
        UnknownNameError: None of these.
        UsageError: A DSN that cannot be read.
        BackendError: The server cannot be used.
        MissingExtraError: PyMySQL is not installed.
    """
    if name is None or name == "embedded":
        return DBBackend(timeout)
    if name == "mariadb":
        return ServerBackend(DSN("localhost", 0, "root", "", shared_server().socket), timeout, MAX_ROWS)
    if "://" in name:
        return ServerBackend(parse_dsn(name), timeout, MAX_ROWS)
    raise UnknownNameError("backend", name, BACKENDS)
