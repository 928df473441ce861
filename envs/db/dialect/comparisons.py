"""Conditions: logic, comparisons, IN, EXISTS, LIKE and REGEXP, with MySQL's idea of what is compared how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.base import CompilerBase, bare, truth, unwrap
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported
from cmat_gym.envs.db.dialect.types import Kind, Typed, as_number, as_real, as_text, collated, quote_text

__all__ = ["ComparisonCompiler"]


_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.NullSafeEQ: "IS",
}  # fmt: skip


class ComparisonCompiler(CompilerBase):
    """Compiles conditions."""

    # Logic ------------------------------------------------------------------------------------------------------------

    def _paren(self, node: exp.Expr) -> Typed:
        inner = self.expression(node.this)
        return inner._replace(sql=f"({inner.sql})")

    def _and(self, node: exp.Expr) -> Typed:
        return truth(f"{self.condition(node.this)} AND {self.condition(node.expression)}")

    def _or(self, node: exp.Expr) -> Typed:
        return truth(f"{self.condition(node.this)} OR {self.condition(node.expression)}")

    def _xor(self, node: exp.Expr) -> Typed:
        left, right = self.condition(node.this), self.condition(node.expression)
        return truth(f"({left} <> 0) <> ({right} <> 0)")

    def _not(self, node: exp.Expr) -> Typed:
        return truth(f"NOT {self.condition(node.this)}")

    def _is(self, node: exp.Expr) -> Typed:
        value, other = self.expression(node.this), node.expression
        if isinstance(other, exp.Null):
            return truth(f"{value.sql} IS NULL")
        if isinstance(other, exp.Boolean):
            holds = f"IFNULL({as_real(value)} <> 0, {int(not other.this)})"
            return truth(f"{holds} = {int(bool(other.this))}")
        raise self.cannot_read(node)

    # Comparison -------------------------------------------------------------------------------------------------------

    def _comparison(self, node: exp.Expr) -> Typed:
        operator = _COMPARISONS[type(node)]
        left, right = node.this, node.expression
        if isinstance(right, (exp.All, exp.Any)):
            return self._quantified(left, operator, right)
        if isinstance(bare(left), exp.Tuple) or isinstance(bare(right), exp.Tuple):
            return self._rows(bare(left), operator, bare(right))
        return truth(self.compare(self.expression(left), operator, self.expression(right)))

    def compare(self, left: Typed, operator: str, right: Typed) -> str:
        """Compare as MySQL does: texts by collation, dates as moments, anything else as numbers."""
        if Kind.NULL in (left.kind, right.kind):
            return f"{left.sql} {operator} {right.sql}"
        if left.kind is Kind.TEXT and right.kind is Kind.TEXT:
            if left.collated or right.collated:
                return f"{left.sql} {operator} {right.sql}"
            return f"{left.sql} COLLATE mysql {operator} {right.sql}"
        if (left.is_temporal and right.is_temporal) or (
            {left.kind, right.kind} & {Kind.TIME}
            and Kind.TEXT
            in (
                left.kind,
                right.kind,
            )
        ):
            if left.kind is right.kind or Kind.TEXT in (left.kind, right.kind):
                return f"{left.sql} {operator} {right.sql}"
            return f"my_comparable_date({left.sql}) {operator} my_comparable_date({right.sql})"
        if (left.is_temporal and right.kind is Kind.TEXT) or (right.is_temporal and left.kind is Kind.TEXT):
            return f"my_comparable_date({left.sql}) {operator} my_comparable_date({right.sql})"
        return f"{as_real(left)} {operator} {as_real(right)}"

    def _rows(self, left: exp.Expr, operator: str, right: exp.Expr) -> Typed:
        """(a, b) = (c, d): by elements."""
        if operator not in ("=", "<>", "IS"):
            raise not_supported("row comparison other than equality")
        firsts, seconds = self._elements(left), self._elements(right)
        if len(firsts) != len(seconds):
            raise MySQLError(1241, f"Operand should contain {len(firsts)} column(s)")
        pairs = zip(firsts, seconds, strict=True)
        if operator == "<>":
            return truth(" OR ".join(self.compare(a, "<>", b) for a, b in pairs))
        return truth(" AND ".join(self.compare(a, operator, b) for a, b in pairs))

    def _elements(self, node: exp.Expr) -> list[Typed]:
        if isinstance(node, exp.Tuple):
            return [self.expression(item) for item in node.expressions]
        if isinstance(node, exp.Anonymous) and node.name.upper() == "ROW":
            return [self.expression(item) for item in node.expressions]
        return [self.expression(node)]

    def _in(self, node: exp.Expr) -> Typed:
        query = node.args.get("query")
        if query is not None:
            return self._in_query(node.this, query)
        wanted = bare(node.this)
        if isinstance(wanted, exp.Tuple):
            options = " OR ".join(self._rows(wanted, "=", bare(item)).sql for item in node.expressions)
            return truth(options)
        value = self.expression(wanted)
        items = [self.expression(item) for item in node.expressions]
        if value.kind is Kind.TEXT and all(item.kind is Kind.TEXT for item in items):
            return truth(f"{collated(value)} IN ({', '.join(item.sql for item in items)})")
        if value.is_number and all(item.is_number for item in items):
            return truth(f"{value.sql} IN ({', '.join(item.sql for item in items)})")
        return truth(" OR ".join(self.compare(value, "=", item) for item in items))

    def _in_query(self, node: exp.Expr, query: exp.Expr) -> Typed:
        values = self._elements(bare(node))
        inner = unwrap(query)
        if inner.args.get("limit") is not None and isinstance(inner, exp.Select):
            raise not_supported("LIMIT & IN/ALL/ANY/SOME subquery")
        found = self.query(inner)
        if len(found.columns) != len(values):
            raise MySQLError(1241, f"Operand should contain {len(values)} column(s)")
        left: list[str] = []
        right: list[str] = []
        for number, (value, column) in enumerate(zip(values, found.columns, strict=True), 1):
            item = Typed(f"c{number}", column.kind, column.scale, collated=True)
            if value.kind is Kind.TEXT and item.kind is Kind.TEXT:
                left.append(collated(value))
                right.append(item.sql)
            else:
                left.append(as_real(value))
                right.append(as_real(item))
        head = left[0] if len(left) == 1 else f"({', '.join(left)})"
        return truth(f"{head} IN (SELECT {', '.join(right)} FROM ({found.sql}))")

    def _quantified(self, left: exp.Expr, operator: str, right: exp.Expr) -> Typed:
        """x > ALL (…), x = ANY (…): a row that decides, else NULL where a comparison gave NULL."""
        inner = unwrap(right.this)
        if inner.args.get("limit") is not None:
            raise not_supported("LIMIT & IN/ALL/ANY/SOME subquery")
        value, found = self.expression(left), self.query(inner)
        if len(found.columns) != 1:
            raise MySQLError(1241, "Operand should contain 1 column(s)")
        column = found.columns[0]
        holds = self.compare(value, operator, Typed("c1", column.kind, column.scale, collated=True))
        decides, otherwise = (0, 1) if isinstance(right, exp.All) else (1, 0)
        wanted = f"NOT ({holds})" if isinstance(right, exp.All) else holds
        return truth(
            f"CASE WHEN EXISTS (SELECT 1 FROM ({found.sql}) WHERE {wanted}) THEN {decides} "
            f"WHEN EXISTS (SELECT 1 FROM ({found.sql}) WHERE ({holds}) IS NULL) THEN NULL ELSE {otherwise} END"
        )

    def _exists(self, node: exp.Expr) -> Typed:
        return truth(f"EXISTS ({self.query(unwrap(node.this)).sql})")

    def _between(self, node: exp.Expr) -> Typed:
        value, low, high = (self.expression(node.args[part]) for part in ("this", "low", "high"))
        kinds = {value.kind, low.kind, high.kind}
        if Kind.TEXT in kinds and kinds & {Kind.INT, Kind.DECIMAL, Kind.REAL}:
            value, low, high = (as_number(item) for item in (value, low, high))
        return truth(f"{self.compare(value, '>=', low)} AND {self.compare(value, '<=', high)}")

    def _like(self, node: exp.Expr) -> Typed:
        return self._like_with(node, "\\")

    def _like_with(self, node: exp.Expr, escape: str) -> Typed:
        text, pattern = as_text(self.expression(node.this)), as_text(self.expression(node.expression))
        negation = "NOT " if node.args.get("negate") else ""
        return truth(f"{negation}my_like({text}, {pattern}, {quote_text(escape)})")

    def _escape(self, node: exp.Expr) -> Typed:
        if not isinstance(node.this, exp.Like) or len(node.expression.name) > 1:
            raise MySQLError(1210, "Incorrect arguments to ESCAPE")
        return self._like_with(node.this, node.expression.name)

    def _regexp(self, node: exp.Expr) -> Typed:
        text, pattern = self.expression(node.this), self.expression(node.expression)
        exact = int("COLLATE BINARY" in text.sql or "COLLATE BINARY" in pattern.sql)
        negation = "NOT " if node.args.get("negate") else ""
        return truth(f"{negation}my_regexp({as_text(text)}, {as_text(pattern)}, {exact})")

    conditions: ClassVar[Mapping[type[exp.Expr], Callable[[ComparisonCompiler, exp.Expr], Typed]]] = {
        exp.Paren: _paren, exp.And: _and, exp.Or: _or, exp.Xor: _xor, exp.Not: _not, exp.Is: _is,
        **dict.fromkeys(_COMPARISONS, _comparison), exp.In: _in, exp.Exists: _exists, exp.Between: _between,
        exp.Like: _like, exp.Escape: _escape, exp.RegexpLike: _regexp,
    }  # fmt: skip
