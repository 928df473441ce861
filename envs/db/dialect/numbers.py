"""How MySQL turns text into numbers and numbers into text."""

from __future__ import annotations

import math
import re
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal

__all__ = ["decimal_of", "decimal_text", "real_of", "real_text", "round_half_away"]

_PREFIX = re.compile(r"[ \t\n\v\f\r]*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_WIDE = Context(prec=80)


def real_of(value: object) -> float:
    """The number a value counts as: of a text, the numeric prefix, or 0."""
    if isinstance(value, (int, float)):
        return float(value)
    match = _PREFIX.match(str(value))
    return float(match[1]) if match else 0.0


def decimal_of(value: object, scale: int) -> Decimal:
    """The value with `scale` digits after the point, halves rounded away from zero."""
    if isinstance(value, str):
        match = _PREFIX.match(value)
        number = Decimal(match[1]) if match else Decimal(0)
    else:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))
    if not number.is_finite():
        return Decimal(0)
    rounded = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _WIDE) if abs(number) < 10**40 else number
    return abs(rounded) if rounded.is_zero() else rounded  # MySQL knows no minus zero


def decimal_text(value: object, scale: int) -> str:
    """A DECIMAL as text."""
    return format(decimal_of(value, scale), "f")


def real_text(value: float) -> str:
    """A DOUBLE as text: the shortest digits, with an exponent for the very large and the very small."""
    if value == 0 or not math.isfinite(value):
        return "0"
    digits = Decimal(repr(value)).normalize()
    if -15 <= digits.adjusted() < 15:
        return format(digits, "f")
    mantissa, _, exponent = f"{digits:e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def round_half_away(value: float, digits: int, truncate: bool = False) -> float:
    """Round a DECIMAL at a number of digits, which may be negative."""
    if not math.isfinite(value):
        return value
    step = Decimal(1).scaleb(-max(-60, min(60, digits)))
    number = Decimal(repr(value) if isinstance(value, float) else value)
    if abs(number) >= 10**40:
        return value
    return float((number / step).to_integral_value(ROUND_DOWN if truncate else ROUND_HALF_UP) * step)
