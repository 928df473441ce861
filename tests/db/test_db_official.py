"""DBBench's own file: every stored hash is reproduced, every gold answer scores, defects are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError
from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.expert import payload_tables
from cmat_gym.envs.db.official import OfficialDBTasks
from cmat_gym.envs.db.scorer import RULES, table_hash
from cmat_gym.envs.db.tasks import open_tasks

DEV = "db/agentbench/dev.jsonl"
CHANGING = ("INSERT", "UPDATE")


@pytest.fixture(scope="module")
def tasks(data_file: Callable[[str], Path]) -> OfficialDBTasks:
    found = open_tasks(data_file(DEV))
    assert isinstance(found, OfficialDBTasks)
    return found


@pytest.mark.parametrize("where", ["embedded", "mariadb"])
def test_every_stored_hash_is_reproduced(tasks: OfficialDBTasks, where: str, request: pytest.FixtureRequest) -> None:
    backend: Backend = open_backend() if where == "embedded" else request.getfixturevalue("mariadb")
    checked = 0
    for task in tasks.split("dev"):
        payload = task.payload
        if payload["type"] in CHANGING:
            backend.load(payload["database"], payload_tables(payload))
            backend.execute(payload["sql"])
            assert table_hash(backend.rows(payload["table"])) == payload["md5"], task.id
            checked += 1
    assert checked == 40


@pytest.mark.parametrize("rules", RULES)
def test_gold_scores_one_and_nothing_scores_zero(
    tasks: OfficialDBTasks, data_file: Callable[[str], Path], rules: str
) -> None:
    env = gym.make("cmat/DB-v0", source=data_file(DEV), split="dev", rules=rules, memory=None)
    for index in range(len(tasks.split("dev"))):
        _, info = env.reset(options={"task": index})
        assert info["score"] == 0.0
        task = base_env(env).task
        payload = task.payload
        if payload["type"] in CHANGING:
            env.step(f"Operation\n```sql\n{payload['sql']}\n```")
        gold = json.dumps(payload.get("answer", ["done"]), ensure_ascii=False)
        _, reward, terminated, _, info = env.step(f"Answer\nFinal Answer: {gold}")
        assert (reward, terminated, info["success"]) == (1.0, True, True), task.id
        env.reset(options={"task": index})
        assert env.step('Answer\nFinal Answer: ["no such value"]')[1] == 0.0


def test_v02_counts_a_change_whatever_the_episode_ends_with(data_file: Callable[[str], Path]) -> None:
    for rules, expected in (("v0.2", 1.0), ("function_calling", 0.0), ("strict", 0.0)):
        env = gym.make("cmat/DB-v0", source=data_file(DEV), split="dev", rules=rules, memory=None, max_turns=2)
        env.reset(options={"task": 20})
        statement = base_env(env).task.payload["sql"]
        env.step(f"Operation\n```sql\n{statement}\n```")
        _, reward, terminated, truncated, _ = env.step("I do not know what to say")
        assert (reward, terminated, truncated) == (expected, False, True)


def test_the_record_without_a_column_name_is_flagged_and_played_without_its_table(
    data_file: Callable[[str], Path],
) -> None:
    env = gym.make("cmat/DB-v0", source=data_file(DEV), split="dev", memory=None)
    env.reset(options={"task": 5})
    assert base_env(env).task.payload["defects"] == ["the table cannot be made: 1166 (42000): Incorrect column name ''"]
    assert env.step("Operation\n```sql\nSELECT * FROM historic_sites\n```")[0].startswith("1146 (42S02): ")
    defective = [task.id for task in base_env(env).tasks.split("dev") if task.payload["defects"]]
    assert defective == ["db/dbbench-dev/dev/000005"]


def test_observations_are_the_officials(tasks: OfficialDBTasks, data_file: Callable[[str], Path]) -> None:
    """The text of the record opens the episode; results are Python's print of a list of tuples, cut after 800."""
    env = gym.make("cmat/DB-v0", source=data_file("db"), split="dev", memory=None)
    observation, _ = env.reset(options={"task": 3})
    record = json.loads(data_file(DEV).read_text(encoding="utf-8").splitlines()[3])
    assert observation == f"{record['description']}\n{record['add_description']}"
    rows = [tuple(str(value) for value in row) for row in record["table"]["table_info"]["rows"]]
    shown = env.step(f"Operation\n```sql\nSELECT * FROM {record['table']['table_name']}\n```")[0]
    assert shown == str(rows)[:800] + "[TRUNCATED]"
    shown = env.step(
        f"Operation\n```sql\nSELECT Floors FROM {record['table']['table_name']} WHERE Name = 'capitol square'\n```"
    )[0]
    assert shown == "[('26',)]"


