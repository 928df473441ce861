"""Tables: the figures they print, and the figures they refuse to put side by side."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation, TaskRecord
from cmat_gym.evaluation.panel import Panel
from cmat_gym.evaluation.statistics import Interval
from cmat_gym.evaluation.tables import format_interval, markdown_table, terminal_table

PANEL = Panel("local/Counter-v0", "builtin-v0", False, "dev", tuple(f"t{i}" for i in range(4)), "ab" * 32)


def run_of(name: str, scores: list[float], panel: Panel = PANEL) -> Evaluation:
    records = tuple(
        TaskRecord(f"t{i}", score, score == 1.0, turns=2, invalid_actions=0, truncated=False)
        for i, score in enumerate(scores)
    )
    return Evaluation(name, panel, "text-v1", {}, records, num_envs=1, seconds=1.5)


def test_markdown_holds_the_figures_the_gain_and_the_panel() -> None:
    text = markdown_table([run_of("base", [0, 0, 0, 0]), run_of("tuned", [1, 1, 1, 1])])
    header, rule, base, tuned, *_ = text.splitlines()
    assert header.split("|")[2].strip() == "Score"
    assert rule == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert [cell.strip() for cell in base.split("|")[1:4]] == ["base", "0.000 [0.000, 0.000]", "0.0 % [0.0, 49.0]"]
    assert [cell.strip() for cell in tuned.split("|")[1:4]] == [
        "tuned",
        "1.000 [1.000, 1.000]",
        "100.0 % [51.0, 100.0]",
    ]
    assert tuned.split("|")[8].strip() == "+1.000 [1.000, 1.000]"
    assert "builtin builtin-v0/dev · 4 tasks · panel abababababab" in text


def test_names_cannot_break_the_table() -> None:
    nasty = "a|b\n[red]x[/red]"
    text = markdown_table([run_of(nasty, [1, 0, 0, 0])])
    assert "| a\\|b [red]x[/red] |" in text
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(terminal_table([run_of("[red]x[/red]", [1, 0, 0, 0])], title="[b]title"))
    shown = console.export_text()
    assert "[red]x[/red]" in shown
    assert "[b]title" in shown


@pytest.mark.parametrize("other", [
    replace(PANEL, official=True),
    replace(PANEL, env_id="local/Other-v0"),
    replace(PANEL, source="builtin-v1"),
])  # fmt: skip
def test_what_cannot_be_compared_never_shares_a_column(other: Panel) -> None:
    with pytest.raises(UsageError, match="cannot share a column"):
        markdown_table([run_of("a", [1, 1, 1, 1]), run_of("b", [1, 1, 1, 1], other)])
    with pytest.raises(UsageError, match="cannot share a column"):
        terminal_table([run_of("a", [1, 1, 1, 1]), run_of("b", [1, 1, 1, 1], other)])


def test_other_panels_of_one_source_may_stand_in_one_table_but_are_not_paired() -> None:
    test_panel = replace(PANEL, split="test", sha256="cd" * 32)
    text = markdown_table([run_of("a", [1, 1, 1, 1]), run_of("b", [1, 1, 1, 1], test_panel)])
    assert text.splitlines()[3].rstrip("| ").endswith("–")
    assert "builtin-v0/dev" in text
    assert "builtin-v0/test" in text


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        markdown_table([])


def test_intervals_as_text() -> None:
    interval = Interval(0.5124, 0.4301, 0.5899)
    assert format_interval(interval) == "0.512 [0.430, 0.590]"
    assert format_interval(interval, percent=True) == "51.2 % [43.0, 59.0]"
    assert format_interval(Interval(-0.1, -0.2, 0.05), signed=True) == "-0.100 [-0.200, 0.050]"
