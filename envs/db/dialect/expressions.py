"""Expressions: from a syntax tree of MySQL to SQLite text with MySQL's meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.arithmetic import ArithmeticCompiler
from cmat_gym.envs.db.dialect.base import NULL, unwrap
from cmat_gym.envs.db.dialect.comparisons import ComparisonCompiler
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, syntax_error
from cmat_gym.envs.db.dialect.types import (
    MAX_SCALE,
    Kind,
    Typed,
    as_bool,
    as_int,
    as_real,
    as_text,
    convert,
    merge,
    quote_text,
)

__all__ = ["ExpressionCompiler"]


class ExpressionCompiler(ComparisonCompiler, ArithmeticCompiler):
    """Compiles expressions in a scope; queries and statements build on it."""

    # Leaves -----------------------------------------------------------------------------------------------------------

    def _literal(self, node: exp.Expr) -> Typed:
        text: str = node.this
        if node.is_string:
            return Typed(quote_text(text), Kind.TEXT, literal=text)
        if "e" in text.lower():
            return Typed(repr(float(text)), Kind.REAL)
        whole, point, fraction = text.partition(".")
        if point:
            return Typed(f"{whole or 0}.{fraction or 0}", Kind.DECIMAL, min(len(fraction), MAX_SCALE))
        number = int(text)
        return Typed(str(number), Kind.INT) if number < 1 << 63 else Typed(f"{number}.0", Kind.DECIMAL)

    def _column(self, node: exp.Expr) -> Typed:
        if isinstance(node.this, exp.Star):
            raise syntax_error(self.sql, self.sql.find("*"))
        name, table = node.name, node.text("table")
        if self.scope.clause == "having clause" and not self.scope.in_aggregate:
            return self._having_column(name, table)
        if self.scope.clause == "order clause" and not table and self.scope.lookup(name, "", "order clause") is None:
            alias = self.scope.aliases.get(name.lower())
            if alias is not None:
                return alias
        return self.scope.resolve(name, table)

    def _having_column(self, name: str, table: str) -> Typed:
        """HAVING sees the select list and what is grouped by, then the queries around; other columns it does not."""
        scope = self.scope
        own = scope.lookup(name, table, "having clause") if table or name.lower() not in scope.aliases else None
        if own is not None and own.sql in scope.keys:
            return own
        if not table and name.lower() in scope.aliases:
            return scope.aliases[name.lower()]
        if own is not None and f"{own.sql}" in scope.aliases:
            return scope.aliases[own.sql]
        if own is None and scope.parent is not None:
            for outer in scope.parent.chain():
                found = outer.lookup(name, table, "having clause")
                if found is not None:
                    return found
        raise MySQLError(1054, f"Unknown column '{table + '.' if table else ''}{name}' in 'having clause'")

    def _null(self, node: exp.Expr) -> Typed:
        return NULL

    def _boolean(self, node: exp.Expr) -> Typed:
        return Typed("1" if node.this else "0", Kind.INT)

    def _hexadecimal(self, node: exp.Expr) -> Typed:
        digits = str(node.this)
        data = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        text = data.decode(errors="replace")
        return Typed(quote_text(text), Kind.TEXT, literal=text)

    def _bit_string(self, node: exp.Expr) -> Typed:
        number = int(str(node.this), 2)
        text = number.to_bytes(max(1, -(-number.bit_length() // 8)), "big").decode(errors="replace")
        return Typed(quote_text(text), Kind.TEXT, literal=text)

    def _national(self, node: exp.Expr) -> Typed:
        return Typed(quote_text(str(node.this)), Kind.TEXT, literal=str(node.this))

    # Choice and conversion --------------------------------------------------------------------------------------------

    def _case(self, node: exp.Expr) -> Typed:
        subject = self.expression(node.this) if node.this is not None else None
        conditions: list[str] = []
        results: list[Typed] = []
        for branch in node.args["ifs"]:
            when = self.expression(branch.this)
            conditions.append(as_bool(when) if subject is None else self.compare(subject, "=", when))
            results.append(self.expression(branch.args["true"]))
        default = node.args.get("default")
        results.append(self.expression(default) if default is not None else NULL)
        return self.choose(conditions, results)

    def _if(self, node: exp.Expr) -> Typed:
        if node.args.get("true") is None or node.args.get("false") is None:
            raise self.cannot_read(node)
        results = [self.expression(node.args["true"]), self.expression(node.args["false"])]
        return self.choose([self.condition(node.this)], results)

    def choose(self, conditions: list[str], results: list[Typed]) -> Typed:
        """The first result whose condition holds; the last result otherwise."""
        kind, scale = merge(*results)
        branches = " ".join(
            f"WHEN {condition} THEN {convert(result, kind)}"
            for condition, result in zip(conditions, results, strict=False)
        )
        return Typed(f"CASE {branches} ELSE {convert(results[-1], kind)} END", kind, scale)

    def _cast(self, node: exp.Expr) -> Typed:
        value, target = self.expression(node.this), node.args["to"]
        parameters = [int(parameter.name) for parameter in target.expressions if parameter.name.isdigit()]
        name = target.this.name if target.this is not None else ""
        match name:
            case "CHAR" | "NCHAR" | "CHARACTER_SET" | "VARCHAR" | "TEXT":
                if name in ("VARCHAR", "TEXT") and self.flavour == "mysql":
                    raise self.cannot_read(node)
                text = as_text(value)
                return Typed(f"my_left({text}, {parameters[0]})" if parameters else text, Kind.TEXT)
            case "BINARY" | "VARBINARY":
                return Typed(f"{as_text(value)} COLLATE BINARY", Kind.TEXT, collated=True)
            case "BIGINT" | "INT":
                if name == "INT" and self.flavour == "mysql":
                    raise self.cannot_read(node)
                return Typed(as_int(value), Kind.INT)
            case "UBIGINT" | "UINT":
                number = as_int(value)
                return Typed(f"MAX({number}, 0)" if value.kind is Kind.DECIMAL else number, Kind.UNSIGNED)
            case "DECIMAL":
                scale = parameters[1] if len(parameters) > 1 else 0
                digits = parameters[0] if parameters else 10
                if scale > digits:
                    raise MySQLError(1427, "For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '').")
                limit = float(10 ** (digits - scale)) - 10.0**-scale
                number = f"my_to_decimal({as_real(value) if value.is_temporal else value.sql}, {scale})"
                if digits <= 15:
                    number = f"MAX(MIN({number}, {limit!r}), -{limit!r})"
                return Typed(number, Kind.DECIMAL, scale)
            case "DOUBLE" | "FLOAT":
                return Typed(f"CAST({as_real(value)} AS REAL)", Kind.REAL)
            case "DATE":
                return Typed(f"my_date({value.sql})", Kind.DATE)
            case "DATETIME" | "TIMESTAMP":
                return Typed(f"my_datetime({value.sql})", Kind.DATETIME)
            case "TIME":
                return Typed(f"my_time({as_text(value)})", Kind.TIME)
        raise self.cannot_read(node)

    def _collate(self, node: exp.Expr) -> Typed:
        value = self.expression(node.this)
        binary = node.expression.name.lower().endswith("bin")
        return Typed(f"{as_text(value)} COLLATE {'BINARY' if binary else 'mysql'}", Kind.TEXT, collated=True)

    def _adjacent_strings(self, node: exp.Expr) -> Typed:
        text = "".join(item.name for item in node.expressions)
        return Typed(quote_text(text), Kind.TEXT, literal=text)

    def _subquery(self, node: exp.Expr) -> Typed:
        """A query as a value: one column, one row at most."""
        found = self.query(unwrap(node))
        if len(found.columns) != 1:
            raise MySQLError(1241, "Operand should contain 1 column(s)")
        column = found.columns[0]
        sql = f"({found.sql})" if found.single else f"(SELECT my_one(c1) FROM ({found.sql}))"
        return Typed(sql, column.kind, column.scale)

    def _unknown_variable(self, node: exp.Expr) -> Typed:
        raise not_supported("user and system variables")

    def _tuple(self, node: exp.Expr) -> Typed:
        raise MySQLError(1241, "Operand should contain 1 column(s)")

    # Calls ------------------------------------------------------------------------------------------------------------

    def _anonymous(self, node: exp.Expr) -> Typed:
        return self.call(node, str(node.this).upper(), node.expressions)

    def _special(self, node: exp.Expr) -> Typed:
        name: dict[type[exp.Expr], str] = {
            exp.Trim: "TRIM",
            exp.Substring: "SUBSTRING",
            exp.StrPosition: "POSITION",
            exp.GroupConcat: "GROUP_CONCAT",
        }
        return self.call(node, name[type(node)], [])

    def _clock(self, node: exp.Expr) -> Typed:
        name: dict[type[exp.Expr], str] = {
            exp.CurrentDate: "CURDATE",
            exp.CurrentTime: "CURTIME",
            exp.CurrentUser: "CURRENT_USER",
        }
        return self.call(node, name.get(type(node), "NOW"), [])

    def _extract(self, node: exp.Expr) -> Typed:
        return self.call(node, node.this.name.upper(), [node.expression])

    def _window(self, node: exp.Expr) -> Typed:
        return self.call(node, "OVER", [])

    handlers: ClassVar[Mapping[type[exp.Expr], Callable[[ExpressionCompiler, exp.Expr], Typed]]] = {
        **ComparisonCompiler.conditions, **ArithmeticCompiler.calculations,
        exp.Literal: _literal, exp.Column: _column, exp.Null: _null, exp.Boolean: _boolean, exp.HexString: _hexadecimal,
        exp.BitString: _bit_string, exp.National: _national, exp.Case: _case, exp.If: _if, exp.Cast: _cast,
        exp.Collate: _collate, exp.Concat: _adjacent_strings, exp.Subquery: _subquery, exp.Tuple: _tuple,
        exp.Parameter: _unknown_variable, exp.SessionParameter: _unknown_variable, exp.Anonymous: _anonymous,
        exp.Trim: _special, exp.Substring: _special, exp.StrPosition: _special, exp.GroupConcat: _special,
        exp.Extract: _extract, exp.CurrentDate: _clock, exp.CurrentTime: _clock, exp.CurrentUser: _clock,
        exp.CurrentTimestamp: _clock, exp.CurrentDatetime: _clock, exp.Localtime: _clock, exp.Localtimestamp: _clock,
        exp.Window: _window,
    }  # fmt: skip
