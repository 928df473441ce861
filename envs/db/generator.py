"""The builtin tasks: tables of a dozen fields, and requests of DBBench's kinds in words that have one right answer.

A request is drawn as a program (records.py), and kept only if the wording is unambiguous on these tables: whatever may
be read in two ways has the same outcome in both, and every near miss has another one. Splits never meet: a thing's
name is in one split only, and so is a request.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple
from zlib import crc32

from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.db.dialect.engine import Table
from cmat_gym.envs.db.fields import Category, Field, Number, draw_number, draw_tables, fields, labels, questions
from cmat_gym.envs.db.prompts import table_sentence
from cmat_gym.envs.db.records import (
    CHANGING,
    Filter,
    Program,
    evaluate,
    near_misses,
    other_readings,
    tables_after,
    to_sql,
)
from cmat_gym.envs.db.scorer import content_digest, table_hash

__all__ = ["MAX_TURNS", "TIERS", "BuiltinDBTasks", "Draft", "draft", "is_clear", "outcome", "request_split"]

MAX_TURNS = 15
SIZES = {"train": 2**31, "dev": 500, "test": 500}
DATABASE = "db"
ORDINALS = {1: "second", 2: "third"}
MOST_ITEMS = 6  # of an answer that is a list


class Request(NamedTuple):
    """A program in words. `template` names the wordings, `words` fills them, `type` is DBBench's."""

    program: Program
    template: str
    words: Mapping[str, str]
    type: str


class Draft(NamedTuple):
    """A task before it is a `Task`."""

    field: Field
    tables: dict[str, Table]
    request: Request
    question: str


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
    known = {row[0] for row in tables[field.table].rows}
    split_names = [name for name in labels(field.table, _split_of(field, tables)) if name not in known]
    row = (
        chance.choice(split_names), *[chance.choice(column.values) for column in field.categories],
        *[draw_number(column, chance) for column in field.numbers],
    )  # fmt: skip
    values = ", ".join(f"{name} '{value}'" for name, value in zip(field.columns, row, strict=True))
    return Request(Program("INSERT", field.table, row=row), "INSERT", {"values": values}, "INSERT")


def _split_of(field: Field, tables: Mapping[str, Table]) -> str:
    """The split whose names stand in the table."""
    first = tables[field.table].rows[0][0]
    return next(split for split in SIZES if first in labels(field.table, split))


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
    column = chance.choice([*field.categories, *field.numbers])
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
_TIER_WEIGHTS = {"easy": 0.5, "medium": 0.32, "hard": 0.18}


# Is there one right answer? ------------------------------------------------------------------------------------------


def outcome(program: Program, tables: Mapping[str, Table]) -> Any:
    """What a program leads to, in a form to compare: the answer as a multiset, or the rows of the changed table."""
    if program.kind in CHANGING:
        return sorted(tables_after(program, tables)[program.table].rows, key=repr)
    return sorted(evaluate(program, tables))


def is_clear(program: Program, tables: Mapping[str, Table]) -> bool:
    """Whether the wording of a program has one right answer on these tables, which no near miss gives too."""
    right = outcome(program, tables)
    if program.kind in CHANGING:
        if right == sorted(tables[program.table].rows, key=repr):
            return False
    elif not 1 <= len(right) <= MOST_ITEMS or len(set(right)) != len(right) or right == ["None"] or right == ["0"]:
        return False
    if program.kind == "rank" and not _ranks_apart(program, tables):
        return False
    if program.kind == "busiest" and not _one_busiest(program, tables):
        return False
    if program.function == "AVG" and float(right[0]) * 4 % 1:  # an average that can be written down
        return False
    if any(outcome(miss, tables) == right for miss in near_misses(program)):
        return False
    return all(outcome(other, tables) == right for other in other_readings(program))


def _ranks_apart(program: Program, tables: Mapping[str, Table]) -> bool:
    """No two rows share a place up to the one after the last that is asked for, and there are enough rows."""
    wanted = program.offset + program.limit
    all_rows = program._replace(target=program.by, limit=wanted + 1, offset=0)
    values = evaluate(all_rows, tables)
    return len(values) == wanted + 1 and len(set(values)) == len(values)


