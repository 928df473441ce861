"""The kinds of requests: what is asked, and in which words.

Each maker draws a program over given tables and the words that fill its wording. Nothing is checked here: generator.py
keeps a request only if it has one right answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from cmat_gym.envs.db.dialect.engine import Table
from cmat_gym.envs.db.fields import Category, Field, Number, draw_number, labels, split_of_label
from cmat_gym.envs.db.records import Filter, Program

__all__ = ["TIERS", "Request"]

ORDINALS = {1: "second", 2: "third"}


class Request(NamedTuple):
    """A program in words. `template` names the wordings, `words` fills them, `type` is DBBench's."""

    program: Program
    template: str
    words: Mapping[str, str]
    type: str


# Conditions in words -------------------------------------------------------------------------------------------------


def _by_category(column: Category, chance: random.Random, prefix: str = "") -> tuple[Filter, str]:
    value = chance.choice(column.values)
    return Filter(prefix + column.name, "=", value), chance.choice(column.filter).format(v=value)


def _by_number(column: Number, table: Table, chance: random.Random, prefix: str = "") -> tuple[Filter, str]:
    """Above or below a round number between two values of the table."""
    place = table.columns.index(column.name)
    values = sorted(int(row[place] or 0) for row in table.rows)
    middle = values[chance.randrange(1, len(values) - 1)]
    threshold = str(middle - middle % max(1, column.step) + chance.choice((-1, 1)) * column.step)
    operator, phrase = chance.choice(((">", column.above), ("<", column.below)))
    return Filter(prefix + column.name, operator, threshold), phrase.format(v=threshold)


def _conditions(
    field: Field, tables: Mapping[str, Table], chance: random.Random, count: int
) -> tuple[tuple[Filter, ...], str]:
    """One or two conditions on different columns of the main table, and their words."""
    columns: list[Category | Number] = [*field.categories, *field.numbers]
    picked = chance.sample(columns, count)
    parts = [
        _by_category(column, chance)
        if isinstance(column, Category)
        else _by_number(column, tables[field.table], chance)
        for column in picked
    ]
    return tuple(part[0] for part in parts), " and ".join(part[1] for part in parts)


def _some(field: Field, tables: Mapping[str, Table], chance: random.Random) -> tuple[tuple[Filter, ...], str]:
    """No condition, or one: the words start with a space."""
    if chance.random() < 0.5:
        return (), ""
    found, words = _conditions(field, tables, chance, 1)
    return found, f" {words}"


# Requests ------------------------------------------------------------------------------------------------------------


def _label(field: Field, tables: Mapping[str, Table], chance: random.Random) -> str:
    return str(chance.choice(tables[field.table].rows)[0])


