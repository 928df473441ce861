"""The fields of the builtin tables: what they are called, what stands in them, and rows drawn from a generator."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from cmat_gym.envs.db.dialect.engine import Table

__all__ = [
    "SPLITS",
    "Category",
    "Field",
    "Number",
    "Related",
    "draw_tables",
    "fields",
    "labels",
    "people",
    "questions",
    "split_of_label",
]

DATA = Path(__file__).parent / "data"
SPLITS = ("train", "dev", "test")
MAIN_ROWS = (8, 14)
RELATED_ROWS = (9, 15)


class Category(NamedTuple):
    """A column with a few different values. `filter` says in words that a thing has the value `{v}`."""

    name: str
    values: tuple[str, ...]
    filter: tuple[str, ...]


class Number(NamedTuple):
    """A column of whole numbers, with the words for more, less, most and least; without `total` no sum makes sense."""

    name: str
    low: int
    high: int
    above: str
    below: str
    step: int = 1
    most: str = ""
    least: str = ""
    total: bool = True

    @property
    def noun(self) -> str:
        """The column in a sentence."""
        return f"number of {self.name}" if self.name.endswith("s") or " sold" in self.name else self.name


class Related(NamedTuple):
    """A second table: a row names a person, belongs to one row of the main table, has a category and a number."""

    table: str
    thing: str
    things: str
    person: str
    key: str
    category: Category
    number: Number


class Field(NamedTuple):
    """One subject: a main table of named things, and a related table."""

    table: str
    thing: str
    things: str
    nouns: tuple[str, ...]
    categories: tuple[Category, ...]
    numbers: tuple[Number, ...]
    related: Related

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the main table."""
        return ("name", *(column.name for column in self.categories), *(column.name for column in self.numbers))

    def noun(self, column: str) -> str:
        """A column of the main table in a sentence."""
        return next((number.noun for number in self.numbers if number.name == column), column)

    @property
    def related_columns(self) -> tuple[str, ...]:
        """Columns of the related table."""
        related = self.related
        return (related.person, related.key, related.category.name, related.number.name)


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads((DATA / "fields.json").read_text(encoding="utf-8"))
    return data


def _category(entry: Mapping[str, Any]) -> Category:
    return Category(entry["name"], tuple(entry["values"]), tuple(entry["filter"]))


@lru_cache(maxsize=1)
def fields() -> tuple[Field, ...]:
    """All fields."""
    found: list[Field] = []
    for entry in _data()["fields"]:
        related = entry["related"]
        found.append(
            Field(
                entry["table"], entry["thing"], entry["things"], tuple(entry["nouns"].split()),
                tuple(map(_category, entry["categories"])), tuple(Number(**number) for number in entry["numbers"]),
                Related(
                    related["table"], related["thing"], related["things"], related["person"], related["key"],
                    _category(related["category"]), Number(**related["number"]),
                ),
            )
        )  # fmt: skip
    return tuple(found)


@lru_cache(maxsize=1)
def questions() -> Mapping[str, Sequence[str]]:
    """The wordings of each kind of request."""
    found: Mapping[str, Sequence[str]] = json.loads((DATA / "questions.json").read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=1)
def people() -> tuple[str, ...]:
    """First names."""
    return tuple(_data()["people"].split())


@lru_cache(maxsize=64)
def labels(table: str, split: str) -> tuple[str, ...]:
    """Names of things that occur in one split only: six of eight for training, one each for dev and test."""
    field = next(field for field in fields() if field.table == table)
    names = (f"{adjective} {noun}" for adjective in _data()["adjectives"].split() for noun in field.nouns)
    return tuple(name for name in names if split_of_label(table, name) == split)


def split_of_label(table: str, name: str) -> str:
    """The only split in which a thing of this name occurs."""
    return ("dev", "test", *["train"] * 6)[crc32(f"{table}/{name}".encode()) % 8]


def draw_number(column: Number, chance: random.Random) -> str:
    """A value of a number column."""
    steps = (column.high - column.low) // column.step + 1
    return str(column.low + int(chance.random() * steps) * column.step)


def _draw_value(values: Sequence[str], chance: random.Random) -> str:
    return values[int(chance.random() * len(values))]  # three times as fast as `choice`, and drawn very often


def draw_tables(field: Field, split: str, chance: random.Random, both: bool = True) -> dict[str, Table]:
    """The two tables of a field, or only the main one, with new rows."""
    names = chance.sample(labels(field.table, split), chance.randint(*MAIN_ROWS))
    main = tuple(
        (
            name,
            *[_draw_value(column.values, chance) for column in field.categories],
            *[draw_number(column, chance) for column in field.numbers],
        )
        for name in names
    )
    tables = {field.table: Table(field.table, field.columns, main)}
    if both:
        related = field.related
        rows = tuple(
            (
                person,
                _draw_value(names, chance),
                _draw_value(related.category.values, chance),
                draw_number(related.number, chance),
            )
            for person in chance.sample(people(), chance.randint(*RELATED_ROWS))
        )
        tables[related.table] = Table(related.table, field.related_columns, rows)
    return tables
