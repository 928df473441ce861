"""Evaluations as tables: for the terminal (rich) and as Markdown.

A row is a run, a column a measure. Builtin and official tasks never share a column, and neither do two worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation, compare
from cmat_gym.evaluation.statistics import Interval

__all__ = ["Row", "caption", "check_one_kind", "format_interval", "markdown_table", "rows", "terminal_table"]

HEADINGS = ("", "Score", "Success", "Invalid actions", "Turns", "Tokens", "Seconds", "Score gained")


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
            tokens="–" if run.sampled_tokens is None else f"{run.sampled_tokens:,}",
            seconds=f"{run.seconds:.1f}",
            gain="–"
            if run is first or run.panel.sha256 != first.panel.sha256
            else format_interval(compare(first, run), signed=True),
        )
        for run in evaluations
    ]


def terminal_table(evaluations: Sequence[Evaluation], title: str = "", *, width: int = 100) -> Table:
    """The table for a rich console of `width` columns; below 100 it leaves tokens and seconds out."""
    # `Text` keeps rich from reading markup out of names; an interval goes under its estimate, which saves width.
    table = Table(
        title=Text(title) if title else None,
        caption=Text(caption(evaluations), justify="left"),
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )
    shown = [column for column, heading in enumerate(HEADINGS) if width >= 100 or heading not in ("Tokens", "Seconds")]
    for column in shown:
        heading = HEADINGS[column]
        table.add_column(
            heading.replace(" ", "\n"), justify="right" if heading else "left", no_wrap=bool(heading), overflow="fold"
        )
    for row in rows(evaluations):
        table.add_row(*(Text(row[column].replace(" [", "\n[")) for column in shown))
    return table


def markdown_table(evaluations: Sequence[Evaluation]) -> str:
    """The table in Markdown, its caption included."""
    lines = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)]]
    lines += [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows(evaluations)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + f"\n\n{caption(evaluations)}\n"


def caption(evaluations: Sequence[Evaluation]) -> str:
    """What the figures were measured on, and what the brackets mean."""
    panels = dict.fromkeys(run.panel.describe() for run in evaluations)
    return "\n".join([*panels, "Brackets: 95 % intervals (bootstrap over tasks; Wilson for success)."])


def format_interval(interval: Interval, *, percent: bool = False, signed: bool = False) -> str:
    """An interval as `0.512 [0.430, 0.590]`, `51.2 % [43.0, 59.0]` or `+0.512 [0.430, 0.590]`."""
    sign = "+" if signed else ""
    if percent:
        estimate, low, high = (100 * value for value in interval)
        return f"{estimate:{sign}.1f} % [{low:.1f}, {high:.1f}]"
    return f"{interval.estimate:{sign}.3f} [{interval.low:.3f}, {interval.high:.3f}]"
