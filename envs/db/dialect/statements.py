"""Statements: what is run, what changes, and what comes back."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, unknown_column
from cmat_gym.envs.db.dialect.information import describe, show
from cmat_gym.envs.db.dialect.parsing import parse
from cmat_gym.envs.db.dialect.queries import QueryCompiler
from cmat_gym.envs.db.dialect.scopes import Catalog, Column, Source, TableInfo, check_unique
from cmat_gym.envs.db.dialect.types import Kind, Typed, as_int, as_number, as_real, as_text

__all__ = ["Definition", "Statement", "compile_statement", "create_table"]


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


def compile_statement(sql: str, catalog: Catalog, flavour: str = "mysql") -> Statement:
    """Compile one statement of MySQL.

    Raises:
        MySQLError: MySQL would refuse it.
    """
    head = sql.lstrip()[:8].upper()
    if head.startswith("REPLACE") and not head.startswith("REPLACE("):  # sqlglot cannot read it; no table has keys
        sql = "INSERT" + sql.lstrip()[7:]
    lowered = sql.lower()
    if "outfile" in lowered or "dumpfile" in lowered or head.startswith("LOAD "):
        raise MySQLError(1227, "Access denied; you need (at least one of) the FILE privilege(s) for this operation")
    tree = parse(sql, flavour)
    return _StatementCompiler(sql, catalog, flavour).statement(tree)


class _StatementCompiler(QueryCompiler):
    def statement(self, node: exp.Expr) -> Statement:
        match node:
            case exp.Select() | exp.SetOperation() | exp.Subquery():
                found = self.query(node)
                recursive = "WITH RECURSIVE" in found.sql
                return Statement(found.sql, found.columns, recursive=recursive)
            case exp.Insert():
                return self._insert(node)
            case exp.Update():
                return self._update(node)
            case exp.Delete():
                return self._delete(node)
            case exp.Show():
                return Statement(rows=tuple(show(node, self.catalog, self.flavour)))
            case exp.Describe():
                return self._describe(node)
            case exp.Use():
                return self._use(node)
            case exp.Transaction() | exp.Commit() | exp.Rollback() | exp.Set():
                return Statement()  # every statement is committed by itself, as the original's client does
            case exp.Create() | exp.Drop() | exp.Alter() | exp.TruncateTable():
                return self._define(node)
            case exp.Command():
                raise not_supported(f"{str(node.this).upper()} statements")
        raise self.cannot_read(node)

    def _use(self, node: exp.Expr) -> Statement:
        name = node.this.name
        if name not in (self.catalog.database, "information_schema"):
            raise MySQLError(1044, f"Access denied for user 'agent'@'localhost' to database '{name}'")
        return Statement()

    def _describe(self, node: exp.Expr) -> Statement:
        target = node.this
        if isinstance(target, exp.Table):
            return Statement(rows=tuple(describe(self.catalog.find(target.name))))
        self.statement(target)  # EXPLAIN refuses what the statement itself would be refused for
        tables = [table.name for table in target.find_all(exp.Table)] or [None]
        rows = [
            (1, "SIMPLE", name, "ALL" if name else None, *[None] * 5, None if name else "No tables used")
            for name in tables
        ]
        return Statement(rows=tuple(rows))

    # Rows -------------------------------------------------------------------------------------------------------------

    def _target(self, node: exp.Expr) -> TableInfo:
        if not isinstance(node, exp.Table):
            raise self.cannot_read(node)
        database = node.text("db")
        if database and database != self.catalog.database:
            raise MySQLError(1142, f"command denied to user 'agent'@'localhost' for table `{database}`.`{node.name}`")
        return self.catalog.find(node.name)

    def _insert(self, node: exp.Expr) -> Statement:
        schema = node.this
        names: list[str] | None = None
        if isinstance(schema, exp.Schema):
            names = [item.name for item in schema.expressions]
            schema = schema.this
        table = self._target(schema)
        columns = self._insert_columns(table, names)
        body = node.expression
        listed = ", ".join(column.sql for column in columns)
        if isinstance(body, exp.Values):
            self.scope.clause = "field list"
            rows = [self._insert_row(row, columns, number) for number, row in enumerate(body.expressions, 1)]
            if not columns:
                return Statement(f"INSERT INTO {table.sql} DEFAULT VALUES")
            return Statement(f"INSERT INTO {table.sql} ({listed}) VALUES {', '.join(rows)}")
        if body is None:
            raise self.cannot_read(node)
        found = self.query(body)
        if len(found.columns) != len(columns):
            raise MySQLError(1136, "Column count doesn't match value count at row 1")
        values = ", ".join(
            assigned(Typed(f"c{n}", given.kind, given.scale), column, selected=True)
            for n, (given, column) in enumerate(zip(found.columns, columns, strict=True), 1)
        )
        return Statement(f"INSERT INTO {table.sql} ({listed}) SELECT {values} FROM ({found.sql})")

    def _insert_columns(self, table: TableInfo, names: list[str] | None) -> list[Column]:
        if names is None:
            return list(table.columns)
        by_name = {column.lower: column for column in table.columns}
        columns: list[Column] = []
        for name in names:
            column = by_name.get(name.lower())
            if column is None:
                raise unknown_column(name, "field list")
            if column in columns:
                raise MySQLError(1110, f"Column '{name}' specified twice")
            columns.append(column)
        return columns

    def _insert_row(self, row: exp.Expr, columns: list[Column], number: int) -> str:
        entries = row.expressions if isinstance(row, exp.Tuple) else [row]
        if len(entries) != len(columns):
            if entries:
                raise MySQLError(1136, f"Column count doesn't match value count at row {number}")
            entries = [exp.Null()] * len(columns)
        values = [
            "NULL"
            if isinstance(entry, exp.Var) and entry.name.upper() == "DEFAULT"
            else assigned(self.expression(entry), column)
            for entry, column in zip(entries, columns, strict=True)
        ]
        return f"({', '.join(values)})"

    def _update(self, node: exp.Expr) -> Statement:
        target = node.this
        joined = bool(target.args.get("joins")) or bool(node.args.get("from_"))
        if not isinstance(target, exp.Table):
            raise self.cannot_read(node)
        self._target(target)
        self._refuse_own_subquery(node, [target.name])
        from_sql = self.tables(target, [])
        source, changes = self._assignments(node, joined)
        table = source.table
        assert table is not None
        where = self._where(node.args.get("where"))
        rows = self._rows_sql(
            node, source, from_sql, where, [f"{value} AS v{n}" for n, (_, value) in enumerate(changes)]
        )
        sets = ", ".join(f"{column.sql} = n.v{number}" for number, (column, _) in enumerate(changes))
        if joined:  # a row that is found several times is changed once, as by the first
            firsts = ", ".join(f"my_first(v{n}) AS v{n}" for n in range(len(changes)))
            rows = f"SELECT r, {firsts} FROM ({rows}) GROUP BY r"
        return Statement(f"UPDATE {table.sql} SET {sets} FROM ({rows}) AS n WHERE {table.sql}.rowid = n.r")

    def _assignments(self, node: exp.Expr, joined: bool) -> tuple[Source, list[tuple[Column, str]]]:
        """The table that changes, and its new values; each sees the columns that were set before it."""
        scope = self.scope
        scope.clause = "field list"
        changed: Source | None = None
        changes: dict[Column, str] = {}
        for entry in node.expressions:
            if not isinstance(entry, exp.EQ) or not isinstance(entry.this, exp.Column):
                raise self.cannot_read(entry)
            name, table = entry.this.name, entry.this.text("table")
            scope.resolve(name, table)  # the errors of a name that is nothing, or two things
            source = next(s for s in scope.sources if (not table or s.name == table) and s.column(name) is not None)
            column = source.column(name)
            assert column is not None
            if source.table is None:
                raise MySQLError(1288, f"The target table {source.name} of the UPDATE is not updatable")
            if changed not in (None, source):
                raise not_supported("UPDATE of several tables at once")
            changed = source
            value = entry.expression
            default = isinstance(value, (exp.Var, exp.Column)) and value.name.upper() == "DEFAULT"
            sql = "NULL" if default else assigned(self.expression(value), column)
            changes[column] = sql
            scope.overrides[source.reference(column).sql] = source.reference(column)._replace(
                sql=f"({sql})", collated=False
            )
        scope.overrides.clear()
        assert changed is not None
        return changed, list(changes.items())

    def _delete(self, node: exp.Expr) -> Statement:
        target = node.this
        if not isinstance(target, exp.Table):
            raise self.cannot_read(node)
        listed = node.args.get("tables") or []
        if len(listed) > 1:
            raise not_supported("DELETE from several tables at once")
        self._refuse_own_subquery(node, [target.name])
        from_sql = self.tables(target, [])
        name = listed[0].name if listed else target.alias or target.name
        source = self.scope.source(name)
        if source is None or source.table is None:
            raise MySQLError(1109, f"Unknown table '{name}' in MULTI DELETE")
        where = self._where(node.args.get("where"))
        rows = self._rows_sql(node, source, from_sql, where, [])
        return Statement(f"DELETE FROM {source.table.sql} WHERE rowid IN ({rows})")

    def _rows_sql(self, node: exp.Expr, source: Source, from_sql: str, where: str, extra: list[str]) -> str:
        """The rows that a statement changes, by rowid."""
        self.scope.clause = "order clause"
        order = node.args.get("order")
        keys = [self._order_key(item, []) for item in order.expressions] if order is not None else []
        by = f" ORDER BY {', '.join(keys)}" if keys else ""
        shown = ", ".join([f"{source.alias}.rowid AS r", *extra])
        return f"SELECT {shown} FROM {from_sql}{where}{by}{self._limit(node)}"

    def _refuse_own_subquery(self, node: exp.Expr, targets: list[str]) -> None:
        """MySQL reads the changed table in a subquery only through a derived table; MariaDB reads it anyway."""
        if self.flavour != "mysql":
            return
        for query in node.find_all(exp.Select):
            start = query.args.get("from_")
            tables = [start.this] if start is not None else []
            tables += [join.this for join in query.args.get("joins") or []]
            inside = query.find_ancestor(exp.From, exp.Join) is not None
            for table in tables:
                if isinstance(table, exp.Table) and table.name in targets and not inside:
                    raise MySQLError(1093, f"You can't specify target table '{table.name}' for update in FROM clause")

    # Tables -----------------------------------------------------------------------------------------------------------

    def _define(self, node: exp.Expr) -> Statement:
        match node:
            case exp.TruncateTable():
                [target] = node.expressions
                return Statement(f"DELETE FROM {self._target(target).sql}")
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
        table = self._target(node.this)
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


def assigned(value: Typed, column: Column, selected: bool = False) -> str:
    """SQLite text of a value as it is stored in a column; a rounded DOUBLE keeps its zeros only if it was selected."""
    if value.kind is Kind.REAL and not selected:
        value = value._replace(scale=0)
    match column.kind:
        case Kind.TEXT:
            return as_text(value._replace(scale=value.precise))
        case Kind.INT:
            return as_int(as_number(value)) if value.kind is Kind.TEXT else as_int(value)
        case Kind.REAL:
            return as_real(value)
        case Kind.DECIMAL:
            return f"my_to_decimal({value.sql}, {column.scale})"
        case Kind.DATE:
            return f"my_date({value.sql})"
        case _:
            return f"my_datetime({value.sql})"
