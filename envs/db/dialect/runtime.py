"""The functions that run inside of SQLite: what MySQL computes differently, or SQLite does not have.

Names start with `my_`. All are pure. An argument of None (NULL) gives None unless a function says otherwise.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

from cmat_gym.envs.db.dialect import dates
from cmat_gym.envs.db.dialect.collation import compare, fold, key
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.dialect.numbers import decimal_of, decimal_text, real_of, real_text, round_half_away
from cmat_gym.envs.db.dialect.patterns import like, regexp

__all__ = ["FUNCTIONS"]

MAX_TEXT = 1 << 20  # characters; a function that would make more gives NULL, as with max_allowed_packet


# Text ----------------------------------------------------------------------------------------------------------------


def _upper(text: str) -> str:
    """Letter by letter: a letter whose capital is two letters (ß) stays as it is."""
    if text.isascii():
        return text.upper()
    return "".join(big if len(big := letter.upper()) == 1 else letter for letter in text)


def _lower(text: str) -> str:
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def _left(text: str, count: int) -> str:
    return text[: max(0, count)]


def _right(text: str, count: int) -> str:
    return text[-count:] if count > 0 else ""


def _substring(text: str, start: int, count: int | None = None) -> str:
    begin = start - 1 if start > 0 else len(text) + start
    if start == 0 or begin < 0 or (count is not None and count <= 0):
        return ""
    return text[begin:] if count is None else text[begin : begin + count]


def _substring_index(text: str, delimiter: str, count: int) -> str:
    if not delimiter or count == 0:
        return ""
    parts = text.split(delimiter)
    return delimiter.join(parts[:count] if count > 0 else parts[count:])


def _locate(piece: str, text: str, start: int = 1) -> int:
    """The server compares the piece with as many bytes of the text, so `o` is not found in `Köln`."""
    if start < 1 or start - 1 > len(text):
        return 0
    if text.isascii() and piece.isascii():
        return text.upper().find(piece.upper(), start - 1) + 1
    width, wanted = len(piece.encode()), fold(piece)
    for place in range(start - 1, len(text) - len(piece) + 1):
        part = text[place : place + len(piece)]
        if fold(part) == wanted and len(part.encode()) == width:
            return place + 1
    return 0


def _trim(text: str, piece: str, where: str) -> str:
    if not piece:
        return text
    while where != "TRAILING" and text.startswith(piece):
        text = text[len(piece) :]
    while where != "LEADING" and text.endswith(piece):
        text = text[: -len(piece)]
    return text


def _replace(text: str, old: str, new: str) -> str | None:
    if not old:
        return text
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT:
        return None
    return text.replace(old, new)


def _repeat(text: str, count: int) -> str | None:
    return None if len(text) * count > MAX_TEXT else text * max(0, count)


def _pad(text: str, width: int, filler: str, left: bool) -> str | None:
    if width < 0 or width > MAX_TEXT:
        return None
    missing = width - len(text)
    if missing <= 0:
        return text[:width]
    if not filler:
        return None
    padding = (filler * (missing // len(filler) + 1))[:missing]
    return padding + text if left else text + padding


def _insert(text: str, start: int, count: int, new: str) -> str:
    if start < 1 or start > len(text):
        return text
    end = start - 1 + count if count >= 0 else len(text)
    return text[: start - 1] + new + text[min(end, len(text)) :]


def _find_in_set(piece: str, listed: str) -> int:
    if "," in piece or not listed:
        return 0
    wanted = key(piece)
    return next((number for number, item in enumerate(listed.split(","), 1) if key(item) == wanted), 0)


def _format(value: float, digits: int) -> str:
    return f"{decimal_of(value, max(0, min(30, digits))):,f}"


def _hex(value: int | float | str) -> str:
    if isinstance(value, str):
        return value.encode().hex().upper()
    return f"{round(value) % (1 << 64):X}"


def _sha2(text: str, bits: int) -> str | None:
    names = {0: "sha256", 224: "sha224", 256: "sha256", 384: "sha384", 512: "sha512"}
    return hashlib.new(names[bits], text.encode()).hexdigest() if bits in names else None


def _concat(*parts: str) -> str | None:
    return "".join(parts) if sum(map(len, parts)) <= MAX_TEXT else None


def _concat_ws(separator: str | None, *parts: str | None) -> str | None:
    if separator is None:
        return None
    return separator.join(part for part in parts if part is not None)


def _ascii(text: str) -> int:
    return text.encode()[0] if text else 0


def _soundex(text: str) -> str:
    codes = dict(zip("BFPVCGJKQSXZDTLMNR", "111122222222334556", strict=True))
    letters = [letter for letter in text.upper() if letter.isalpha()]
    if not letters:
        return ""
    result, last = letters[0], codes.get(letters[0], "")
    for letter in letters[1:]:
        if letter in "HW":
            continue
        code = codes.get(letter, "")
        if code and code != last:
            result += code
        last = code
    return result.ljust(4, "0")


# Numbers -------------------------------------------------------------------------------------------------------------


def _real(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _round_real(value: float, digits: int) -> float:
    """DOUBLE: scaled, rounded to even, scaled back, as the server's C does it."""
    digits = max(-300, min(300, digits))
    power = 10.0 ** abs(digits)
    scaled = value / power if digits < 0 else value * power
    if not math.isfinite(scaled) or abs(scaled) >= 1 << 53:
        return value
    whole = float(round(scaled))
    return whole * power if digits < 0 else whole / power


