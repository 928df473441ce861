"""Aggregates and window functions."""

from __future__ import annotations

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported
from cmat_gym.envs.db.dialect.expressions import ExpressionCompiler
from cmat_gym.envs.db.dialect.types import Kind, Typed, as_int, as_number, as_text, collated, merge, quote_text

__all__ = ["AGGREGATES", "WINDOW_ONLY", "AggregateCompiler", "has_aggregate"]


AGGREGATES = frozenset(
    [
        "COUNT",
        "SUM",
        "AVG",
        "MIN",
        "MAX",
        "GROUP_CONCAT",
        "STD",
        "STDDEV",
        "STDDEV_POP",
        "STDDEV_SAMP",
        "VARIANCE",
        "VAR_POP",
        "VAR_SAMP",
        "ANY_VALUE",
    ]
)
_SPREADS = {
    "STD": "std_pop", "STDDEV": "std_pop", "STDDEV_POP": "std_pop", "STDDEV_SAMP": "std_samp", "VARIANCE": "var_pop",
    "VAR_POP": "var_pop", "VAR_SAMP": "var_samp",
}  # fmt: skip
_RANKS = {"ROW_NUMBER", "RANK", "DENSE_RANK", "NTILE"}
_SHARES = {"PERCENT_RANK", "CUME_DIST"}
_NEIGHBOURS = {"LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"}
WINDOW_ONLY = frozenset(_RANKS | _SHARES | _NEIGHBOURS)


def has_aggregate(node: exp.Expr | None) -> bool:
    """Whether an expression aggregates over the rows of its own query."""
    if node is None:
        return False
    if isinstance(node, exp.GroupConcat) or (isinstance(node, exp.Anonymous) and str(node.this).upper() in AGGREGATES):
        return True
    if isinstance(node, (exp.Select, exp.Subquery, exp.SetOperation)):
        return False
    if isinstance(node, exp.Window):
        inside: list[exp.Expr] = [*node.this.iter_expressions(), *node.args.get("partition_by", [])]
        return any(map(has_aggregate, inside)) or has_aggregate(node.args.get("order"))
    return any(has_aggregate(child) for child in node.iter_expressions())


