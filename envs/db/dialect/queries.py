"""Queries: SELECT and UNION."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.aggregates import has_aggregate
from cmat_gym.envs.db.dialect.base import unwrap
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, syntax_error, unknown_column
from cmat_gym.envs.db.dialect.scopes import Catalog, Column, Scope, Source
from cmat_gym.envs.db.dialect.sources import Query, SourceCompiler
from cmat_gym.envs.db.dialect.types import Kind, Typed, collated, convert, merge

__all__ = ["QueryCompiler"]


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


class QueryCompiler(SourceCompiler):
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
        values = [Typed(f"u.c{n}", c.kind, c.scale, c.kind is Kind.TEXT) for n, c in enumerate(found.columns, 1)]
        by = self._order(order, values)
        return Query(f"SELECT * FROM ({found.sql}) AS u{by}{limit}", found.columns)

    # SELECT -----------------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Expr) -> Query:
        arguments = node.args
        if not node.expressions:
            raise syntax_error(self.sql, len(self.sql))
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
        by = self._order(order, [item.value for item in items])
        columns = tuple(_output(item.name, n, item.value) for n, item in enumerate(items, 1))
        shown = ", ".join(f"{_shown(item.value)} AS c{n}" for n, item in enumerate(items, 1))
        distinct = "DISTINCT " if arguments.get("distinct") is not None else ""
        group_sql = f" GROUP BY {', '.join(_sort_text(key) for key in keys)}" if keys else ""
        limit = self._limit(node)
        single = (grouped and group is None) or (arguments.get("from_") is None) or limit.startswith(" LIMIT 1 ")
        if conditions.having and not keys:  # older versions of SQLite want a GROUP BY beside HAVING
            condition = conditions.having.removeprefix(" HAVING ")
            inner = f"SELECT {shown}, {condition} AS h{from_sql}{conditions.where}"
            return Query(f"SELECT {self._columns(len(items))} FROM ({inner}) WHERE h{limit}", columns, True)
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
        if grouped:
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

    def _order(self, node: exp.Expr | None, values: list[Typed]) -> str:
        if node is None:
            return ""
        self.scope.clause = "order clause"
        return f" ORDER BY {', '.join(self._order_key(item, values) for item in node.expressions)}"

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


def _side(number: int, column: Column) -> Typed:
    """A column of one side of a UNION; a rounded DOUBLE forgets there how it was rounded."""
    return Typed(f"c{number}", column.kind, column.scale if column.kind is Kind.DECIMAL else 0, collated=True)


def _output(name: str, number: int, value: Typed) -> Column:
    """A column of a result."""
    return Column(name, f"c{number}", value.kind, value.scale)


def _sort_text(value: Typed) -> str:
    """A key to sort or group by; SQLite would take a bare number for the number of a column."""
    if value.kind is Kind.TEXT:
        return collated(value)
    return f"{value.sql} + 0" if value.sql.strip("()-").isdigit() else value.sql


def _shown(value: Typed) -> str:
    """A select item, with its collation, so that DISTINCT and the queries around know it."""
    return collated(value) if value.kind is Kind.TEXT else value.sql
