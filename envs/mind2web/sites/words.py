"""Words that several kinds of sites draw from."""

from __future__ import annotations

import datetime
import json
from functools import lru_cache
from pathlib import Path

from cmat_gym.core.dice import Dice

__all__ = ["TODAY", "clock", "day", "email", "money", "person", "phone", "street", "words"]

TODAY = datetime.date(2026, 5, 4)  # a Monday: the date on which every visit takes place


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[str, ...]]:
    text = (Path(__file__).parent.parent / "data" / "words.json").read_text(encoding="utf-8")
    return {name: tuple(values.split("|")) for name, values in json.loads(text).items()}


def words(name: str) -> tuple[str, ...]:
    """A list of words by its name."""
    return _table()[name]


def person(dice: Dice) -> str:
    """A full name."""
    return f"{dice.pick(words('first'))} {dice.pick(words('last'))}"


def email(name: str) -> str:
    """The mail address of a person."""
    return f"{name.lower().replace(' ', '.')}@example.org"


def street(dice: Dice) -> str:
    """An address."""
    return f"{dice.integer(1, 180)} {dice.pick(words('streets'))}"


def phone(dice: Dice) -> str:
    """A telephone number."""
    return f"555-{dice.integer(100, 999)}-{dice.integer(1000, 9999)}"


def day(offset: int) -> str:
    """A date so many days from today."""
    return (TODAY + datetime.timedelta(days=offset)).isoformat()


def clock(minutes: int) -> str:
    """A time of the day."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def money(cents: int) -> str:
    """An amount in dollars."""
    return f"${cents // 100}.{cents % 100:02d}"
