"""Arithmetic: a text counts as a DOUBLE, DECIMALs keep their digits, dates move by intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.base import CompilerBase
from cmat_gym.envs.db.dialect.errors import not_supported
from cmat_gym.envs.db.dialect.types import MAX_SCALE, Kind, Typed, as_int, as_number, merge

__all__ = ["ArithmeticCompiler"]


_BITS: dict[type[exp.Expr], str] = {
    exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
}  # fmt: skip
_UNITS = {"SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"}


class ArithmeticCompiler(CompilerBase):
    """Compiles calculations."""

    # Arithmetic -------------------------------------------------------------------------------------------------------

    def _negative(self, node: exp.Expr) -> Typed:
        value = as_number(self.expression(node.this))
        kind = Kind.INT if value.kind is Kind.UNSIGNED else value.kind
        return Typed(f"(-{value.sql})", kind, value.scale, digits=value.digits)

    def _add(self, node: exp.Expr) -> Typed:
        return self._sum(node, "+", 1)

    def _subtract(self, node: exp.Expr) -> Typed:
        return self._sum(node, "-", -1)

    def _sum(self, node: exp.Expr, operator: str, sign: int) -> Typed:
        if isinstance(node.expression, exp.Interval):
            return self.shifted(self.expression(node.this), node.expression, sign)
        if isinstance(node.this, exp.Interval) and sign > 0:
            return self.shifted(self.expression(node.expression), node.this, sign)
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        digits = max(left.precise, right.precise)
        return self._arithmetic(left, operator, right, max(left.scale, right.scale), digits)

    def _multiply(self, node: exp.Expr) -> Typed:
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        digits = min(left.precise + right.precise, MAX_SCALE)
        return self._arithmetic(left, "*", right, min(left.scale + right.scale, MAX_SCALE), digits)

    def _arithmetic(self, left: Typed, operator: str, right: Typed, scale: int, digits: int) -> Typed:
        unsigned = Kind.UNSIGNED in (left.kind, right.kind)
        kind, _ = merge(*(Typed("", Kind.INT) if side.kind is Kind.UNSIGNED else side for side in (left, right)))
        sql = f"({left.sql} {operator} {right.sql})"
        if unsigned and kind is Kind.INT:
            return Typed(f"my_check_unsigned({sql})", Kind.UNSIGNED)
        if kind is Kind.DECIMAL:
            return Typed(f"ROUND({sql}, {digits})", kind, scale, digits=digits)
        return Typed(sql, kind if kind is not Kind.NULL else Kind.REAL)

    def _divide(self, node: exp.Expr) -> Typed:
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        if Kind.REAL in (left.kind, right.kind) or left.kind is Kind.NULL:
            return Typed(f"(CAST({left.sql} AS REAL) / {right.sql})", Kind.REAL)
        scale = min(left.scale + 4, MAX_SCALE)
        digits = -(-scale // 9) * 9  # the server calculates in words of nine digits
        return Typed(f"my_divide({left.sql}, {right.sql}, {digits})", Kind.DECIMAL, scale, digits=digits)

    def _whole_divide(self, node: exp.Expr) -> Typed:
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        return Typed(f"my_int_div({left.sql}, {right.sql})", Kind.INT)

    def _modulo(self, node: exp.Expr) -> Typed:
        return self.modulo(self.expression(node.this), self.expression(node.expression))

    def modulo(self, dividend: Typed, divisor: Typed) -> Typed:
        """The remainder, with the sign of the dividend."""
        left, right = as_number(dividend), as_number(divisor)
        kind, scale = merge(*(Typed("", Kind.INT) if side.kind is Kind.UNSIGNED else side for side in (left, right)))
        sql = f"my_mod({left.sql}, {right.sql})"
        if kind is Kind.DECIMAL:
            sql = f"ROUND({sql}, {max(left.precise, right.precise)})"
        return Typed(sql, kind if kind is not Kind.NULL else Kind.REAL, scale)

    def _bits(self, node: exp.Expr) -> Typed:
        left, right = as_int(self.expression(node.this)), as_int(self.expression(node.expression))
        return Typed(f"({left} {_BITS[type(node)]} {right})", Kind.INT)

    def _bit_xor(self, node: exp.Expr) -> Typed:
        left, right = as_int(self.expression(node.this)), as_int(self.expression(node.expression))
        return Typed(f"(({left} | {right}) - ({left} & {right}))", Kind.INT)

    def shifted(self, value: Typed, interval: exp.Expr, sign: int) -> Typed:
        """A date moved by an interval."""
        unit = interval.text("unit").upper()
        if unit not in _UNITS:
            raise not_supported(f"INTERVAL {unit}")
        amount = as_number(self.expression(interval.this)).sql
        kind = value.kind if value.is_temporal else Kind.TEXT
        if kind is Kind.DATE and unit in ("SECOND", "MINUTE", "HOUR"):
            kind = Kind.DATETIME
        moved = f"{amount}" if sign > 0 else f"-({amount})"
        return Typed(f"my_date_shift({value.sql}, {moved}, '{unit}', {int(kind is Kind.TEXT)})", kind)

    calculations: ClassVar[Mapping[type[exp.Expr], Callable[[ArithmeticCompiler, exp.Expr], Typed]]] = {
        exp.Neg: _negative, exp.Add: _add, exp.Sub: _subtract, exp.Mul: _multiply, exp.Div: _divide,
        exp.IntDiv: _whole_divide, exp.Mod: _modulo, **dict.fromkeys(_BITS, _bits), exp.BitwiseXor: _bit_xor,
    }  # fmt: skip