def _truncate_real(value: float, digits: int) -> float:
    digits = max(-300, min(300, digits))
    power = 10.0 ** abs(digits)
    scaled = value / power if digits < 0 else value * power
    if not math.isfinite(scaled):
        return value
    whole = float(math.trunc(scaled))
    return whole * power if digits < 0 else whole / power


def _divide(dividend: float, divisor: float, digits: int) -> float | None:
    """Division of DECIMALs: cut, not rounded, at the last digit."""
    if divisor == 0:
        return None
    quotient = Decimal(repr(dividend)) / Decimal(repr(divisor))
    return (
        round_half_away(float(quotient), digits)
        if abs(quotient) > 10**15
        else float(quotient.quantize(Decimal(1).scaleb(-digits), ROUND_DOWN))
    )


def _unsigned(value: int) -> float:
    return value if value >= 0 else float(value + (1 << 64))


def _check_unsigned(value: float) -> float:
    """The result of a calculation with an UNSIGNED must be one."""
    if value < 0:
        raise MySQLError(1690, "BIGINT UNSIGNED value is out of range")
    return value


def _mod(value: float, divisor: float) -> float | None:
    if divisor == 0:
        return None
    return (
        math.fmod(value, divisor)
        if isinstance(value, float) or isinstance(divisor, float)
        else _mod_int(value, divisor)
    )


def _mod_int(value: int, divisor: int) -> int:
    result = abs(value) % abs(divisor)
    return -result if value < 0 else result


def _int_div(value: float, divisor: float) -> int | None:
    if divisor == 0:
        return None
    if isinstance(value, int) and isinstance(divisor, int):
        quotient = abs(value) // abs(divisor)
        return quotient if (value < 0) == (divisor < 0) else -quotient
    return math.trunc(value / divisor)


def _power(base: float, exponent: float) -> float | None:
    try:
        result = math.pow(base, exponent)
    except (OverflowError, ValueError):
        raise MySQLError(
            1690, f"DOUBLE value is out of range in 'pow({real_text(base)},{real_text(exponent)})'"
        ) from None
    return result


def _maths(compute: Callable[[float], float]) -> Callable[[float], float | None]:
    def call(value: float) -> float | None:
        try:
            return _real(compute(value))
        except (ValueError, OverflowError):
            return None

    return call


def _log(base: float, value: float) -> float | None:
    if base <= 0 or base == 1 or value <= 0:
        return None
    return math.log(value) / math.log(base)


# Regular expressions and choice --------------------------------------------------------------------------------------


def _regexp_replace(text: str, pattern: str, new: str) -> str:
    regexp(text, pattern)  # refuses what may take too long
    template = re.sub(r"\$(\d)", r"\\\1", new)
    try:
        return re.sub(pattern, template, text, flags=re.IGNORECASE)
    except re.error as error:
        raise MySQLError(1139, f"Got error '{error}' from regexp") from None


def _regexp_substr(text: str, pattern: str) -> str | None:
    match = regexp(text, pattern)
    return match[0] if match else None


def _regexp_instr(text: str, pattern: str) -> int:
    match = regexp(text, pattern)
    return match.start() + 1 if match else 0


def _extreme_text(pick: int, *texts: str) -> str:
    best = texts[0]
    for text in texts[1:]:
        if compare(text, best) * pick > 0:
            best = text
    return best


def _elt(number: int | None, *values: Any) -> Any:
    return values[number - 1] if number is not None and 1 <= number <= len(values) else None


def _field_text(wanted: str | None, *values: str | None) -> int:
    if wanted is None:
        return 0
    folded = key(wanted)
    return next((n for n, value in enumerate(values, 1) if value is not None and key(value) == folded), 0)


