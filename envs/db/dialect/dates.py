"""Dates and times: reading, taking apart, shifting, and writing them as MySQL does.

Values travel as text in ISO form. The clock stands still at `NOW`, so that an episode repeats.
"""

from __future__ import annotations

import calendar
import datetime
import re
from functools import lru_cache
from typing import NamedTuple

from cmat_gym.envs.db.dialect.numbers import real_of

__all__ = ["NOW", "Moment", "date_number", "difference", "field", "format_date", "moment", "shift", "str_to_date"]

NOW = "2024-01-01 12:00:00"
MONTHS = tuple(calendar.month_name)[1:]
DAYS = tuple(calendar.day_name)
_DELIMITED = re.compile(
    r"\s*(\d{4}|\d{2})[-/.:](\d{1,2})[-/.:](\d{1,2})(?:[T\s]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?)?", re.A
)
_COMPACT = re.compile(r"\s*(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2}))?(?!\d)", re.A)


class Moment(NamedTuple):
    """A date, maybe with a time. Month and day may be 0, as MySQL lets them."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    timed: bool = False

    @property
    def date(self) -> datetime.date | None:
        """The calendar day, if there is such a day."""
        try:
            return datetime.date(self.year, self.month, self.day)
        except ValueError:
            return None

    @property
    def date_text(self) -> str:
        """`2024-01-31`."""
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"

    @property
    def text(self) -> str:
        """`2024-01-31 12:00:00`."""
        return f"{self.date_text} {self.time_text}"

    @property
    def time_text(self) -> str:
        """`12:00:00`."""
        return f"{self.hour:02d}:{self.minute:02d}:{self.second:02d}"


@lru_cache(maxsize=4096)
def moment(value: str | int | float) -> Moment | None:
    """Read a date as MySQL does from a text or a number; None where there is none."""
    text = str(int(value)) if isinstance(value, (int, float)) else value
    match = _DELIMITED.match(text) or _COMPACT.match(text)
    if match is None:
        return None
    parts = [int(part or 0) for part in match.groups()[:6]]
    if len(match[1]) == 2:
        parts[0] += 2000 if parts[0] < 70 else 1900
    year, month, day, hour, minute, second = parts
    if month > 12 or day > 31 or hour > 23 or minute > 59 or second > 59:
        return None
    if month and day > calendar.monthrange(max(year, 1), month)[1]:
        return None
    return Moment(year, month, day, hour, minute, second, match[4] is not None)


def _of(date: datetime.datetime, timed: bool) -> Moment:
    return Moment(date.year, date.month, date.day, date.hour, date.minute, date.second, timed)


def date_number(text: str) -> int:
    """A date in a calculation: `2024-01-31` counts as 20240131."""
    digits = re.sub(r"\D", "", text)
    return int(digits) if digits else 0


_SIMPLE_FIELDS = {
    "YEAR": "year", "MONTH": "month", "DAY": "day", "DAYOFMONTH": "day", "HOUR": "hour", "MINUTE": "minute",
    "SECOND": "second",
}  # fmt: skip
_CLOCK = re.compile(r"\s*(-?)(\d{1,3}):(\d{1,2})(?::(\d{1,2}))?(?:\.\d*)?", re.A)


def field(name: str, value: str | int | float) -> int | str | None:
    """One part of a date: YEAR, MONTHNAME, DAYOFWEEK, …"""
    if name in ("HOUR", "MINUTE", "SECOND") and isinstance(value, str) and (clock := _CLOCK.fullmatch(value)):
        return int(clock[["HOUR", "MINUTE", "SECOND"].index(name) + 2] or 0)
    when = moment(value)
    if when is None:
        return None
    if name in _SIMPLE_FIELDS:
        return int(getattr(when, _SIMPLE_FIELDS[name]))
    if name == "QUARTER":
        return (when.month + 2) // 3
    date = when.date
    if name == "MONTHNAME":
        return MONTHS[when.month - 1] if when.month else None
    if date is None:
        return None
    match name:
        case "DAYNAME":
            return DAYS[date.weekday()]
        case "DAYOFWEEK":
            return date.isoweekday() % 7 + 1
        case "WEEKDAY":
            return date.weekday()
        case "DAYOFYEAR":
            return date.timetuple().tm_yday
        case "WEEK":
            return int(date.strftime("%U"))
        case "WEEKOFYEAR":
            return date.isocalendar().week
        case "TO_DAYS":
            return date.toordinal() + 365
        case _:  # LAST_DAY
            return f"{date.year:04d}-{date.month:02d}-{calendar.monthrange(date.year, date.month)[1]:02d}"


_LENGTHS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400, "WEEK": 604800}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def shift(value: str | int | float, amount: object, unit: str, as_text: bool) -> str | None:
    """A date moved by an interval. A text stays as long as it was, unless the unit is a part of a day."""
    when = moment(value)
    if when is None or when.date is None:
        return None
    count = round(real_of(amount))
    start = datetime.datetime(when.year, when.month, when.day, when.hour, when.minute, when.second)
    try:
        if unit in _MONTHS:
            months = start.year * 12 + start.month - 1 + count * _MONTHS[unit]
            year, month = divmod(months, 12)
            day = min(start.day, calendar.monthrange(year, month + 1)[1])
            moved = start.replace(year=year, month=month + 1, day=day)
        else:
            moved = start + datetime.timedelta(seconds=count * _LENGTHS[unit])
    except (ValueError, OverflowError, calendar.IllegalMonthError):
        return None
    timed = when.timed or unit in ("SECOND", "MINUTE", "HOUR")
    result = _of(moved, timed)
    return result.text if timed else result.date_text


def difference(unit: str, first: str | int | float, second: str | int | float) -> int | None:
    """Whole units from the first date to the second."""
    start, end = moment(first), moment(second)
    if start is None or end is None or start.date is None or end.date is None:
        return None
    if unit in _MONTHS:
        months = (end.year - start.year) * 12 + end.month - start.month
        early, late = tuple(start[2:6]), tuple(end[2:6])
        if months > 0 and late < early:
            months -= 1
        elif months < 0 and late > early:
            months += 1
        return int(months / _MONTHS[unit])
    days = end.date.toordinal() - start.date.toordinal()
    if unit == "DATEDIFF":
        return days
    clock = (end.hour - start.hour) * 3600 + (end.minute - start.minute) * 60 + end.second - start.second
    return int((days * 86400 + clock) / _LENGTHS[unit])


def format_date(value: str | int | float, pattern: str) -> str | None:
    """DATE_FORMAT."""
    when = moment(value)
    if when is None:
        return None
    date = when.date

    def write(match: re.Match[str]) -> str:
        letter = match[1]
        hour12 = (when.hour + 11) % 12 + 1
        half = "PM" if when.hour >= 12 else "AM"
        suffix = "th" if 11 <= when.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(when.day % 10, "th")
        simple = {
            "Y": f"{when.year:04d}", "y": f"{when.year % 100:02d}", "m": f"{when.month:02d}", "c": str(when.month),
            "d": f"{when.day:02d}", "e": str(when.day), "D": f"{when.day}{suffix}",
            "M": MONTHS[when.month - 1] if when.month else "", "b": MONTHS[when.month - 1][:3] if when.month else "",
            "H": f"{when.hour:02d}", "k": str(when.hour), "h": f"{hour12:02d}", "I": f"{hour12:02d}", "l": str(hour12),
            "i": f"{when.minute:02d}", "s": f"{when.second:02d}", "S": f"{when.second:02d}", "p": half, "f": "000000",
            "T": when.time_text, "r": f"{hour12:02d}:{when.minute:02d}:{when.second:02d} {half}",
        }  # fmt: skip
        if letter in simple:
            return simple[letter]
        if date is not None and letter in "Wawj":
            weekday = DAYS[date.weekday()]
            return {
                "W": weekday, "a": weekday[:3], "w": str(date.isoweekday() % 7), "j": f"{date.timetuple().tm_yday:03d}"
            }[letter]  # fmt: skip
        return letter

    return re.sub(r"%(.)", write, pattern, flags=re.DOTALL)


_READERS = {
    "Y": r"(?P<Y>\d{1,4})", "y": r"(?P<y>\d{1,2})", "m": r"(?P<m>\d{1,2})", "c": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "e": r"(?P<d>\d{1,2})", "D": r"(?P<d>\d{1,2})(?:st|nd|rd|th)", "H": r"(?P<H>\d{1,2})", "k": r"(?P<H>\d{1,2})",
    "h": r"(?P<h>\d{1,2})", "I": r"(?P<h>\d{1,2})", "l": r"(?P<h>\d{1,2})", "i": r"(?P<i>\d{1,2})",
    "s": r"(?P<s>\d{1,2})",
    "S": r"(?P<s>\d{1,2})", "p": r"(?P<p>[AaPp][Mm])", "M": f"(?P<M>{'|'.join(MONTHS)})",
    "b": f"(?P<b>{'|'.join(month[:3] for month in MONTHS)})", "W": f"(?:{'|'.join(DAYS)})",
    "a": f"(?:{'|'.join(day[:3] for day in DAYS)})", "f": r"\d{1,6}", "%": "%",
    "T": r"(?P<H>\d{1,2}):(?P<i>\d{1,2}):(?P<s>\d{1,2})", "j": r"(?P<j>\d{1,3})",
}  # fmt: skip
TIME_LETTERS = frozenset("HkhIlisSpTrf")


@lru_cache(maxsize=256)
def _reader(pattern: str) -> re.Pattern[str] | None:
    pieces: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "%":
            piece = _READERS.get(next(letters, ""))
            if piece is None:
                return None
            pieces.append(r"\s*" + piece)
        else:
            pieces.append(r"\s*" if letter.isspace() else r"\s*" + re.escape(letter))
    try:
        return re.compile("".join(pieces), re.IGNORECASE | re.ASCII)
    except re.error:  # a part that occurs twice
        return None


def str_to_date(text: str, pattern: str, timed: bool) -> str | None:
    """STR_TO_DATE: the date in a text of the given form; None where it has another form."""
    reader = _reader(pattern)
    match = reader.match(text) if reader is not None else None
    if match is None:
        return None
    found = {name: value for name, value in match.groupdict().items() if value is not None}
    year = int(found.get("Y", 0))
    if "Y" in found and len(found["Y"]) <= 2:
        year += 2000 if year < 70 else 1900
    if "y" in found:
        year = int(found["y"]) + (2000 if int(found["y"]) < 70 else 1900)
    month = int(found.get("m", 0))
    if "M" in found:
        month = [name.lower() for name in MONTHS].index(found["M"].lower()) + 1
    if "b" in found:
        month = [name[:3].lower() for name in MONTHS].index(found["b"].lower()) + 1
    hour = int(found.get("H", 0))
    if "h" in found:
        hour = int(found["h"]) % 12 + 12 * (found.get("p", "am").lower() == "pm")
    written = f"{year:04d}-{month:02d}-{int(found.get('d', 0)):02d}"
    clock = f"{hour:02d}:{int(found.get('i', 0)):02d}:{int(found.get('s', 0)):02d}"
    when = moment(f"{written} {clock}")
    if when is None:
        return None
    return when.text if timed else when.date_text
