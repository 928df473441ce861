"""Backends: branches, pickles, isolation on a real server, and the whole contract once more on MariaDB."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import CHECKS
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import MissingExtraError
from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.engine import Table
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.env import DBEnv
from cmat_gym.envs.db.mariadb import shared_server
from cmat_gym.envs.db.server import DSN, ServerBackend, parse_dsn
from tests.db.samples import BOATS, CREW, ON_MARIADB


def test_a_branch_goes_its_own_way(backend: Backend) -> None:
    backend.execute("UPDATE boats SET Port = 'x'")
    branch = backend.dump()
    backend.execute("DROP TABLE crew")
    backend.execute("DELETE FROM boats")
    backend.restore("db", branch)
    assert [row[1] for row in backend.rows("boats")] == ["x"] * 5
    assert backend.rows("crew") == list(CREW.rows)
    assert backend.dump() == branch
    backend.execute("INSERT INTO crew VALUES ('dee', 'wren', '5')")
    assert backend.rows("crew") == [*CREW.rows, ("dee", "wren", "5")]


def test_changes_are_noticed(backend: Backend) -> None:
    for statement, changes in (
        ("SELECT 1", False), ("SHOW TABLES", False), ("DESCRIBE boats", False), ("UPDATE boats SET Port = 'x'", True),
        ("CREATE TABLE t (a TEXT)", True), ("DROP TABLE t", True), ("DELETE FROM crew", True),
    ):  # fmt: skip
        before = backend.changes
        backend.execute(statement)
        assert (backend.changes != before) == changes, statement


def test_a_failed_statement_changes_nothing(backend: Backend) -> None:
    """Not even the rows before the one that fails."""
    before = backend.dump()
    for statement in (
        "UPDATE boats SET Port = (SELECT Name FROM crew)",
        "INSERT INTO crew VALUES (1, 2, 3), (4, 5, (SELECT Name FROM boats))",
        "UPDATE boats SET Port = CAST(Length AS UNSIGNED) - 13", "DELETE FROM boats WHERE Name REGEXP '['",
    ):  # fmt: skip
        with pytest.raises(MySQLError):
            backend.execute(statement)
        assert backend.dump() == before


def test_pickling_takes_the_content_along(backend: Backend) -> None:
    backend.execute("UPDATE boats SET Port = 'x'")
    copy = pickle.loads(pickle.dumps(backend))
    assert copy.dump() == backend.dump()
    copy.execute("DELETE FROM boats")
    assert len(backend.rows("boats")) == 5
    assert copy.execute("SELECT DATABASE()") == [("db",)]
    copy.close()


def test_statements_of_other_threads_do_not_matter() -> None:
    """An environment made in one thread is stepped in another, as vector environments do."""
    from concurrent.futures import ThreadPoolExecutor

    env = DBEnv(split="dev")
    env.reset(options={"task": 0})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(env.step, env.expert_action()).result()[0].startswith("[")


# A real server --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql://root:pw@db.example:3307", DSN("db.example", 3307, "root", "pw")),
        ("mysql://a%40b:p%3Aw@h", DSN("h", 3306, "a@b", "p:w")),
        ("mariadb://root@localhost?socket=/tmp/my.sock", DSN("localhost", 3306, "root", "", "/tmp/my.sock")),
    ],
)
def test_dsn(text: str, expected: DSN) -> None:
    assert parse_dsn(text) == expected


def test_a_missing_driver_names_the_extra() -> None:
    program = "import sys; sys.modules['pymysql'] = None; from cmat_gym.envs.db.env import DBEnv; DBEnv(backend='mysql://r@h')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'cmat-gym[mysql]'" in done.stderr
    assert MissingExtraError.__name__ in done.stderr


def test_an_account_sees_its_own_schema_only(mariadb: Backend) -> None:
    other = open_backend("mariadb")
    try:
        other.load("db", [Table("secret", ("a",), (("1",),))])
        mariadb.load("db", [BOATS])
        assert isinstance(other, ServerBackend)
        assert mariadb.execute("SHOW DATABASES") == [("db",), ("information_schema",)]
        assert mariadb.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()") == [
            ("boats",)
        ]
        assert mariadb.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user LIKE '%root%'") == [(0,)]
        for statement, code in (
            (f"SELECT * FROM {other.schema}.secret", 1142), ("SELECT * FROM mysql.user", 1142),
            ("CREATE DATABASE x", 1044),
            (f"USE {other.schema}", 1044), ("CREATE USER x", 1227), ("SET GLOBAL max_connections = 1", 1227),
            ("CREATE VIEW v AS SELECT 1", 1142), ("CREATE TEMPORARY TABLE boats (a INT)", 1044),
            ("SELECT 1 INTO OUTFILE '/tmp/cheated'", 1227), ("GRANT ALL ON *.* TO CURRENT_USER", 1045),
            ("CREATE TRIGGER t BEFORE INSERT ON boats FOR EACH ROW SET @a = 1", 1142),
            ("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE boats", 4166),
        ):  # fmt: skip
            with pytest.raises(MySQLError) as caught:
                mariadb.execute(statement)
            assert caught.value.code == code, (statement, str(caught.value))
            assert "cmat_" not in str(caught.value).replace(other.schema, ""), "the name of the real schema leaks"
        assert mariadb.execute("SELECT LOAD_FILE('/etc/passwd')") == [(None,)]
    finally:
        other.close()


def test_an_agent_that_cuts_its_own_line_goes_on(mariadb: Backend) -> None:
    mariadb.load("db", [BOATS])
    with pytest.raises(MySQLError, match="1317"):
        mariadb.execute("KILL CONNECTION_ID()")
    assert mariadb.execute("SELECT COUNT(*) FROM boats") == [(5,)]


def test_nothing_of_a_session_lasts_longer_than_an_episode(mariadb: Backend) -> None:
    mariadb.load("db", [BOATS])
    mariadb.execute("SET @x = 5")
    mariadb.execute("SET sql_mode = 'ANSI_QUOTES'")
    mariadb.execute("CREATE TABLE left_over (a INT)")
    mariadb.load("db", [BOATS])
    assert mariadb.execute('SELECT @x, "x"') == [(None, "x")]
    assert mariadb.execute("SHOW TABLES") == [("boats",)]


def test_a_server_refuses_to_run_for_ever(mariadb: Backend) -> None:
    slow = ServerBackend(DSN("localhost", 0, "root", "", shared_server().socket), timeout=0.3)
    slow.load("db", [BOATS])
    with pytest.raises(MySQLError, match="1969"):
        slow.execute("SELECT COUNT(*) FROM " + ", ".join(f"boats b{number}" for number in range(12)))
    assert len(slow.execute("SELECT 1 FROM boats a, boats b, boats c, boats d, boats e")) == 1000
    slow.close()


def test_closing_leaves_nothing_on_the_server(mariadb: Backend) -> None:
    assert isinstance(mariadb, ServerBackend)
    made = open_backend("mariadb")
    assert isinstance(made, ServerBackend)
    made.load("db", [BOATS])
    name, schema = made._name, made.schema
    assert (schema,) in mariadb._do("SHOW DATABASES")
    made.close()
    assert (schema,) not in mariadb._do("SHOW DATABASES")
    assert mariadb._do("SELECT COUNT(*) FROM mysql.user WHERE user = %s", [name]) == [(0,)]


def test_both_backends_play_the_same_game(mariadb: Backend) -> None:
    """Gold plans, detours and errors: observation by observation."""
    envs = [gym.make("cmat/DB-v0", split="dev", memory=None, backend=backend) for backend in (None, "mariadb")]
    for task in range(60):
        for env in envs:
            env.reset(options={"task": task})
        payload = base_env(envs[0]).task.payload
        names = [table[0] for table in payload["tables"]]
        statements = [
            f"SELECT * FROM {names[0]}",
            "SHOW TABLES",
            f"DESCRIBE {names[-1]}",
            f"SELECT nothing FROM {names[0]}_",
        ]
        for statement in [*statements, payload["sql"]]:
            results = [env.step(f"Operation\n```sql\n{statement}\n```")[0] for env in envs]
            assert results[0] == results[1], statement
        last = [env.step(base_env(env).expert_action()) for env in envs]
        assert last[0][1] == last[1][1] == 1.0
    for env in envs:
        env.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_contract_on_mariadb(mariadb: Backend, check: Callable[[str], None]) -> None:
    check(ON_MARIADB)
