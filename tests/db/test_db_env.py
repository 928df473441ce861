"""The environment as an agent meets it: what it may write, what it reads, and attempts to cheat."""

from __future__ import annotations

import json
import math
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import InvalidAction, UnknownNameError, UsageError
from cmat_gym.envs.db.env import DBEnv
from cmat_gym.envs.db.records import CHANGING

DB = "cmat/DB-v0"


def sql(text: str) -> str:
    return f"Operation\n```sql\n{text}\n```"


def answer(*values: str) -> str:
    return f"Answer\nFinal Answer: {json.dumps(values)}"


@pytest.fixture
def env() -> DBEnv:
    return DBEnv(split="dev", max_turns=200)


def find(env: DBEnv, *kinds: str) -> int:
    """The first task of one of these types."""
    return next(index for index, task in enumerate(env.split) if task.payload["type"] in kinds)


def start(env: DBEnv, *kinds: str) -> dict[str, Any]:
    env.reset(options={"task": find(env, *kinds)})
    return dict(env.task.payload)


# Talking --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [
        "Operation\n```sql\nSELECT 1\n```", "operation\n```SQL\n  SELECT 1  \n```\n", "Operation ```sql SELECT 1 ```",
        "Thought: let me see\nAction: Operation\n```sql\nSELECT 1\n```", "Action: Operation\n\n```sql\nSELECT\n1\n```",
    ],
)  # fmt: skip
def test_operations_are_read(env: DBEnv, action: str) -> None:
    env.reset(seed=0)
    observation, reward, terminated, _, info = env.step(action)
    assert (observation, reward, terminated, info["valid_action"]) == ("[(1,)]", 0.0, False, True)


@pytest.mark.parametrize(
    "action",
    [
        "SELECT 1", "```sql\nSELECT 1\n```", "Operation\nSELECT 1", "Operation\n```\nSELECT 1\n```",
        "Operation\n```sql\n\n```",
        "Operation\n```sql\nSELECT 1\n```\nand more", "Answer", "Answer\n", "Final Answer: x",
        "Answer\nFinal Answer: x\nOperation",
        "operate\n```sql\nSELECT 1\n```",
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_says_why(env: DBEnv, action: str) -> None:
    env.reset(seed=0)
    observation, reward, terminated, _, info = env.step(action)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.startswith("Invalid action: ")


PIECES = ["Operation", "Answer", "\n", "```sql", "```", "Final Answer:", "SELECT 1", '["a"]', " ", "Action:"]


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=()), max_size=120)
    | st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
)
def test_the_parser_reads_or_refuses(text: str) -> None:
    try:
        call = _parser._parse(text)
    except InvalidAction:
        return
    assert call.name in ("execute_sql", "commit_final_answer")
    assert _parser._parse(_parser._render(call)) == call, "what is read is written the same way"


_parser = DBEnv()


def test_results_errors_and_cuts(env: DBEnv) -> None:
    payload = start(env, "counting")
    name, columns, rows = payload["tables"][0]
    assert env.step(sql(f"SELECT * FROM {name}"))[0] == (
        text if len(text := str([tuple(row) for row in rows])) <= 800 else text[:800] + "[TRUNCATED]"
    )
    assert env.step(sql("SELECT REPEAT('x', 2000)"))[0] == "[('" + "x" * 797 + "[TRUNCATED]"
    assert env.step(sql("SELECT nope FROM " + name))[0] == "1054 (42S22): Unknown column 'nope' in 'field list'"
    assert env.step(sql(f"UPDATE {name} SET {columns[1]} = 'x'"))[0] == "[]"
    assert env.step(sql(f"SELECT * FROM {name} WHERE 1 = 0"))[0] == "[]"
    assert env.summary() == "done, no rows"