def test_queries_gold_select_prints_the_label_where_it_can_be_run(tasks: OfficialDBTasks) -> None:
    """Many gold SELECTs are malformed (a real server refuses them too), so labels are the gold, never these."""
    backend = open_backend()
    printed = refused = 0
    for task in tasks.split("dev"):
        if task.payload["type"] in CHANGING:
            continue
        try:
            backend.load(task.payload["database"], payload_tables(task.payload))
            rows = backend.execute(task.payload["sql"])
        except MySQLError:
            refused += 1
        else:
            printed += [str(value) for row in rows for value in row] == task.payload["answer"]
    assert (printed, refused) == (3, 10)


# Files ----------------------------------------------------------------------------------------------------------------

RECORD: dict[str, Any] = {
    "description": "Which boat is the longest?", "label": ["Heron"], "type": ["ranking"], "source": "cmat",
    "table": {"table_name": "boats", "table_info": {
        "columns": [{"name": "Name", "type": "TEXT"}, {"name": "Length", "type": "INT"}],
        "rows": [["Heron", 12], ["Wren", None]]}},
    "add_description": "The name of this table is boats, and the headers of this table are Name,Length.",
    "sql": {"query": "SELECT Name FROM boats ORDER BY Length+0 DESC LIMIT 1;"},
}  # fmt: skip


def write(folder: Path, *records: Any) -> Path:
    path = folder / "standard.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    change = {**RECORD, "type": ["UPDATE"], "label": ["UPDATE boats SET Length = 13 WHERE Name = 'nobody'"]}
    change["answer_md5"] = table_hash([("Heron", "12"), ("Wren", None)])
    wrong = {**change, "answer_md5": "[('0',)]", "label": ["UPDATE boats SET Lengt = 1"]}
    pair = {
        **RECORD,
        "table": [RECORD["table"], {**RECORD["table"], "table_name": "b"}],
        "evidence": "longest means Length",
    }
    write(tmp_path, RECORD, change, wrong, pair)
    tasks = open_tasks(tmp_path)
    assert tasks.sizes() == {"test": 4}
    assert tasks.official
    assert tasks.name.startswith("dbbench-")
    first, second, third, fourth = tasks.split("test")
    assert first.payload["tables"] == [["boats", ["Name", "Length"], [["Heron", "12"], ["Wren", None]]]]
    assert second.payload["defects"] == ["the stored hash is that of the untouched table"]
    assert [text.split(":")[0] for text in third.payload["defects"]] == [
        "the gold statement fails", "the gold statement does not give the stored hash",
    ]  # fmt: skip
    assert fourth.instruction.startswith("Evidence about the question: longest means Length\nWhich boat")
    env = gym.make("cmat/DB-v0", source=tmp_path, split="test", memory=None)
    env.reset(options={"task": 3})
    assert env.step("Operation\n```sql\nSHOW TABLES\n```")[0] == "[('b',), ('boats',)]"


@pytest.mark.parametrize(
    "spoil",
    [
        {"table": {"table_name": "t"}}, {"label": "Heron"}, {"type": []}, {"description": None},
        {"type": ["INSERT"], "answer_md5": None}, {"table": 3},
    ],
)  # fmt: skip
def test_damaged_files_are_refused_with_the_line(tmp_path: Path, spoil: dict[str, Any]) -> None:
    path = write(tmp_path, RECORD, {**RECORD, **spoil})
    with pytest.raises(TaskError, match=r"standard\.jsonl: line 1 is not a DBBench record"):
        OfficialDBTasks(path)


def test_a_missing_source_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"holds no DBBench: expected dev\.jsonl or standard\.jsonl"):
        OfficialDBTasks(tmp_path)
