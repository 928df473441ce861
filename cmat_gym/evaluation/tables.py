"""Evaluations as tables: for the terminal (rich), as Markdown and as LaTeX.

A row is a run, a column a measure. Builtin and official tasks never share a column, and neither do two worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import RenderableType

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation, compare
from cmat_gym.evaluation.grid import Grid
from cmat_gym.evaluation.statistics import Interval

__all__ = [
    "Row",
    "caption",
    "check_one_kind",
    "describe_rules",
    "format_interval",
    "grid_of",
    "latex_table",
    "markdown_table",
    "rows",
    "terminal_table",
]

HEADINGS = ("", "Score", "Success", "Invalid actions", "Turns", "Tokens", "Seconds", "Score gained")
NOTHING = "–"  # not measured, or not to be compared


class Row(NamedTuple):
    """One run as text, cell by cell, in the order of `HEADINGS`."""

    name: str
    score: str
    success: str
    invalid: str
    turns: str
    tokens: str
    seconds: str
    gain: str


def check_one_kind(evaluations: Sequence[Evaluation]) -> None:
    """Refuse to put figures under one heading that cannot be compared.

    Raises:
        UsageError: Nothing to show, builtin beside official tasks, two worlds, or two task sources.
    """
    if not evaluations:
        raise UsageError("A table needs at least one evaluation")
    kinds = {(run.panel.official, run.panel.env_id, run.panel.source) for run in evaluations}
    if len(kinds) > 1:
        names = sorted(f"{'official' if official else 'builtin'} {env} {source}" for official, env, source in kinds)
        raise UsageError(
            f"These figures cannot share a column: {'; '.join(names)}. Official and builtin tasks, and different "
            "worlds or sources, get tables of their own"
        )


def rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """The cells of a table; `gain` is the paired difference to the first run, where both played the same panel."""
    check_one_kind(evaluations)
    first = evaluations[0]
    return [
        Row(
            name=run.name + (f" ({run.errors} failed)" if run.errors else ""),
            score=format_interval(run.score),
            success=format_interval(run.success, percent=True),
            invalid=format_interval(run.invalid_rate, percent=True),
            turns=f"{run.mean_turns:.1f}",
            tokens=NOTHING if run.sampled_tokens is None else f"{run.sampled_tokens:,}",
            seconds=f"{run.seconds:.1f}",
            gain=NOTHING
            if run is first or run.panel.sha256 != first.panel.sha256
            else format_interval(compare(first, run), signed=True),
        )
        for run in evaluations
    ]


def grid_of(evaluations: Sequence[Evaluation], title: str = "") -> Grid:
    """The table before it has a form."""
    return Grid(HEADINGS, rows(evaluations), title, caption(evaluations).splitlines())


def terminal_table(evaluations: Sequence[Evaluation], title: str = "", *, width: int = 100) -> RenderableType:
    """The table for a rich console of `width` columns; below 100 it leaves tokens and seconds out."""
    grid = grid_of(evaluations, title)
    return (grid if width >= 100 else grid.without("Tokens", "Seconds")).terminal()


def markdown_table(evaluations: Sequence[Evaluation], title: str = "") -> str:
    """The table in Markdown, its caption included."""
    return grid_of(evaluations, title).markdown()


def latex_table(evaluations: Sequence[Evaluation], title: str = "") -> str:
    """The table in LaTeX, its caption included."""
    return grid_of(evaluations, title).latex()


def caption(evaluations: Sequence[Evaluation]) -> str:
    """What the figures were measured on, and what the brackets mean."""
    panels = dict.fromkeys(run.panel.describe() for run in evaluations)
    rules = dict.fromkeys(describe_rules(run) for run in evaluations)
    costs = [f"{run.name} {run.cost:.4f}" for run in evaluations if run.cost is not None]
    notes = [f"Cost: {', '.join(costs)}"] if costs else []
    return "\n".join([*panels, *rules, *notes, "Brackets: 95 % intervals (bootstrap over tasks; Wilson for success)."])


def describe_rules(run: Evaluation) -> str:
    """Grammar, prompt and settings of a run in one line; runs that differ in it are not comparable without care."""
    usual = {"source", "split", "protocol"}  # said by the panel and by the grammar's version
    settings = [f"{name}={value}" for name, value in run.env_kwargs.items() if name not in usual]
    prompt = [f"prompt {run.prompt}"] if run.prompt else []
    return " · ".join([run.protocol, *prompt, *settings])


def format_interval(interval: Interval, *, percent: bool = False, signed: bool = False) -> str:
    """An interval as `0.512 [0.430, 0.590]`, `51.2 % [43.0, 59.0]` or `+0.512 [0.430, 0.590]`."""
    sign = "+" if signed else ""
    if percent:
        estimate, low, high = (100 * value for value in interval)
        return f"{estimate:{sign}.1f} % [{low:.1f}, {high:.1f}]"
    return f"{interval.estimate:{sign}.3f} [{interval.low:.3f}, {interval.high:.3f}]"
