"""Builtin tasks: one right answer each, proven by running gold programs and near misses; splits that never meet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.resources import files

import pytest

from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.parsing import FLAVOURS, reserved_words
from cmat_gym.envs.db.fields import SPLITS, fields, labels, people
from cmat_gym.envs.db.generator import BuiltinDBTasks, Draft, is_clear, request_split
from cmat_gym.envs.db.records import CHANGING, Program, evaluate, near_misses, other_readings, tables_after, to_sql
from cmat_gym.envs.db.scorer import same_answer, table_hash

TASKS = BuiltinDBTasks()
SAMPLE = 250
TYPES = {
    "other", "counting", "comparison", "ranking", "aggregation-SUM", "aggregation-MIN", "aggregation-MAX",
    "aggregation-AVG",
    "INSERT", "UPDATE", "DELETE",
}  # fmt: skip


def run(backend: Backend, draft: Draft, program: Program) -> object:
    """What a server makes of a program: the answer's items, or the rows of the changed table."""
    backend.load("db", draft.tables.values())
    rows = backend.execute(to_sql(program))
    if program.kind in CHANGING:
        return sorted(backend.rows(program.table), key=repr)
    return sorted(str(value) for row in rows for value in row)


@pytest.mark.parametrize("where", ["embedded", "mariadb"])
def test_gold_programs_and_their_neighbours(where: str, request: pytest.FixtureRequest) -> None:
    """SQL on a server says what Python says: gold and other readings give one thing, every near miss another."""
    backend: Backend = open_backend() if where == "embedded" else request.getfixturevalue("mariadb")
    neighbours = 0
    for index in range(SAMPLE if where == "embedded" else SAMPLE // 4):
        draft = TASKS.draft("train", index)
        program = draft.request.program
        gold = run(backend, draft, program)
        if program.kind in CHANGING:
            after = tables_after(program, draft.tables)
            assert gold == sorted(after[program.table].rows, key=repr)
            assert table_hash(backend.rows(program.table)) == TASKS.make("train", index).payload["md5"]
        else:
            assert gold == sorted(evaluate(program, draft.tables))
        for other in other_readings(program):
            assert run(backend, draft, other) == gold, (draft.question, to_sql(other))
            neighbours += 1
        for miss in near_misses(program):
            found = run(backend, draft, miss)
            assert found != gold, (draft.question, to_sql(miss))
            if program.kind not in CHANGING:
                assert not same_answer(found, gold), "the scorer takes a near miss for the answer"  # type: ignore[arg-type]
            neighbours += 1
    assert neighbours > SAMPLE // 2


def test_questions_name_what_they_ask_for() -> None:
    """Every value of a condition, every new value and every column is in the question."""
    for split in SPLITS:
        for index in range(150):
            draft = TASKS.draft(split, index)
            program, question = draft.request.program, draft.question
            assert "{" not in question
            assert all(item.value in question for item in program.filters)
            assert all(value in question for value in (*program.row, program.value))
            column = (program.target if program.kind in ("aggregate", "UPDATE", "select") else program.by).rpartition(
                "."
            )[2]
            if column not in ("", "name") and draft.request.template != "rank_word":
                assert column in question


def test_names_are_told_apart_by_the_collation() -> None:
    for index in range(100):
        draft = TASKS.draft("train", index)
        for table in draft.tables.values():
            names = [str(row[0]).lower() for row in table.rows]
            assert len(set(names)) == len(names)
            assert all(value == str(value).strip() and value for row in table.rows for value in row)


def test_an_unclear_request_is_refused() -> None:
    draft = next(d for d in map(lambda i: TASKS.draft("train", i), range(500)) if d.request.template == "rank")  # noqa: C417
    program, tables = draft.request.program, dict(draft.tables)
    assert is_clear(program, tables)
    table = tables[program.table]
    place = table.columns.index(program.by)
    tied = table._replace(rows=tuple((*row[:place], "5", *row[place + 1 :]) for row in table.rows))
    assert not is_clear(program, {**tables, program.table: tied}), "all rows share the first place"
    assert not is_clear(Program("count", program.table), {**tables, program.table: table._replace(rows=())})


def test_all_kinds_and_tiers_occur() -> None:
    seen = Counter((task.payload["type"], task.payload["tier"]) for task in TASKS.split("train")[:1500])
    assert {kind for kind, _ in seen} == TYPES
    tiers = Counter(tier for _, tier in seen.elements())
    assert tiers["easy"] > tiers["medium"] > tiers["hard"] > 150
    assert len({TASKS.draft("train", index).field.table for index in range(300)}) == len(fields()) == 12
    assert all(
        len(task.payload["tables"]) == (2 if task.payload["tier"] == "hard" else 1) for task in TASKS.split("dev")
    )


def test_observations_are_small() -> None:
    assert max(len(task.instruction.split()) for task in TASKS.split("test")) < 60


# Splits ---------------------------------------------------------------------------------------------------------------


def test_no_name_is_in_two_splits() -> None:
    for field in fields():
        pools = [set(labels(field.table, split)) for split in SPLITS]
        assert all(len(pool) > 80 for pool in pools)
        assert len(set.union(*pools)) == sum(map(len, pools))
    for split in SPLITS:
        for index in range(100):
            draft = TASKS.draft(split, index)
            assert {str(row[0]) for row in draft.tables[draft.field.table].rows} <= set(
                labels(draft.field.table, split)
            )


def test_no_request_is_in_two_splits() -> None:
    for split in SPLITS:
        programs = [TASKS.draft(split, index).request.program for index in range(500)]
        assert {request_split(program) for program in programs} == {split}
        if split != "train":
            assert len(set(programs)) == 500, "a panel asks something twice"


def test_the_manifest_is_the_committed_one() -> None:
    published = json.loads((files("cmat_gym.envs.db") / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert {split: TASKS.split(split).manifest(500)._asdict() for split in TASKS.sizes()} == published


FINGERPRINT = """
from cmat_gym.envs.db.tasks import open_tasks
tasks = open_tasks()
print([tasks.split(name).manifest(60) for name in ("train", "dev", "test")])
"""


def test_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "271828")
    }
    assert len(outputs) == 1


def test_no_column_needs_more_quoting_than_backticks_around_spaces() -> None:
    words = reserved_words(FLAVOURS[0]) | reserved_words(FLAVOURS[1])
    for field in fields():
        for name in (field.table, field.related.table, *field.columns, *field.related_columns):
            assert name.upper() not in words
            assert name.replace(" ", "").isalpha()
    assert len(set(people())) == len(people())


def test_expert_statements_stay_short() -> None:
    """A small model has 48 tokens for an action."""
    lengths = sorted(len(task.payload["sql"]) for task in TASKS.split("train")[:400])
    assert lengths[len(lengths) // 2] < 90
    assert lengths[-1] < 200
