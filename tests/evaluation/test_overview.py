"""The table of many worlds: what shares a column, and the published overall score."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation, TaskRecord
from cmat_gym.evaluation.grid import Grid
from cmat_gym.evaluation.overview import overview
from cmat_gym.evaluation.panel import Panel
from cmat_gym.evaluation.presets import AGENTBENCH_WEIGHTS, agentbench_overall, headline
from cmat_gym.evaluation.statistics import bootstrap_strata, wilson

WORLDS = list(AGENTBENCH_WEIGHTS)


def run_of(
    name: str, env_id: str, scores: list[float], *, official: bool = False, kinds: str = "", **env_kwargs: object
) -> Evaluation:
    panel = Panel(env_id, "v0", official, "test", tuple(map(str, range(len(scores)))), env_id + str(official))
    records = tuple(
        TaskRecord(str(i), score, score == 1.0, 2, 0, False, kind=kinds.split(",")[i] if kinds else "")
        for i, score in enumerate(scores)
    )
    return Evaluation(name, panel, "text-v1", env_kwargs, records, num_envs=1, seconds=1.0)


def test_official_and_builtin_never_share_a_table() -> None:
    runs = [
        run_of("a", "cmat/DB-v0", [1, 0]),
        run_of("a", "cmat/DB-v0", [1, 1], official=True),
        run_of("b", "cmat/DB-v0", [0, 0]),
    ]
    official, builtin = overview(runs)
    assert (official.title, builtin.title) == ("Official tasks", "Builtin tasks")
    assert [row[0] for row in official.rows] == ["a"]
    assert [row[0] for row in builtin.rows] == ["a", "b"]
    assert [row[1].partition(" ")[0] for row in (*official.rows, *builtin.rows)] == ["100.0", "50.0", "0.0"]
    assert "official v0/test" in "\n".join(official.notes)
    assert "builtin v0/test" in "\n".join(builtin.notes)


@pytest.mark.parametrize("change", [
    {"panel": replace(run_of("a", "cmat/DB-v0", [1]).panel, sha256="other")},
    {"protocol": "tools-v1"},
    {"prompt": "abc"},
    {"env_kwargs": {"max_turns": 3}},
])  # fmt: skip
def test_other_tasks_or_rules_of_a_world_get_a_column_of_their_own(change: dict[str, object]) -> None:
    first, second = run_of("a", "cmat/DB-v0", [1]), run_of("b", "cmat/DB-v0", [0])
    [grid] = overview([first, second])
    assert grid.headings == ["", "DB", "Mean"]
    [grid] = overview([first, replace(second, **change)])
    assert grid.headings == ["", "DB (1)", "DB (2)", "Mean"]
    assert sorted(row.count("–") for row in grid.rows) == [2, 2]


def test_the_overall_score_is_the_published_one() -> None:
    # Table 2's first row; its weights are those of AgentBench 0.2.
    scores = dict(zip(WORLDS, (31.6, 15.7, 25.9, 16.0, 64.1, 16.0), strict=True))
    by_hand = (31.6 / 10.8 + 15.7 / 13.0 + 25.9 / 13.9 + 16.0 / 13.0 + 64.1 / 30.7 + 16.0 / 11.6) / 6
    assert agentbench_overall(scores) == pytest.approx(by_hand)
    assert agentbench_overall(AGENTBENCH_WEIGHTS) == 1.0
    assert agentbench_overall(dict.fromkeys(WORLDS[:5], 1.0)) is None


def test_the_overall_score_stands_under_official_tasks_only() -> None:
    for official in (True, False):
        runs = [run_of("a", world, [1, 0], official=official) for world in WORLDS]
        [grid] = overview([*runs, run_of("b", WORLDS[0], [1, 1], official=official)])
        assert ("AgentBench" in grid.headings) is official
        complete, partial = grid.rows
        assert complete[7] == "50.0"
        assert partial[7] == "–", "a mean over other worlds would mislead"
        if official:
            expected = sum(50 / weight for weight in AGENTBENCH_WEIGHTS.values()) / 6
            assert complete[8] == f"{expected:.2f}"


def test_the_database_of_version_02_weighs_its_kinds_equally() -> None:
    kinds = "counting,ranking,other,other,INSERT,UPDATE"
    run = run_of("a", "cmat/DB-v0", [1, 1, 1, 1, 0, 0], kinds=kinds, rules="v0.2")
    assert headline(run).estimate == pytest.approx(1 / 3)
    assert headline(replace(run, env_kwargs={"rules": "strict"})) == wilson(4, 6)


def test_rates_get_wilsons_interval_and_means_the_bootstrap() -> None:
    assert headline(run_of("a", "cmat/OS-v0", [1, 1, 1])) == wilson(3, 3)
    graded = run_of("a", "cmat/KG-v0", [0.5, 1, 0])
    assert headline(graded) == graded.score


def test_strata_weigh_the_same_and_are_resampled_apart() -> None:
    interval = bootstrap_strata([[1.0] * 50, [0.0, 1.0] * 25])
    assert interval.estimate == 0.75
    assert 0.67 < interval.low < 0.7
    assert 0.8 < interval.high < 0.83
    assert bootstrap_strata([[1.0], [0.0]]) == (0.5, 0.5, 0.5)
    with pytest.raises(UsageError, match=r"groups of \[1, 0\]"):
        bootstrap_strata([[1.0], []])


def test_forms_of_a_grid() -> None:
    grid = Grid(["", "50 % & more"], [["a_b|c", "1.0 [0, 2]"]], "T_1", ["100 %"])
    assert grid.markdown() == "### T_1\n\n|  | 50 % & more |\n| --- | ---: |\n| a_b\\|c | 1.0 [0, 2] |\n\n100 %\n"
    latex = grid.latex()
    assert r" & 50 \% \& more \\" in latex
    assert r"a\_b|c & 1.0 [0, 2] \\" in latex
    assert r"\caption{T\_1. 100 \%}" in latex
    assert "    {}[a] & 1 \\\\\n" in Grid(["", "x"], [["[a]", "1"]]).latex()
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(grid.terminal())
    assert "a_b|c" in console.export_text()
    with pytest.raises(UsageError, match="does not fit 2 headings"):
        Grid(["", "x"], [["a"]])