def _field_real(wanted: float | None, *values: float | None) -> int:
    return next((n for n, value in enumerate(values, 1) if value is not None and value == wanted), 0)


def _date(value: str | int | float) -> str | None:
    when = dates.moment(value)
    return when.date_text if when else None


def _datetime(value: str | int | float) -> str | None:
    when = dates.moment(value)
    return when.text if when else None


def _time(value: str) -> str | None:
    when = dates.moment(value)
    return when.time_text if when else (value if re.fullmatch(r"\d{1,3}:\d\d(:\d\d)?", value) else None)


def _comparable_date(value: str) -> str:
    """A text beside a date: the moment it names, else the text itself."""
    when = dates.moment(value)
    return when.text if when else value


def _random(state: int, row: int) -> float:
    """A number in [0, 1): the same statement in the same state draws the same numbers."""
    digest = hashlib.blake2b(f"{state}/{row}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


def _null_aware(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return None if None in arguments else function(*arguments)

    return call


_STRICT: dict[str, tuple[int, Callable[..., Any]]] = {
    "left": (2, _left), "right": (2, _right), "substring": (-1, _substring), "substring_index": (3, _substring_index),
    "locate": (-1, _locate), "trim": (3, _trim), "replace": (3, _replace), "repeat": (2, _repeat), "pad": (4, _pad),
    "insert": (4, _insert), "find_in_set": (2, _find_in_set), "format": (2, _format), "hex": (1, _hex),
    "concat": (-1, _concat), "upper": (1, _upper), "lower": (1, _lower), "reverse": (1, lambda text: text[::-1]),
    "bytes": (1, lambda text: len(text.encode())), "length": (1, len), "ascii": (1, _ascii), "soundex": (1, _soundex),
    "md5": (1, lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()),
    "sha1": (1, lambda text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()), "sha2": (2, _sha2),
    "strcmp": (2, compare), "ord": (1, lambda text: int.from_bytes(text[:1].encode(), "big")),
    "like": (3, lambda text, pattern, escape: int(like(text, pattern, escape))),
    "regexp": (3, lambda text, pattern, exact: int(regexp(text, pattern, bool(exact)) is not None)),
    "regexp_replace": (3, _regexp_replace), "regexp_substr": (2, _regexp_substr), "regexp_instr": (2, _regexp_instr),
    "extreme_text": (-1, _extreme_text),
    "decimal_text": (2, decimal_text), "real_text": (1, real_text), "real": (1, real_of),
    "to_decimal": (2, lambda value, scale: float(decimal_of(value, scale))),
    "round_real": (2, _round_real), "truncate_real": (2, _truncate_real),
    "round_decimal": (2, round_half_away), "truncate_decimal": (2, lambda v, digits: round_half_away(v, digits, True)),
    "mod": (2, _mod), "divide": (3, _divide), "unsigned": (1, _unsigned), "check_unsigned": (1, _check_unsigned),
    "unsigned_text": (1, lambda value: str(value if value >= 0 else value + (1 << 64))), "int_div": (2, _int_div),
    "power": (2, _power), "log": (2, _log),
    "ceil": (1, math.ceil), "floor": (1, math.floor), "sign": (1, lambda value: (value > 0) - (value < 0)),
    **{
        name: (1, _maths(getattr(math, name)))
        for name in ("sqrt", "exp", "log10", "log2", "sin", "cos", "tan", "asin", "acos", "atan", "degrees", "radians")
    },
    "ln": (1, _maths(math.log)), "atan2": (2, math.atan2),
    "date": (1, _date), "datetime": (1, _datetime), "time": (1, _time), "comparable_date": (1, _comparable_date),
    "date_number": (1, dates.date_number), "date_field": (2, dates.field), "date_shift": (4, dates.shift),
    "date_difference": (3, dates.difference), "date_format": (2, dates.format_date),
    "str_to_date": (3, dates.str_to_date),
    "date_from_days": (1, lambda days: _date_of_days(days)),
}  # fmt: skip


def _date_of_days(days: int) -> str | None:
    ordinal = days - 365
    return datetime.date.fromordinal(ordinal).isoformat() if 1 <= ordinal < 3_652_060 else None


FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    **{f"my_{name}": (count, _null_aware(function)) for name, (count, function) in _STRICT.items()},
    "my_concat_ws": (-1, _concat_ws),
    "my_elt": (-1, _elt),
    "my_field_text": (-1, _field_text),
    "my_field_real": (-1, _field_real),
    "my_random": (2, _random),
}
"""Name -> number of arguments (-1: any) and function."""
