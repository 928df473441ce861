"""Statements that change the tables themselves: CREATE, DROP, ALTER, TRUNCATE."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, unknown_column
from cmat_gym.envs.db.dialect.queries import QueryCompiler
from cmat_gym.envs.db.dialect.scopes import Column, TableInfo, check_unique
from cmat_gym.envs.db.dialect.types import Kind

__all__ = ["Definition", "DefinitionCompiler", "Statement", "create_table"]


class Definition(NamedTuple):
    """A change to the tables themselves: the name of a table, and what it is from now on (None: gone)."""

    name: str
    table: TableInfo | None
    old_name: str = ""


class Statement(NamedTuple):
    """A compiled statement.

    Attributes:
        sql: SQLite text; empty if there is nothing to run.
        columns: Types of the columns of the result; None for a statement without a result.
        rows: A result that needs no running.
        definitions: Changes to the catalog, to be made after `sql` has run.
        recursive: A recursive query that ran too long ends with an error of its own.
    """

    sql: str = ""
    columns: tuple[Column, ...] | None = None
    rows: tuple[tuple[Any, ...], ...] | None = None
    definitions: tuple[Definition, ...] = ()
    recursive: bool = False


class DefinitionCompiler(QueryCompiler):
    """Compiles what makes and unmakes tables."""

    def target(self, node: exp.Expr) -> TableInfo:
        """The table a statement changes."""
        if not isinstance(node, exp.Table):
            raise self.cannot_read(node)
        database = node.text("db")
        if database and database != self.catalog.database:
            raise MySQLError(1142, f"command denied to user 'agent'@'localhost' for table `{database}`.`{node.name}`")
        return self.catalog.find(node.name)

    # Tables -----------------------------------------------------------------------------------------------------------

    def define(self, node: exp.Expr) -> Statement:
        match node:
            case exp.TruncateTable():
                [target] = node.expressions
                return Statement(f"DELETE FROM {self.target(target).sql}")
            case exp.Drop():
                return self._drop(node)
            case exp.Alter():
                return self._alter(node)
        return self._create(node)

    def _drop(self, node: exp.Expr) -> Statement:
        if str(node.args.get("kind")).upper() != "TABLE":
            raise MySQLError(1044, f"Access denied for user 'agent'@'localhost' to database '{self.catalog.database}'")
        targets = node.args.get("tables") or [node.this]
        missing = [table.name for table in targets if table.name not in self.catalog.tables]
        if missing and not node.args.get("exists"):
            raise MySQLError(1051, f"Unknown table '{self.catalog.database}.{missing[0]}'")
        found = [table.name for table in targets if table.name in self.catalog.tables]
        sql = "; ".join(f"DROP TABLE {self.catalog.tables[name].sql}" for name in found)
        return Statement(sql, definitions=tuple(Definition(name, None) for name in found))

    def _create(self, node: exp.Expr) -> Statement:
        schema = node.this
        if str(node.args.get("kind")).upper() in ("DATABASE", "SCHEMA"):
            raise MySQLError(1044, f"Access denied for user 'agent'@'localhost' to database '{schema.name}'")
        if (
            str(node.args.get("kind")).upper() != "TABLE"
            or not isinstance(schema, exp.Schema)
            or node.args.get("expression")
        ):
            raise not_supported(f"CREATE {node.args.get('kind')} in this form")
        name = schema.this.name
        if name in self.catalog.tables:
            if node.args.get("exists"):
                return Statement()
            raise MySQLError(1050, f"Table '{name}' already exists")
        columns = [self._column_definition(item, number) for number, item in enumerate(schema.expressions)]
        check_unique(columns)
        table = TableInfo(name, self._new_table_name(), tuple(columns))
        return Statement(create_table(table), definitions=(Definition(name, table),))

    def _new_table_name(self) -> str:
        used = {table.sql for table in self.catalog.tables.values()}
        return next(f"t{n}" for n in range(len(used) + 1) if f"t{n}" not in used)

    def _column_definition(self, node: exp.Expr, number: int) -> Column:
        if not isinstance(node, exp.ColumnDef) or any(
            not _harmless(item) for item in node.args.get("constraints") or []
        ):
            raise not_supported("keys and constraints of columns")
        kind = node.args.get("kind")
        if kind is None:
            raise self.cannot_read(node)
        return declared_column(node.name, f"c{number}", kind)

    def _alter(self, node: exp.Expr) -> Statement:
        table = self.target(node.this)
        actions = node.args.get("actions") or []
        if len(actions) != 1:
            raise not_supported("several changes in one ALTER TABLE")
        action = actions[0]
        names = {column.lower: column for column in table.columns}

        def known(name: str) -> Column:
            if name.lower() not in names:
                raise MySQLError(1091, f"Can't DROP '{name}'; check that column/key exists")
            return names[name.lower()]

        if isinstance(action, exp.ColumnDef):
            used = {column.sql for column in table.columns}
            place = next(n for n in range(len(used) + 1) if f"c{n}" not in used)
            column = self._column_definition(action, place)
            check_unique([*table.columns, column])
            changed = table._replace(columns=(*table.columns, column))
            sql = f"ALTER TABLE {table.sql} ADD COLUMN {column.sql} {_affinity(column)}"
        elif isinstance(action, exp.Drop) and str(action.args.get("kind")).upper() == "COLUMN":
            target = action.args.get("tables") or [action.this]
            column = known(target[0].name)
            if len(table.columns) == 1:
                raise MySQLError(1090, "You can't delete all columns with ALTER TABLE; use DROP TABLE instead")
            changed = table._replace(columns=tuple(c for c in table.columns if c is not column))
            sql = f"ALTER TABLE {table.sql} DROP COLUMN {column.sql}"
        elif isinstance(action, exp.RenameColumn):
            if action.this.name.lower() not in names:
                raise unknown_column(action.this.name, table.name)
            column = names[action.this.name.lower()]
            renamed = column._replace(name=action.args["to"].name)
            changed = table._replace(columns=tuple(renamed if c is column else c for c in table.columns))
            check_unique(changed.columns)
            sql = ""
        elif isinstance(action, exp.AlterRename):
            new_name = action.this.name
            if new_name in self.catalog.tables:
                raise MySQLError(1050, f"Table '{new_name}' already exists")
            return Statement(definitions=(Definition(new_name, table._replace(name=new_name), old_name=table.name),))
        else:
            raise not_supported("this form of ALTER TABLE")
        return Statement(sql, definitions=(Definition(table.name, changed),))


def _harmless(constraint: exp.Expr) -> bool:
    kind = constraint.args.get("kind")
    return isinstance(
        kind, (exp.CharacterSetColumnConstraint, exp.CollateColumnConstraint, exp.CommentColumnConstraint)
    ) or (isinstance(kind, exp.NotNullColumnConstraint) and bool(kind.args.get("allow_null")))


_DECLARED = {
    "INT": (Kind.INT, "int(11)"), "BIGINT": (Kind.INT, "bigint(20)"), "SMALLINT": (Kind.INT, "smallint(6)"),
    "TINYINT": (Kind.INT, "tinyint(4)"), "BOOLEAN": (Kind.INT, "tinyint(1)"), "DOUBLE": (Kind.REAL, "double"),
    "FLOAT": (Kind.REAL, "float"), "DECIMAL": (Kind.DECIMAL, "decimal"), "TEXT": (Kind.TEXT, "text"),
    "VARCHAR": (Kind.TEXT, "varchar"), "CHAR": (Kind.TEXT, "char"), "MEDIUMTEXT": (Kind.TEXT, "mediumtext"),
    "LONGTEXT": (Kind.TEXT, "longtext"), "DATE": (Kind.DATE, "date"), "DATETIME": (Kind.DATETIME, "datetime"),
}  # fmt: skip


def declared_column(name: str, sql: str, kind: exp.Expr) -> Column:
    """A column of a declared type.

    Raises:
        MySQLError: A type the embedded engine does not have (1235).
    """
    type_name = getattr(kind.this, "name", str(kind.this))
    if type_name not in _DECLARED:
        raise not_supported(f"columns of type {type_name}")
    known, declared = _DECLARED[type_name]
    sizes = [parameter.name for parameter in kind.expressions]
    scale = 0
    if known is Kind.DECIMAL:
        sizes = [*sizes, *("10", "0")[len(sizes) :]] if len(sizes) < 2 else sizes
        scale = int(sizes[1])
    if sizes and type_name in ("VARCHAR", "CHAR", "DECIMAL"):
        declared = f"{declared}({','.join(sizes)})"
    return Column(name, sql, known, scale, declared)


def _affinity(column: Column) -> str:
    if column.kind is Kind.INT:
        return "INTEGER"
    return "REAL" if column.kind in (Kind.REAL, Kind.DECIMAL) else "TEXT COLLATE mysql"


def create_table(table: TableInfo) -> str:
    """SQLite text that makes a table."""
    return f"CREATE TABLE {table.sql} ({', '.join(f'{column.sql} {_affinity(column)}' for column in table.columns)})"