def test_tools_take_lists_of_values() -> None:
    env = gym.make(DB, protocol="tools", memory=None, split="dev")
    world = base_env(env)
    assert isinstance(world, DBEnv)
    for wrong in (["a", None], [["a"]], [True], "a", {"a": 1}):
        env.reset(seed=1)
        call = {"name": "commit_final_answer", "arguments": {"answers": wrong}}
        _, _, terminated, _, info = env.step(json.dumps(call))
        assert (terminated, info["valid_action"]) == (False, False)
    env.reset(options={"task": find(world, "counting")})
    gold = world.task.payload["answer"][0]
    _, reward, terminated, _, _ = env.step(
        json.dumps({"name": "commit_final_answer", "arguments": {"answers": [int(gold)]}})
    )
    assert (reward, terminated) == (1.0, True)


def test_callers_mistakes() -> None:
    for keywords, words in (({"backend": "postgres"}, "embedded"), ({"rules": "loose"}, "function_calling")):
        with pytest.raises(UnknownNameError, match=words):
            DBEnv(**keywords)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"mysql://user:…@host:3306/db.* is no DSN"):
        DBEnv(backend="mysql://user:secret@host:3306/db")


# Progress -------------------------------------------------------------------------------------------------------------


def test_any_statement_that_shows_the_answer_counts_as_progress(env: DBEnv) -> None:
    payload = start(env, "aggregation-SUM")
    assert env.cost_to_go() == 2
    env.step(sql("SELECT 1"))
    assert env.cost_to_go() == 2
    env.step(sql(f"SELECT {payload['answer'][0]}"))
    assert env.cost_to_go() == 1
    env.step(answer("wrong"))
    assert math.isinf(env.cost_to_go())


def test_the_expert_puts_right_what_went_wrong(env: DBEnv) -> None:
    for spoil in (
        ["DELETE FROM {table}"], ["UPDATE {table} SET name = 'x'"], ["DROP TABLE {table}"],
        ["ALTER TABLE {table} DROP COLUMN name"],
        ["{gold}", "{gold}"], ["INSERT INTO {table} SELECT * FROM {table}"],
    ):  # fmt: skip
        for kind in CHANGING:
            payload = start(env, kind)
            for statement in spoil:
                env.step(sql(statement.format(table=payload["table"], gold=payload["sql"])))
            cost, turns, success = env.cost_to_go(), 0, False
            while not success:
                *_, info = env.step(env.expert_action())
                turns, success = turns + 1, info["success"]
                assert turns <= 4
            assert turns == cost


# Cheating -------------------------------------------------------------------------------------------------------------

QUERY_CHEATS = [
    answer(), answer("None"), answer("nan"), answer("inf"), answer("0"), answer(""), answer("*"), answer("%"),
    answer("[0]"),
    "Answer\nFinal Answer: {x for x in ().__class__.__bases__[0].__subclasses__()}",
    "Answer\nFinal Answer: [__import__('os').system('echo cheated > /tmp/cheated')]",
    "Answer\nFinal Answer: self.task.payload['answer']", "Answer\nFinal Answer: [float('nan')]",
    "Answer\nFinal Answer: " + "[" * 9000,
    "Answer\nFinal Answer: lambda: True", "Answer\nFinal Answer: type('A', (), {'__eq__': lambda *a: True})()",
    "Answer\nFinal Answer: [" + ", ".join(f'"{n}"' for n in range(2000)) + "]",
]  # fmt: skip


@pytest.mark.parametrize("rules", ["strict", "function_calling", "v0.2"])
@pytest.mark.parametrize("cheat", QUERY_CHEATS, ids=lambda text: text[8:60])
def test_answers_that_are_no_answers(cheat: str, rules: str) -> None:
    env = DBEnv(split="dev", rules=rules)
    for kind in ("other", "counting", "ranking", "aggregation-AVG", "comparison"):
        start(env, kind)
        _, reward, _, _, info = env.step(cheat)
        assert (reward, info["success"]) == (0.0, False)