class AggregateCompiler(ExpressionCompiler):
    """Compiles what looks at many rows."""

    # Aggregates -------------------------------------------------------------------------------------------------------

    def _aggregate(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        scope = self.scope
        if scope.in_aggregate or scope.clause in ("where clause", "on clause", "group statement"):
            raise MySQLError(1111, "Invalid use of group function")
        scope.in_aggregate = True
        try:
            if name == "GROUP_CONCAT":
                return self._group_concat(node)
            return self._plain_aggregate(node, name, arguments)
        finally:
            scope.in_aggregate = False

    def _plain_aggregate(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        distinct = ""
        if len(arguments) == 1 and isinstance(arguments[0], exp.Distinct):
            distinct, arguments = "DISTINCT ", arguments[0].expressions
        if name == "COUNT" and len(arguments) == 1 and isinstance(arguments[0], exp.Star) and not distinct:
            return Typed("COUNT(*)", Kind.INT)
        if not arguments or (len(arguments) > 1 and not (name == "COUNT" and distinct)):
            raise self.cannot_read(node)
        values = [self.expression(argument) for argument in arguments]
        value = values[0]
        if name == "COUNT":
            if distinct:
                return Typed(f"IFNULL(my_count_distinct({', '.join(item.sql for item in values)}), 0)", Kind.INT)
            return Typed(f"COUNT({value.sql})", Kind.INT)
        if name in ("MIN", "MAX"):
            sql = collated(value) if value.kind is Kind.TEXT else value.sql
            return Typed(f"{name}({sql})", value.kind, value.scale)
        if name == "ANY_VALUE":
            return Typed(f"my_first({value.sql})", value.kind, value.scale)
        number = as_number(value)
        if name in _SPREADS:
            return Typed(f"my_{_SPREADS[name]}({number.sql})", Kind.REAL)
        return _total(name, f"my_{name.lower()}({distinct}{number.sql})", number)

    def _group_concat(self, node: exp.Expr) -> Typed:
        """GROUP_CONCAT([DISTINCT] value … [ORDER BY key …] [SEPARATOR text])."""
        body, separator = node.this, node.args.get("separator")
        order: list[exp.Expr] = []
        if isinstance(body, exp.Order):
            order, body = body.expressions, body.this
        distinct = isinstance(body, exp.Distinct)
        parts = body.expressions if isinstance(body, (exp.Distinct, exp.Concat)) else [body]
        texts = [as_text(self.expression(part)) for part in parts]
        value = texts[0] if len(texts) == 1 else f"my_concat({', '.join(texts)})"
        keys = [self.expression(item.this if isinstance(item, exp.Ordered) else item).sql for item in order]
        ways = "".join("d" if item.args.get("desc") else "a" for item in order)
        between = quote_text(separator.name) if separator is not None else "','"
        arguments = ", ".join([value, between, str(int(distinct)), f"'{ways}'", *keys])
        return Typed(f"my_group_concat({arguments})", Kind.TEXT)

    # Windows ----------------------------------------------------------------------------------------------------------

    def _over(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        if self.scope.clause not in ("field list", "order clause"):
            name = "MariaDB" if self.flavour == "mariadb" else "MySQL"
            code = 4015 if name == "MariaDB" else 3593
            raise MySQLError(code, f"You cannot use the window function '{node.this.name.lower()}' in this context.'")
        function = node.this
        if isinstance(function, exp.Anonymous):
            name, arguments = str(function.this).upper(), function.expressions
        else:
            raise not_supported("this window function")
        call, result = self._window_call(node, name, arguments)
        return result._replace(sql=f"{call} OVER ({self._window_frame(node)})")

    def _window_call(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> tuple[str, Typed]:
        if name in _RANKS:
            inner = ", ".join(as_int(self.expression(argument)) for argument in arguments)
            return f"{name}({inner})", Typed("", Kind.INT)
        if name in _SHARES:
            return f"{name}()", Typed("", Kind.REAL)
        if name in _NEIGHBOURS:
            values = [self.expression(argument) for argument in arguments]
            kind, scale = merge(values[0], *values[2:])
            return f"{name}({', '.join(value.sql for value in values)})", Typed("", kind, scale)
        if name == "COUNT" and isinstance(arguments[0], exp.Star):
            return "COUNT(*)", Typed("", Kind.INT)
        if name not in ("COUNT", "SUM", "AVG", "MIN", "MAX") or isinstance(arguments[0], exp.Distinct):
            raise not_supported(f"{name} as a window function")
        value = self.expression(arguments[0])
        if name == "COUNT":
            return f"COUNT({value.sql})", Typed("", Kind.INT)
        if name in ("MIN", "MAX"):
            sql = collated(value) if value.kind is Kind.TEXT else value.sql
            return f"{name}({sql})", value
        number = as_number(value)
        return f"my_win_{name.lower()}({number.sql})", _total(name, "", number)

    def _window_frame(self, node: exp.Expr) -> str:
        named = node.args.get("alias")
        if named is not None:
            base = self.windows.get(named.name.lower())
            if base is None:
                raise MySQLError(3579, f"Window name '{named.name}' is not defined.")
            return self._window_frame(base)
        parts: list[str] = []
        partition = node.args.get("partition_by") or []
        if partition:
            parts.append("PARTITION BY " + ", ".join(self._sort_text(self.expression(item)) for item in partition))
        order = node.args.get("order")
        if order is not None:
            parts.append("ORDER BY " + ", ".join(
                self._sort_text(self.expression(item.this)) + (" DESC" if item.args.get("desc") else "")
                for item in order.expressions
            ))  # fmt: skip
        spec = node.args.get("spec")
        if spec is not None:
            parts.append(spec.sql())
        return " ".join(parts)

    @staticmethod
    def _sort_text(value: Typed) -> str:
        return collated(value) if value.kind is Kind.TEXT else value.sql


def _total(name: str, sql: str, number: Typed) -> Typed:
    """SUM and AVG: DOUBLE over texts and DOUBLEs, else DECIMAL, with four more digits for an average."""
    if number.kind in (Kind.REAL, Kind.NULL):
        return Typed(f"CAST({sql} AS REAL)" if sql else sql, Kind.REAL)
    scale = number.scale + (4 if name == "AVG" else 0)
    if not sql:
        return Typed(sql, Kind.DECIMAL, scale)
    digits = number.precise if name == "SUM" else -(-scale // 9) * 9
    return Typed(sql if not digits else f"ROUND({sql}, {digits})", Kind.DECIMAL, scale, digits=digits)
