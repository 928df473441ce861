"""The builtin tasks: tables of a dozen fields, and requests of DBBench's kinds in words that have one right answer.

A request is drawn as a program (records.py), and kept only if the wording is unambiguous on these tables: whatever may
be read in two ways has the same outcome in both, and every near miss has another one. Splits never meet: a thing's
name is in one split only, and so is a request.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.db.dialect.engine import Table
from cmat_gym.envs.db.fields import Field, draw_tables, fields, questions
from cmat_gym.envs.db.prompts import table_sentence
from cmat_gym.envs.db.records import (
    CHANGING,
    Program,
    Values,
    change_rows,
    evaluate,
    evaluate_rows,
    near_misses,
    other_readings,
    rows_of,
    tables_after,
    to_sql,
)
from cmat_gym.envs.db.requests import TIERS, Request
from cmat_gym.envs.db.scorer import content_digest, table_hash

__all__ = ["MAX_TURNS", "BuiltinDBTasks", "Draft", "draft", "is_clear", "outcome", "request_split"]

MAX_TURNS = 15
SIZES = {"train": 2**31, "dev": 500, "test": 500}
DATABASE = "db"
_TIER_WEIGHTS = {"easy": 0.5, "medium": 0.32, "hard": 0.18}
MOST_ITEMS = 6  # of an answer that is a list


class Draft(NamedTuple):
    """A task before it is a `Task`."""

    field: Field
    tables: dict[str, Table]
    request: Request
    question: str


# Is there one right answer? ------------------------------------------------------------------------------------------


def outcome(program: Program, rows: Sequence[Values]) -> list[Any]:
    """What a program leads to, in a form to compare: the answer as a multiset, or the rows of the changed table."""
    if program.kind in CHANGING:
        return sorted(change_rows(program, rows))
    return sorted(evaluate_rows(program, rows))


def is_clear(program: Program, tables: Mapping[str, Table]) -> bool:
    """Whether the wording of a program has one right answer on these tables, which no near miss gives too."""
    rows = rows_of(program, tables)
    right = outcome(program, rows)
    if program.kind in CHANGING:
        if right == sorted(tables[program.table].rows):
            return False
    elif not 1 <= len(right) <= MOST_ITEMS or len(set(right)) != len(right) or right in (["None"], ["0"]):
        return False
    if program.kind == "rank" and not _ranks_apart(program, rows):
        return False
    if program.kind == "busiest" and not _one_busiest(program, rows):
        return False
    if program.function == "AVG" and float(right[0]) * 4 % 1:  # an average that can be written down
        return False
    if any(outcome(miss, rows) == right for miss in near_misses(program)):
        return False
    return all(outcome(other, rows) == right for other in other_readings(program))


def _ranks_apart(program: Program, rows: Sequence[Values]) -> bool:
    """No two rows share a place up to the one after the last that is asked for, and there are enough rows."""
    wanted = program.offset + program.limit
    values = evaluate_rows(program._replace(target=program.by, limit=wanted + 1, offset=0), rows)
    return len(values) == wanted + 1 and len(set(values)) == len(values)


def _one_busiest(program: Program, rows: Sequence[Values]) -> bool:
    keys = evaluate_rows(program._replace(kind="select"), rows)
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
