"""The embedded engine and MariaDB agree, on a sample: `benchmarks/db_differential.py` runs thousands of statements."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmat_gym.envs.db.backend import Backend
from cmat_gym.envs.db.dialect.differential import compare
from cmat_gym.envs.db.dialect.engine import Engine
from cmat_gym.envs.db.dialect.grammar import TABLES, Grammar, sample_tables

KNOWN = {"equal texts stand for each other", "order within equal keys"}
"""Differences in what MySQL leaves open: which of several equal texts is shown, or comes first."""


def test_generated_statements_agree(server: Backend) -> None:
    chance, ours = random.Random(20), Engine("mariadb")
    different = []
    for number in range(300):
        if number % 20 == 0 or (different and not different[-1][0]):
            tables = sample_tables(chance)
            ours.load("db", tables)
            server.load("db", tables)
        verdict = compare(ours, server, Grammar(chance).statement())
        if not verdict.agrees:
            different.append(verdict)
            server.load("db", tables)
            ours.load("db", tables)
    unknown = [verdict for verdict in different if verdict.kind not in KNOWN]
    assert len(different) <= 3, different
    assert len(unknown) <= 1, unknown


def test_hypothesis_finds_no_difference(server: Backend) -> None:
    """Where it does, it shrinks the statement."""
    ours = Engine("mariadb")

    @settings(max_examples=50, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def run(chance: random.Random) -> None:
        tables = sample_tables(chance)
        ours.load("db", tables)
        server.load("db", tables)
        verdict = compare(ours, server, Grammar(chance).statement())
        assert verdict.agrees or verdict.kind in KNOWN, verdict

    run()


def test_the_comparison_sees_differences(server: Backend) -> None:
    """A comparison that can only agree proves nothing."""
    tables = sample_tables(random.Random(1))
    ours = Engine("mariadb")
    ours.load("db", tables)
    server.load("db", tables)
    assert compare(ours, server, "SELECT Name FROM teams").agrees
    ours.execute("UPDATE teams SET Name = 'other'")
    assert compare(ours, server, "SELECT Name FROM teams").kind == "result"
    assert compare(ours, server, "UPDATE teams SET City = 'x' WHERE 1 = 0").kind == "table"
    ours.execute("DROP TABLE teams")
    assert compare(ours, server, "SELECT Name FROM teams").kind == "error"


WORDS = (
    "JOIN", "LEFT JOIN", "RIGHT JOIN", "GROUP BY", "HAVING", "UNION", "EXISTS", "NOT IN", "> ALL", "= ANY", "WITH",
    "LIMIT", "DISTINCT", "INSERT", "UPDATE", "DELETE", "CASE", "REGEXP", "LIKE", "BETWEEN", "SHOW", "DESCRIBE",
)  # fmt: skip


def test_the_grammar_covers_the_language() -> None:
    chance = random.Random(0)
    text = " ".join(Grammar(chance).statement() for _ in range(1000)).upper()
    for word in WORDS:
        assert word in text
    assert set(TABLES) == {"teams", "players", "games"}
    assert Grammar(random.Random(3)).statement() == Grammar(random.Random(3)).statement()