def _lookup(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    label, target = _label(field, tables, chance), chance.choice(field.columns[1:])
    program = Program("select", field.table, target, (Filter("name", "=", label),))
    return Request(program, "lookup", {"target": field.noun(target), "label": label}, "other")


def _which(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    found, words = _by_category(chance.choice(field.categories), chance)
    return Request(Program("select", field.table, "name", (found,)), "which", {"filters": words}, "other")


def _count(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    found, words = _conditions(field, tables, chance, 1)
    return Request(Program("count", field.table, filters=found), "count", {"filters": words}, "counting")


def _count_two(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    found, words = _conditions(field, tables, chance, 2)
    return Request(Program("count", field.table, filters=found), "count", {"filters": words}, "counting")


def _compare(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    found, words = _by_number(chance.choice(field.numbers), tables[field.table], chance)
    return Request(Program("select", field.table, "name", (found,)), "compare", {"filters": words}, "comparison")


def _compare_two(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    first, words = _by_number(chance.choice(field.numbers), tables[field.table], chance)
    second, more = _by_category(chance.choice(field.categories), chance)
    program = Program("select", field.table, "name", (first, second))
    return Request(program, "compare", {"filters": f"{words} and {more}"}, "comparison")


def _rank(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    column, way = chance.choice(field.numbers), chance.choice(("DESC", "ASC"))
    found, words = _some(field, tables, chance)
    program = Program("rank", field.table, "name", found, function=way, by=column.name, limit=1)
    word = column.most if way == "DESC" else column.least
    filled = {"filters": words, "by": column.noun, "high": "highest" if way == "DESC" else "lowest", "word": word}
    return Request(program, "rank_word" if word and chance.random() < 0.5 else "rank", filled, "ranking")


def _rank_far(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    """The second or third, or the first three."""
    request = _rank(field, tables, chance)
    if chance.random() < 0.6:
        offset = chance.choice((1, 2))
        words = {**request.words, "nth": ORDINALS[offset]}
        return request._replace(program=request.program._replace(offset=offset), template="rank_nth", words=words)
    return request._replace(program=request.program._replace(limit=3), template="rank_top")


def _aggregate(function: str, field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    column = chance.choice([number for number in field.numbers if number.total or function != "SUM"])
    found, words = _some(field, tables, chance)
    program = Program("aggregate", field.table, column.name, found, function=function)
    return Request(program, function, {"target": column.noun, "filters": words}, f"aggregation-{function}")


def _any_aggregate(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    return _aggregate(chance.choice(("SUM", "AVG", "MIN", "MAX")), field, tables, chance)


def _insert(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    known = [str(row[0]) for row in tables[field.table].rows]
    names = labels(field.table, split_of_label(field.table, known[0]))
    name = chance.choice(names)
    while name in known:
        name = chance.choice(names)
    row = (
        name, *[chance.choice(column.values) for column in field.categories],
        *[draw_number(column, chance) for column in field.numbers],
    )  # fmt: skip
    values = ", ".join(f"{column} '{value}'" for column, value in zip(field.columns, row, strict=True))
    return Request(Program("INSERT", field.table, row=row), "INSERT", {"values": values}, "INSERT")


def _new_value(field: Field, target: str, chance: random.Random) -> str:
    for category in field.categories:
        if category.name == target:
            return chance.choice(category.values)
    return draw_number(next(number for number in field.numbers if number.name == target), chance)


def _update(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    label, target = _label(field, tables, chance), chance.choice(field.columns[1:])
    value = _new_value(field, target, chance)
    program = Program("UPDATE", field.table, target, (Filter("name", "=", label),), value=value)
    return Request(program, "UPDATE", {"target": field.noun(target), "label": label, "value": value}, "UPDATE")


def _update_all(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    found, words = _conditions(field, tables, chance, 1)
    target = chance.choice([name for name in field.columns[1:] if name != found[0].column])
    value = _new_value(field, target, chance)
    program = Program("UPDATE", field.table, target, found, value=value)
    return Request(program, "UPDATE_all", {"target": field.noun(target), "filters": words, "value": value}, "UPDATE")


def _delete(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    label = _label(field, tables, chance)
    program = Program("DELETE", field.table, filters=(Filter("name", "=", label),))
    return Request(program, "DELETE", {"label": label}, "DELETE")


def _delete_all(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    found, words = _conditions(field, tables, chance, 1)
    return Request(Program("DELETE", field.table, filters=found), "DELETE_all", {"filters": words}, "DELETE")


def _joined(field: Field, tables: Mapping[str, Table], chance: random.Random) -> Request:
    """A request that needs both tables."""
    related = field.related
    kind = chance.choice(("join_count", "join_lookup", "join_sum", "join_busiest", "join_which"))
    join = (field.table, related.key)
    words = {"rows": related.things, "row": related.thing, "rows_table": related.table, "person_column": related.person}
    if kind == "join_busiest":
        return Request(Program("busiest", related.table, related.key), kind, words, "ranking")
    if kind == "join_lookup":
        person, target = str(chance.choice(tables[related.table].rows)[0]), chance.choice(field.columns[1:])
        found = Filter(f"{related.table}.{related.person}", "=", person)
        program = Program("select", related.table, f"{field.table}.{target}", (found,), join)
        return Request(program, kind, {**words, "person": person, "target": field.noun(target)}, "other")
    columns: list[Category | Number] = [*field.categories, *field.numbers]
    column = chance.choice(columns)
    prefix = f"{field.table}."
    condition, phrase = (
        _by_category(column, chance, prefix) if isinstance(column, Category)
        else _by_number(column, tables[field.table], chance, prefix)
    )  # fmt: skip
    words["filters"] = phrase
    if kind == "join_count":
        return Request(Program("count", related.table, "", (condition,), join), kind, words, "counting")
    if kind == "join_sum":
        target = f"{related.table}.{related.number.name}"
        program = Program("aggregate", related.table, target, (condition,), join, function="SUM")
        return Request(program, kind, {**words, "target": related.number.noun}, "aggregation-SUM")
    program = Program("select", related.table, f"{related.table}.{related.person}", (condition,), join)
    return Request(program, kind, words, "other")


Maker = Callable[[Field, Mapping[str, Table], random.Random], Request]
TIERS: dict[str, tuple[Maker, ...]] = {
    "easy": (
        *[_lookup] * 2,
        *[_count] * 2,
        *[_rank] * 2,
        *[_insert] * 2,
        *[_update] * 2,
        *[_delete] * 2,
        *[partial(_aggregate, function) for function in ("SUM", "AVG", "MIN", "MAX")],
    ),
    "medium": (_which, _count_two, _compare, _compare_two, _rank_far, _any_aggregate, _update_all, _delete_all),
    "hard": (_joined,),
}
"""Kinds of requests by difficulty: one condition on one table; several conditions or results; two tables."""
