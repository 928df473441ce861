"""Compares the embedded database with a real MariaDB: results, error numbers and tables, statement by statement.

CMAT_GYM_DATA=… python benchmarks/db_differential.py                    # official tasks, 6,000 + 600 statements
python benchmarks/db_differential.py --statements 500 --seed 3 --show 20

Statements come from a seeded grammar (a part of them rewritten by sqlglot's generator), and a smaller number from
hypothesis, which drives the same grammar. Every disagreement is counted under the class it belongs to.
"""

from __future__ import annotations

import argparse
import os
import random
import warnings
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.differential import Verdict, compare
from cmat_gym.envs.db.dialect.engine import Engine
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.dialect.grammar import Grammar, sample_tables
from cmat_gym.envs.db.expert import payload_tables
from cmat_gym.envs.db.official import OfficialDBTasks
from cmat_gym.envs.db.scorer import table_hash

TABLES_LAST = 20  # statements until the tables are drawn anew


class Tally:
    """Verdicts by class."""

    def __init__(self, ours: Engine, theirs: Backend) -> None:
        self.ours, self.theirs = ours, theirs
        self.counts: Counter[str] = Counter()
        self.shown: list[Verdict] = []
        self._left = 0

    def one(self, chance: random.Random) -> None:
        """Draw a statement, run it on both sides, and note what came of it."""
        if not self._left:
            tables = sample_tables(chance)
            self.ours.load("db", tables)
            self.theirs.load("db", tables)
            self._left = TABLES_LAST
        verdict = compare(self.ours, self.theirs, Grammar(chance).statement())
        self.counts[verdict.kind if verdict.kind != "error" else self._errors(verdict)] += 1
        self._left = self._left - 1 if verdict.agrees else 0  # after a difference the tables may differ
        if not verdict.agrees:
            self.shown.append(verdict)

    def renew(self) -> None:
        """Draw new tables before the next statement."""
        self._left = 0

    @staticmethod
    def _errors(verdict: Verdict) -> str:
        """Two different errors, or an error on one side only."""
        sides = [side.isdigit() for side in (verdict.ours, verdict.theirs)]
        if all(sides):
            return f"error {verdict.ours} here, {verdict.theirs} there"
        return f"error {verdict.ours} here only" if sides[0] else f"error {verdict.theirs} there only"

    def report(self, title: str, show: int) -> None:
        """Print the table, and some disagreements."""
        total = sum(self.counts.values())
        agreed = self.counts["same"] + self.counts["order"]
        print(f"\n{title}: {total:,} statements, {agreed / total:.2%} agree (target >= 99.5 %)")
        for kind, count in self.counts.most_common():
            print(f"  {count:>6}  {kind}")
        for verdict in self.shown[:show]:
            print(f"\n{verdict.kind}: {verdict.sql}\n  here  {verdict.ours}\n  there {verdict.theirs}")
        self.counts.clear()
        self.shown.clear()


def official(path: Path, ours: Engine, theirs: Backend) -> None:
    """Run the gold statement of every official task on both sides."""
    tasks = OfficialDBTasks(path)
    for split, size in tasks.sizes().items():
        same = hashes = changing = labels = queries = 0
        defects: list[str] = []
        for task in tasks.split(split):
            payload = task.payload
            outcomes: list[object] = []
            for side in (ours, theirs):
                try:
                    side.load("db", payload_tables(payload))
                    outcomes.append(side.execute(payload["sql"]))
                except MySQLError as error:
                    outcomes.append(error.code)
            same += outcomes[0] == outcomes[1]
            defects += [f"{task.id}: {text}" for text in payload["defects"]]
            if "md5" in payload:
                changing += 1
                tables = [table_hash(side.rows(payload["table"])) for side in (ours, theirs)]
                hashes += tables == [payload["md5"]] * 2
            else:
                queries += 1
                labels += (
                    isinstance(outcomes[0], list) and [str(v) for row in outcomes[0] for v in row] == payload["answer"]
                )
        print(f"\n{tasks.name}, {split}: {size} records; gold statement has the same outcome on both sides: {same}")
        print(f"  changing tasks: both sides give the stored hash {hashes} of {changing}")
        print(f"  queries: gold SELECT prints the label {labels} of {queries} (most gold SELECTs are malformed)")
        for text in defects:
            print(f"  {text}")


def by_hypothesis(tally: Tally, count: int) -> None:
    """The same grammar with hypothesis for its dice."""

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=False))
    def run(chance: random.Random) -> None:
        tally.renew()  # hypothesis wants every example to depend on nothing before it
        tally.one(chance)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()


def main() -> None:
    """Print the official part, then the generated parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--statements", type=int, default=6000)
    parser.add_argument("--hypothesis", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many of the disagreements")
    parser.add_argument("--backend", default="mariadb", help="mariadb, or a DSN")
    parser.add_argument("--source", type=Path, help="official files; by default those of CMAT_GYM_DATA")
    arguments = parser.parse_args()
    folder = os.environ.get("CMAT_GYM_DATA")
    source = arguments.source or (Path(folder) / "db" if folder else None)
    ours, theirs = Engine("mariadb"), open_backend(arguments.backend)
    try:
        if source is not None:
            official(source, ours, theirs)
        tally = Tally(ours, theirs)
        chance = random.Random(arguments.seed)
        for _ in range(arguments.statements):
            tally.one(chance)
        if arguments.statements:
            tally.report(f"seeded grammar, seed {arguments.seed}", arguments.show)
        if arguments.hypothesis:
            by_hypothesis(tally, arguments.hypothesis)
            tally.report("driven by hypothesis", arguments.show)
    finally:
        theirs.close()


if __name__ == "__main__":
    main()
