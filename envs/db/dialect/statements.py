"""Statements: what is run, what changes, and what comes back."""

from __future__ import annotations

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.definitions import DefinitionCompiler, Statement
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, unknown_column
from cmat_gym.envs.db.dialect.information import describe, show
from cmat_gym.envs.db.dialect.parsing import parse
from cmat_gym.envs.db.dialect.scopes import Catalog, Column, Source, TableInfo
from cmat_gym.envs.db.dialect.types import Kind, Typed, as_int, as_number, as_real, as_text

__all__ = ["compile_statement"]


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


class _StatementCompiler(DefinitionCompiler):
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
                return self.define(node)
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

    def _insert(self, node: exp.Expr) -> Statement:
        schema = node.this
        names: list[str] | None = None
        if isinstance(schema, exp.Schema):
            names = [item.name for item in schema.expressions]
            schema = schema.this
        table = self.target(schema)
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
        self.target(target)
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
