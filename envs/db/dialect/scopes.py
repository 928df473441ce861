"""What a name means: tables, columns, and the queries around a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cmat_gym.envs.db.dialect.errors import MySQLError, duplicate_column, unknown_column
from cmat_gym.envs.db.dialect.types import Kind, Typed

__all__ = ["Catalog", "Column", "Scope", "Source", "TableInfo", "quote"]


def quote(name: str) -> str:
    """A name as SQLite reads it whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


class Column(NamedTuple):
    """A column of a table or of a subquery: MySQL's name, SQLite's name, the type, and the type as declared."""

    name: str
    sql: str
    kind: Kind
    scale: int = 0
    declared: str = "text"

    @property
    def lower(self) -> str:
        """The name as it is compared."""
        return self.name.lower()


class TableInfo(NamedTuple):
    """A table: its MySQL name, its SQLite name, its columns."""

    name: str
    sql: str
    columns: tuple[Column, ...]


class Catalog:
    """The tables of one database. Table names are told apart by case, as on Linux; column names are not."""

    def __init__(self, database: str, tables: Iterable[TableInfo] = ()) -> None:
        self.database = database
        self.tables = {table.name: table for table in tables}

    def find(self, name: str) -> TableInfo:
        """The table of this name.

        Raises:
            MySQLError: There is none (1146).
        """
        if name not in self.tables:
            raise MySQLError(1146, f"Table '{self.database}.{name}' doesn't exist")
        return self.tables[name]

    def shape(self) -> str:
        """All that compiled statements depend on."""
        return repr((self.database, list(self.tables.values())))


class Source:
    """A table or a subquery in a FROM clause, under the name the query gives it."""

    def __init__(self, name: str, alias: str, columns: Iterable[Column], table: TableInfo | None = None) -> None:
        self.name = name
        self.alias = alias
        self.columns = tuple(columns)
        self.table = table
        self._index = {column.lower: column for column in self.columns}

    def column(self, name: str) -> Column | None:
        """The column of this name, in whatever case."""
        return self._index.get(name.lower())

    def reference(self, column: Column) -> Typed:
        """The column as an expression."""
        return Typed(f"{self.alias}.{column.sql}", column.kind, column.scale, collated=column.kind is Kind.TEXT)


def check_unique(columns: Iterable[Column]) -> None:
    """Refuse two columns of one name (1060)."""
    seen: set[str] = set()
    for column in columns:
        if column.lower in seen:
            raise duplicate_column(column.name)
        seen.add(column.lower)


class Scope:
    """One query while it is compiled: its tables, and the query it stands in.

    Attributes:
        clause: The clause that is being compiled, in the words of MySQL's errors.
        ctes: Common table expressions in reach.
        wrap: A column outside of an aggregate stands for the first row of its group.
        keys: SQLite text of what is grouped by; it has one value in a group anyway.
        in_aggregate: Whether the arguments of an aggregate are being compiled.
        aliases: Names of the select list that HAVING, GROUP BY and ORDER BY may use.
        overrides: Columns that an UPDATE has given a new value already.
        merged: Columns joined by USING.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.sources: list[Source] = []
        self.clause = "field list"
        self.ctes: dict[str, Source] = {}
        self.wrap = False
        self.keys: set[str] = set()
        self.in_aggregate = False
        self.aliases: dict[str, Typed] = {}
        self.overrides: dict[str, Typed] = {}
        self.merged: dict[str, Typed] = {}

    def chain(self) -> Iterator[Scope]:
        """This query and those around it, from the inside."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def cte(self, name: str) -> Source | None:
        """The common table expression of this name."""
        return next((scope.ctes[name] for scope in self.chain() if name in scope.ctes), None)

    def add(self, source: Source) -> None:
        """Put a table in reach.

        Raises:
            MySQLError: The name is taken (1066).
        """
        if any(other.name == source.name for other in self.sources):
            raise MySQLError(1066, f"Not unique table/alias: '{source.name}'")
        self.sources.append(source)

    def source(self, name: str) -> Source | None:
        """The table of this name in this query."""
        return next((source for source in self.sources if source.name == name), None)

    def resolve(self, name: str, table: str = "") -> Typed:
        """What a column name stands for.

        Raises:
            MySQLError: Nothing (1054), or more than one thing (1052).
        """
        shown = f"{table}.{name}" if table else name
        for scope in self.chain():
            found = scope.lookup(name, table, self.clause)
            if found is None:
                continue
            if scope is self and scope.wrap and not scope.in_aggregate and found.sql not in scope.keys:
                return found._replace(sql=f"my_first({found.sql})", collated=False)
            return found
        raise unknown_column(shown, self.clause)

    def lookup(self, name: str, table: str, clause: str) -> Typed | None:
        """What a column name stands for in this query alone."""
        if not table and name.lower() in self.merged:
            return self.merged[name.lower()]
        matches: list[Typed] = []
        for source in self.sources:
            if table and source.name != table:
                continue
            column = source.column(name)
            if column is not None:
                matches.append(source.reference(column))
        if len(matches) > 1:
            raise MySQLError(1052, f"Column '{name}' in '{clause}' is ambiguous")
        if not matches:
            return None
        return self.overrides.get(matches[0].sql, matches[0])
