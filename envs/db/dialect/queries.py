"""Queries: SELECT, UNION, WITH, and what stands in a FROM clause."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.calls import CallCompiler, has_aggregate
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, syntax_error, unknown_column
from cmat_gym.envs.db.dialect.expressions import _unwrap as unwrap
from cmat_gym.envs.db.dialect.information import information_source
from cmat_gym.envs.db.dialect.scopes import Catalog, Column, Scope, Source, check_unique
from cmat_gym.envs.db.dialect.types import Kind, Typed, collated, convert, merge

__all__ = ["Query", "QueryCompiler"]

_UNREAD = (
    "qualify",
    "laterals",
    "kind",
    "match",
    "connect",
    "cluster",
    "distribute",
    "sort",
    "sample",
    "pivots",
    "format",
)
_SETS: dict[type[exp.Expr], str] = {exp.Union: "UNION", exp.Except: "EXCEPT", exp.Intersect: "INTERSECT"}


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


class _Item(NamedTuple):
    """One column of a select list.

    Attributes:
        name: What the result calls it.
        value: What it is.
        called: HAVING and ORDER BY may use the name.
        column: SQLite text of the column it is, if it is nothing but a column.
    """

    name: str
    value: Typed
    called: bool
    column: str = ""


class QueryCompiler(CallCompiler):
    """Compiles whole queries against a catalog.

    Args:
        sql: The statement as it was written, for error texts.
        catalog: The tables there are.
        flavour: `mysql` or `mariadb`.
    """

    def __init__(self, sql: str, catalog: Catalog, flavour: str = "mysql") -> None:
        self.sql = sql
        self.catalog = catalog
        self.flavour = flavour
        self.scope = Scope()
        self.windows: dict[str, exp.Expr] = {}
        self._aliases = 0
        self._depth = 0

    def query(self, node: exp.Expr) -> Query:
        """Compile a query in a scope of its own inside of the current one."""
        outer, windows = self.scope, self.windows
        self._depth += 1
        if self._depth > 30:
            raise MySQLError(1473, "Too high level of nesting for select")
        self.scope = Scope(outer)
        try:
            return self._query(node)
        finally:
            self.scope, self.windows = outer, windows
            self._depth -= 1

    def _query(self, node: exp.Expr) -> Query:
        prefix = self._with(node.args.get("with_"))
        if isinstance(node, exp.Select):
            found = self._select(node)
        elif isinstance(node, exp.SetOperation):
            found = self._set_operation(node)
        elif isinstance(node, exp.Subquery):
            inner = self.query(node.this)
            found = self._ordered_set(node, inner)
        else:
            raise self.cannot_read(node)
        return found._replace(sql=prefix + found.sql)

    def new_alias(self) -> str:
        """A name no other table of the statement has."""
        self._aliases += 1
        return f"s{self._aliases}"

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
            raise MySQLError(1353, "In definition of view, derived table or common table expression, SELECT list and column "
                             "names list have different column counts")  # fmt: skip
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

    # UNION ------------------------------------------------------------------------------------------------------------

    def _set_operation(self, node: exp.Expr) -> Query:
        left, right = self.query(unwrap(node.this)), self.query(unwrap(node.expression))
        if len(left.columns) != len(right.columns):
            raise MySQLError(1222, "The used SELECT statements have a different number of columns")
        columns: list[Column] = []
        sides: list[list[str]] = [[], []]
        for number, (first, second) in enumerate(zip(left.columns, right.columns, strict=True), 1):
            values = [_side(number, column) for column in (first, second)]
            kind, scale = merge(*values)
            columns.append(Column(first.name, f"c{number}", kind, scale))
            for side, value in zip(sides, values, strict=True):
                text = convert(value, kind)
                side.append(f"{text}{' COLLATE mysql' if kind is Kind.TEXT else ''} AS c{number}")
        operator = _SETS[type(node)] + ("" if node.args.get("distinct") else " ALL")
        if operator in ("EXCEPT ALL", "INTERSECT ALL"):
            raise not_supported(operator)
        first_sql = f"SELECT {', '.join(sides[0])} FROM ({left.sql})"
        second_sql = f"SELECT {', '.join(sides[1])} FROM ({right.sql})"
        sql = f"{first_sql} {operator} {second_sql}"
        if operator == "UNION":  # of equal rows MySQL shows the first
            sql = f"SELECT DISTINCT * FROM ({first_sql} UNION ALL {second_sql})"
        return self._ordered_set(node, Query(sql, tuple(columns)))

    def _ordered_set(self, node: exp.Expr, found: Query) -> Query:
        """ORDER BY and LIMIT after a UNION or after parentheses: over the names of the result."""
        order, limit = node.args.get("order"), self._limit(node)
        if order is None and not limit:
            return found
        self.scope.clause = "order clause"
        self.scope.sources = [Source("", "u", found.columns)]
        keys = [self._order_key(item, [Typed(f"u.c{n}", c.kind, c.scale, c.kind is Kind.TEXT) for n, c in enumerate(found.columns, 1)])
                for item in (order.expressions if order is not None else [])]  # fmt: skip
        by = f" ORDER BY {', '.join(keys)}" if keys else ""
        return Query(f"SELECT * FROM ({found.sql}) AS u{by}{limit}", found.columns)

    # SELECT -----------------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Expr) -> Query:
        arguments = node.args
        for name in _UNREAD:
            if arguments.get(name):
                raise syntax_error(self.sql, max(0, self.sql.upper().find(name.upper())))
        if arguments.get("into") is not None:
            raise MySQLError(1327, f"Undeclared variable: {arguments['into'].this}")
        self.windows = {window.name.lower(): window for window in arguments.get("windows") or []}
        scope = self.scope
        from_sql = self._from(node)
        scope.clause = "field list"
        group = arguments.get("group")
        having, order = arguments.get("having"), arguments.get("order")
        grouped = group is not None or has_aggregate(having) or any(map(has_aggregate, node.expressions)) or (
            order is not None and has_aggregate(order)
        )  # fmt: skip
        keys = self._group_keys(node, group) if group is not None else []
        scope.keys = {key.sql for key in keys}
        scope.wrap = grouped
        scope.clause = "field list"
        items = self._items(node)
        where = self._where(arguments.get("where"))
        self._name_items(items)
        conditions = self._having(having, grouped, where)
        by = self._order(order, items, arguments.get("distinct") is not None)
        columns = tuple(_output(item.name, n, item.value) for n, item in enumerate(items, 1))
        shown = ", ".join(f"{_shown(item.value)} AS c{n}" for n, item in enumerate(items, 1))
        distinct = "DISTINCT " if arguments.get("distinct") is not None else ""
        group_sql = f" GROUP BY {', '.join(_sort_text(key) for key in keys)}" if keys else ""
        limit = self._limit(node)
        single = (grouped and group is None) or (arguments.get("from_") is None) or limit.startswith(" LIMIT 1 ")
        return Query(
            f"SELECT {distinct}{shown}{from_sql}{conditions.where}{group_sql}{conditions.having}{by}{limit}",
            columns,
            single,
        )

    def _items(self, node: exp.Expr) -> list[_Item]:
        items: list[_Item] = []
        for place, entry in enumerate(node.expressions):
            if isinstance(entry, exp.Star) or (isinstance(entry, exp.Column) and isinstance(entry.this, exp.Star)):
                items += self._star(entry, place)
                continue
            tree = entry.this if isinstance(entry, exp.Alias) else entry
            value = self.expression(tree)
            plain = (
                self.scope.lookup(tree.name, tree.text("table"), "field list") if isinstance(tree, exp.Column) else None
            )
            name = entry.alias_or_name if isinstance(entry, (exp.Alias, exp.Column)) else entry.sql()
            called = isinstance(entry, (exp.Alias, exp.Column))
            items.append(_Item(name, value, called, plain.sql if plain is not None else ""))
        return items

    def _star(self, entry: exp.Expr, place: int) -> list[_Item]:
        table = entry.text("table")
        if not table:
            if place:
                raise syntax_error(self.sql, max(0, self.sql.find("*", self.sql.find(","))))
            if not self.scope.sources:
                raise MySQLError(1096, "No tables used")
        sources = [source for source in self.scope.sources if not table or source.name == table]
        if not sources:
            raise MySQLError(1051, f"Unknown table '{table}'")
        items: list[_Item] = []
        merged = {} if table else self.scope.merged
        for name in merged:
            items.append(_Item(name, self.scope.resolve(name), True))
        for source in sources:
            for column in source.columns:
                if column.lower not in merged:
                    value = self.scope.resolve(column.name, source.name)
                    items.append(_Item(column.name, value, True, source.reference(column).sql))
        return items

    def _name_items(self, items: list[_Item]) -> None:
        """What HAVING and ORDER BY may call the items: by alias, by column name, and by the column itself."""
        for item in items:
            if item.called:
                self.scope.aliases.setdefault(item.name.lower(), item.value)
            if item.column:
                self.scope.aliases.setdefault(item.column, item.value)

    def _where(self, node: exp.Expr | None) -> str:
        if node is None:
            return ""
        scope = self.scope
        wrap, scope.wrap, scope.clause = scope.wrap, False, "where clause"
        try:
            return f" WHERE {self.condition(node.this)}"
        finally:
            scope.wrap, scope.clause = wrap, "field list"

    class _Conditions(NamedTuple):
        where: str
        having: str

    def _having(self, node: exp.Expr | None, grouped: bool, where: str) -> _Conditions:
        """HAVING filters groups; without groups it is one more condition on the rows."""
        if node is None:
            return self._Conditions(where, "")
        self.scope.clause = "having clause"
        condition = self.condition(node.this)
        if grouped and self.scope.keys:
            return self._Conditions(where, f" HAVING {condition}")
        if grouped:  # SQLite wants a GROUP BY beside HAVING; the empty table still has its one group
            return self._Conditions(where, f" HAVING {condition}")
        joined = f"{where} AND ({condition})" if where else f" WHERE {condition}"
        return self._Conditions(joined, "")

    def _group_keys(self, node: exp.Expr, group: exp.Expr) -> list[Typed]:
        if any(group.args.get(name) for name in ("rollup", "cube", "grouping_sets", "totals")):
            raise not_supported("GROUP BY … WITH ROLLUP")
        scope = self.scope
        scope.clause = "group statement"
        entries = node.expressions
        keys: list[Typed] = []
        for item in group.expressions:
            target = item
            if isinstance(item, exp.Literal) and not item.is_string:
                place = int(item.name) if item.name.isdigit() else 0
                if not 1 <= place <= len(entries):
                    raise unknown_column(item.name, "group statement")
                target = entries[place - 1]
            elif (
                isinstance(item, exp.Column)
                and not item.text("table")
                and scope.lookup(item.name, "", "group statement") is None
            ):
                target = next(
                    (e for e in entries if isinstance(e, exp.Alias) and e.alias.lower() == item.name.lower()), item
                )
            target = target.this if isinstance(target, exp.Alias) else target
            if has_aggregate(target):
                raise MySQLError(1056, f"Can't group on '{target.sql()}'")
            keys.append(self.expression(target))
        return keys

    # ORDER BY and LIMIT -----------------------------------------------------------------------------------------------

    def _order(self, node: exp.Expr | None, items: list[_Item], distinct: bool) -> str:
        if node is None:
            return ""
        self.scope.clause = "order clause"
        return f" ORDER BY {', '.join(self._order_key(item, [entry.value for entry in items]) for item in node.expressions)}"

    def _order_key(self, item: exp.Expr, values: list[Typed]) -> str:
        """A name or a number of the select list, else an expression over the tables."""
        target = item.this if isinstance(item, exp.Ordered) else item
        if isinstance(target, exp.Literal) and not target.is_string:
            place = int(target.name) if target.name.isdigit() else 0
            if not 1 <= place <= len(values):
                raise unknown_column(target.name, "order clause")
            value = values[place - 1]
        elif isinstance(target, exp.Column) and not target.text("table") and target.name.lower() in self.scope.aliases:
            value = self.scope.aliases[target.name.lower()]
        else:
            value = self.expression(target)
        return _sort_text(value) + (" DESC" if item.args.get("desc") else "")

    def _limit(self, node: exp.Expr) -> str:
        limit, offset = node.args.get("limit"), node.args.get("offset")
        if limit is None and offset is None:
            return ""
        if limit is None or not isinstance(limit, exp.Limit):
            raise syntax_error(self.sql, max(0, self.sql.upper().rfind("OFFSET" if limit is None else "FETCH")))
        counts: list[str] = []
        for part in (limit.expression, offset.expression if offset is not None else None):
            if part is None:
                counts.append("0")
            elif isinstance(part, exp.Literal) and not part.is_string and part.name.isdigit():
                counts.append(str(min(int(part.name), (1 << 63) - 1)))
            else:
                raise syntax_error(self.sql, max(0, self.sql.upper().rfind("LIMIT") + 6))
        return f" LIMIT {counts[0]} OFFSET {counts[1]}"

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


def _side(number: int, column: Column) -> Typed:
    """A column of one side of a UNION; a rounded DOUBLE forgets there how it was rounded."""
    return Typed(f"c{number}", column.kind, column.scale if column.kind is Kind.DECIMAL else 0, collated=True)


def _output(name: str, number: int, value: Typed) -> Column:
    """A column of a result."""
    return Column(name, f"c{number}", value.kind, value.scale)


def _cte_view(scope: Scope) -> Scope:
    """The common table expressions of a scope, and what is around the query, without the query's own tables."""
    view = Scope(scope.parent)
    view.ctes = scope.ctes
    return view


def _names(node: exp.Expr, name: str) -> bool:
    """Whether a query names a table at the top of its FROM clause."""
    return any(table.name == name for table in node.find_all(exp.Table))


def _sort_text(value: Typed) -> str:
    """A key to sort or group by; SQLite would take a bare number for the number of a column."""
    if value.kind is Kind.TEXT:
        return collated(value)
    return f"{value.sql} + 0" if value.sql.strip("()-").isdigit() else value.sql


def _shown(value: Typed) -> str:
    """A select item, with its collation, so that DISTINCT and the queries around know it."""
    return collated(value) if value.kind is Kind.TEXT else value.sql