def _one_busiest(program: Program, tables: Mapping[str, Table]) -> bool:
    keys = evaluate(program._replace(kind="select"), tables)
    counts = sorted((keys.count(key) for key in set(keys)), reverse=True)
    return len(counts) > 1 and counts[0] > counts[1]


# Drawing -------------------------------------------------------------------------------------------------------------


def request_split(program: Program) -> str:
    """The only split in which anybody asks for this, whatever stands in the tables."""
    return ("dev", "test", "train", "train")[crc32(repr(tuple(program)).encode()) % 4]


def draft(split: str, index: int) -> Draft:
    """Draw until a request is clear and belongs to the split: a pure function of its arguments."""
    chance = random.Random(((index * 3 + tuple(SIZES).index(split)) << 8) + 5)
    tier = chance.choices(tuple(_TIER_WEIGHTS), tuple(_TIER_WEIGHTS.values()))[0]
    maker = chance.choice(TIERS[tier])
    while True:
        field = chance.choice(fields())
        tables = draw_tables(field, split, chance, both=tier == "hard")
        for _ in range(8):  # new tables only where the request does not fit these
            request = maker(field, tables, chance)
            if request_split(request.program) == split and is_clear(request.program, tables):
                return Draft(field, tables, request, _question(field, request, chance))


def _question(field: Field, request: Request, chance: random.Random) -> str:
    article = "an" if field.thing[0] in "aeiou" else "a"
    words = {
        "a_thing": f"{article} {field.thing}",
        "thing": field.thing,
        "things": field.things,
        "table": field.table,
        **request.words,
    }
    return chance.choice(questions()[request.template]).format(**words)


def _tier(request: Request) -> str:
    if request.template.startswith("join"):
        return "hard"
    easy = {"lookup", "count", "rank", "rank_word", "SUM", "AVG", "MIN", "MAX", "INSERT", "UPDATE", "DELETE"}
    return "easy" if request.template in easy and len(request.program.filters) < 2 else "medium"


def _payload(found: Draft) -> dict[str, Any]:
    program = found.request.program
    shown = found.tables.values() if _tier(found.request) == "hard" else [found.tables[found.field.table]]
    tables = {table.name: table for table in shown}
    data: dict[str, Any] = {
        "database": DATABASE,
        "tables": [[table.name, list(table.columns), [list(row) for row in table.rows]] for table in shown],
        "type": found.request.type,
        "tier": _tier(found.request),
        "sql": to_sql(program),
    }
    if program.kind in CHANGING:
        after = tables_after(program, tables)
        data |= {
            "table": program.table,
            "md5": table_hash(after[program.table].rows),
            "content": content_digest(after.values()),
        }
    else:
        data["answer"] = list(evaluate(program, tables))
    return data


@lru_cache(maxsize=8)
def _panel(split: str) -> tuple[int, ...]:
    """Draw numbers of a fixed panel: the first whose requests differ."""
    seen: set[str] = set()
    numbers: list[int] = []
    number = 0
    while len(numbers) < SIZES[split]:
        key = content_hash([*draft(split, number).request.program])
        if key not in seen:
            seen.add(key)
            numbers.append(number)
        number += 1
    return tuple(numbers)


class BuiltinDBTasks(TaskSource):
    """Procedural tasks: a practically endless `train` split, and panels of 500 for `dev` and `test`."""

    domain = "db"
    name = "builtin-v0"

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def draft(self, split: str, index: int) -> Draft:
        """The task at `index` with its program, for tests."""
        return draft(split, index if split == "train" else _panel(split)[index])

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`."""
        found = self.draft(split, index)
        data = _payload(found)
        sentences = [table_sentence(name, columns) for name, columns, _ in data["tables"]]
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction="\n".join([found.question, *sentences]),
            payload=data,
            max_turns=MAX_TURNS,
        )