@pytest.mark.parametrize("rules", ["strict", "function_calling"])
def test_a_change_that_was_not_made_does_not_count(env: DBEnv, rules: str) -> None:
    env = DBEnv(split="dev", rules=rules)
    for kind in CHANGING:
        payload = start(env, kind)
        table = payload["table"]
        for statements in (
            [], [f"DROP TABLE {table}"], [f"DELETE FROM {table}"], [f"SELECT '{payload['sql'][:6]}'"],
            [f"EXPLAIN {payload['sql']}"], [payload["sql"] + " -- done", f"UPDATE {table} SET name = 'x'"],
            ["CREATE TABLE other (a TEXT)", f"INSERT INTO other VALUES ('{payload['md5'][3:9]}')"],
            [f"ALTER TABLE {table} RENAME TO old", f"CREATE TABLE {table} (name TEXT)"],
            [f"INSERT INTO {table} (name) VALUES ('x')"], [f"CREATE TEMPORARY TABLE {table} (a TEXT)"],
        ):  # fmt: skip
            env.reset(options={"task": env.task})
            for statement in statements:
                env.step(sql(statement))
            _, reward, terminated, _, info = env.step(answer("done"))
            assert (reward, terminated, info["success"]) == (0.0, True, False), statements
            assert info["difference"]


def test_the_difference_names_the_rows(env: DBEnv) -> None:
    payload = start(env, "INSERT")
    *_, info = env.step(answer("done"))
    assert "1 expected rows are missing" in info["difference"]
    env.reset(options={"task": env.task})
    env.step(sql(f"DROP TABLE {payload['table']}"))
    *_, info = env.step(answer("done"))
    assert info["difference"] == f"table {payload['table']} is gone"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM sqlite_master", "SELECT * FROM t0", "SELECT sql FROM sqlite_schema", "PRAGMA table_info(t0)",
        "ATTACH DATABASE '/tmp/cheat.db' AS x", "SELECT load_extension('x')", "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/cheated', 'x')", "VACUUM INTO '/tmp/cheated'", "SELECT * FROM pragma_table_info('t0')",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE x", "SELECT 1 INTO OUTFILE '/tmp/cheated'",
        "SELECT * FROM mysql.user",
        "SELECT * FROM information_schema.processlist", "CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; END",
        "CREATE VIEW v AS SELECT 1", "SELECT my_first(name) FROM x", "SELECT my_one(1)", "SELECT sqlite_version()",
        "SET GLOBAL a = 1",
        "SELECT answer FROM gold", "SHOW GRANTS", "SELECT fts3_tokenizer('x')", "CREATE USER x",
        "GRANT ALL ON *.* TO x", "KILL 1",
        "SELECT randomblob(1000000000)", "SELECT zeroblob(1000000000)",
        "SELECT char(1,2) FROM generate_series(1,100000000)",
    ],
)  # fmt: skip
def test_the_engine_underneath_is_out_of_reach(env: DBEnv, statement: str) -> None:
    env.reset(seed=0)
    before = env.backend.dump()
    observation, reward, terminated, _, _ = env.step(sql(statement))
    assert (reward, terminated) == (0.0, False)
    assert observation[:4].isdigit() or observation in ("[]", "[(None,)]"), observation
    assert "1105" not in observation
    assert env.backend.dump() == before


def test_the_answer_is_nowhere_in_the_database_but_in_the_rows(env: DBEnv) -> None:
    """No table, schema or variable holds the gold statement or its hash."""
    payload = start(env, "UPDATE")
    for look in (
        "SHOW TABLES",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SHOW DATABASES",
    ):
        observation = env.step(sql(look))[0]
        assert payload["md5"] not in observation
        assert payload["content"] not in observation
        assert payload["sql"] not in observation


def test_what_one_agent_does_touches_no_other() -> None:
    first, second = DBEnv(split="dev"), DBEnv(split="dev")
    for env in (first, second):
        env.reset(options={"task": 0})
    table = first.task.payload["tables"][0][0]
    first.step(sql(f"DROP TABLE {table}"))
    assert second.step(sql(f"SELECT COUNT(*) > 0 FROM {table}"))[0] == "[(1,)]"
    first.reset(options={"task": 0})
    assert first.step(sql(f"SELECT COUNT(*) > 0 FROM {table}"))[0] == "[(1,)]"
