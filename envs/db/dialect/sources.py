"""Where rows come from: tables, joins, subqueries in FROM, and common table expressions."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.calls import CallCompiler
from cmat_gym.envs.db.dialect.errors import MySQLError, syntax_error, unknown_column
from cmat_gym.envs.db.dialect.information import information_source
from cmat_gym.envs.db.dialect.scopes import Column, Scope, Source, check_unique
from cmat_gym.envs.db.dialect.types import Typed, convert

__all__ = ["Query", "SourceCompiler"]


class Query(NamedTuple):
    """A compiled query.

    Attributes:
        sql: SQLite text; its columns are called c1, c2, …
        columns: MySQL's names and types of the columns.
        single: It has one row at most.
    """

    sql: str
    columns: tuple[Column, ...]
    single: bool = False


class SourceCompiler(CallCompiler):
    """Compiles FROM and WITH."""

    aliases: int = 0

    def new_alias(self) -> str:
        """A name no other table of the statement has."""
        self.aliases += 1
        return f"s{self.aliases}"

    # WITH -------------------------------------------------------------------------------------------------------------

    def _with(self, node: exp.Expr | None) -> str:
        if node is None:
            return ""
        parts: list[str] = []
        for cte in node.expressions:
            name = cte.alias
            if name in self.scope.ctes:
                raise MySQLError(1066, f"Not unique table/alias: '{name}'")
            sql_name = f"w{self.new_alias()}"
            given = [column.name for column in cte.args["alias"].args.get("columns") or []]
            if node.args.get("recursive") and isinstance(cte.this, exp.Union):
                text = self._recursive(name, sql_name, given, cte.this)
            else:
                found = self.query(cte.this)
                self.scope.ctes[name] = Source(name, sql_name, self._named(found, given))
                text = found.sql
            parts.append(f"{sql_name}({self._columns(len(self.scope.ctes[name].columns))}) AS ({text})")
        return f"WITH {'RECURSIVE ' if node.args.get('recursive') else ''}{', '.join(parts)} "

    def _recursive(self, name: str, sql_name: str, given: list[str], union: exp.Expr) -> str:
        """The types come from the first branch; the second one may name the table itself."""
        anchor = self.query(union.this)
        columns = self._named(anchor, given)
        self.scope.ctes[name] = Source(name, sql_name, columns)
        step = self.query(union.expression)
        if len(step.columns) != len(columns):
            raise MySQLError(1222, "The used SELECT statements have a different number of columns")
        items = ", ".join(
            convert(Typed(f"c{n}", column.kind, column.scale), target.kind)
            for n, (column, target) in enumerate(zip(step.columns, columns, strict=True), 1)
        )
        operator = "UNION" if union.args.get("distinct") else "UNION ALL"
        return (
            f"{anchor.sql} {operator} SELECT {items} FROM ({step.sql})"
            if not _names(union.expression, name)
            else (f"{anchor.sql} {operator} {step.sql}")
        )  # SQLite wants the recursive name at the top of the second branch

    def _named(self, found: Query, given: list[str]) -> tuple[Column, ...]:
        if given and len(given) != len(found.columns):
            raise MySQLError(
                1353,
                "In definition of view, derived table or common table expression, SELECT list and column names list "
                "have different column counts",
            )
        names = given or [column.name for column in found.columns]
        columns = tuple(
            column._replace(name=name, sql=f"c{n}")
            for n, (name, column) in enumerate(zip(names, found.columns, strict=True), 1)
        )
        check_unique(columns)
        return columns

    @staticmethod
    def _columns(count: int) -> str:
        return ", ".join(f"c{n}" for n in range(1, count + 1))

    # FROM -------------------------------------------------------------------------------------------------------------

    def _from(self, node: exp.Expr) -> str:
        start = node.args.get("from_")
        if start is None:
            return ""
        return f" FROM {self.tables(start.this, node.args.get('joins') or [])}"

    def tables(self, first: exp.Expr, joins: list[exp.Expr]) -> str:
        """Compile a table and what is joined to it, and put all of them in reach."""
        text = self._table(first)
        for join in [*(first.args.get("joins") or []), *joins]:
            text = self._join(text, join)
        return text

    def _join(self, left: str, join: exp.Expr) -> str:
        side, kind, method = (str(join.args.get(part) or "").upper() for part in ("side", "kind", "method"))
        if side == "FULL" or kind in ("SEMI", "ANTI", "ASOF") or method in ("ASOF",):
            raise syntax_error(self.sql, max(0, self.sql.upper().find("OUTER" if kind == "OUTER" else side)))
        scope, known = self.scope, len(self.scope.sources)
        right = self._table(join.this)
        if join.this.args.get("joins"):
            for nested in join.this.args["joins"]:
                right = self._join(right, nested)
            right = f"({right})"
        condition, using = join.args.get("on"), join.args.get("using")
        if method == "NATURAL":
            on = self._using(self._common(known), known)
        elif using:
            on = self._using([name.name for name in using], known)
        elif condition is not None:
            before, scope.clause = scope.clause, "on clause"
            on = f" ON {self.condition(condition)}"
            scope.clause = before
        elif side:
            raise syntax_error(self.sql, len(self.sql))
        else:
            on = ""
        if side == "RIGHT":
            inner = f"({left})" if known > 1 else left
            return f"{right} LEFT JOIN {inner}{on}"
        return f"{left} {'LEFT JOIN' if side == 'LEFT' else 'JOIN'} {right}{on}"

    def _common(self, known: int) -> list[str]:
        sources = self.scope.sources
        right = {column.lower for source in sources[known:] for column in source.columns}
        return [column.name for source in sources[:known] for column in source.columns if column.lower in right]

    def _using(self, names: list[str], known: int) -> str:
        scope = self.scope
        conditions: list[str] = []
        sources = scope.sources
        for name in dict.fromkeys(names):
            sides: list[Typed] = []
            for part in (sources[:known], sources[known:]):
                scope.sources = part
                found = scope.lookup(name, "", "from clause")
                scope.sources = sources
                if found is None:
                    raise unknown_column(name, "from clause")
                sides.append(found)
            conditions.append(self.compare(sides[0], "=", sides[1]))
            scope.merged[name.lower()] = sides[0]
        return f" ON {' AND '.join(conditions)}" if conditions else ""

    def _table(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Subquery):
            if isinstance(node.this, exp.Table):
                inner = self.tables(node.this, [])
                return f"({inner})"
            return self._derived(node)
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise self.cannot_read(node)
        name, database = node.name, node.text("db")
        alias = node.alias or name
        sql_alias = self.new_alias()
        source = None if database else self.scope.cte(name)
        if source is not None:
            self.scope.add(Source(alias, sql_alias, source.columns))
            return f"{source.alias} AS {sql_alias}"
        if database and database.lower() == "information_schema":
            text, columns = information_source(self.catalog, name)
            self.scope.add(Source(alias, sql_alias, columns))
            return f"({text}) AS {sql_alias}"
        if database and database != self.catalog.database:
            raise MySQLError(1142, f"SELECT command denied to user 'agent'@'localhost' for table `{database}`.`{name}`")
        if name.upper() == "DUAL" and name not in self.catalog.tables:
            self.scope.add(Source(alias, sql_alias, ()))
            return f"(SELECT 1) AS {sql_alias}"
        table = self.catalog.find(name)
        self.scope.add(Source(alias, sql_alias, table.columns, table))
        return f"{table.sql} AS {sql_alias}"

    def _derived(self, node: exp.Expr) -> str:
        alias = node.args.get("alias")
        if alias is None or not node.alias:
            raise MySQLError(1248, "Every derived table must have its own alias")
        scope = self.scope
        self.scope = Scope(Scope())  # a derived table sees no table beside it
        self.scope.parent = _cte_view(scope)
        try:
            found = self.query(node.this)
        finally:
            self.scope = scope
        columns = self._named(found, [column.name for column in alias.args.get("columns") or []])
        sql_alias = self.new_alias()
        scope.add(Source(node.alias, sql_alias, columns))
        return f"({found.sql}) AS {sql_alias}"


def _cte_view(scope: Scope) -> Scope:
    """The common table expressions of a scope, and what is around the query, without the query's own tables."""
    view = Scope(scope.parent)
    view.ctes = scope.ctes
    return view


def _names(node: exp.Expr, name: str) -> bool:
    """Whether a query names a table at the top of its FROM clause."""
    return any(table.name == name for table in node.find_all(exp.Table))
