"""Many worlds in one table: a row for each policy, a column for each panel, as the paper's Table 2 has it.

Official and builtin tasks never share a table, and neither two panels nor two sets of rules of a world share a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.registry import WORLDS
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.grid import Grid
from cmat_gym.evaluation.presets import AGENTBENCH_WEIGHTS, agentbench_overall, headline
from cmat_gym.evaluation.statistics import Interval
from cmat_gym.evaluation.tables import NOTHING, describe_rules

__all__ = ["BUILTIN", "OFFICIAL", "overview", "percent"]

OFFICIAL, BUILTIN = "Official tasks", "Builtin tasks"
_ORDER = {world.id: number for number, world in enumerate(WORLDS)}


class _Column(NamedTuple):
    """What makes two figures comparable: the same tasks under the same rules."""

    env_id: str
    panel: str
    rules: str


def overview(evaluations: Sequence[Evaluation]) -> list[Grid]:
    """A table for the official tasks and one for the builtin ones, as far as there are runs of either.

    A cell is the mean official score of the world in percent with its 95 % interval. `Mean` is over a row's worlds,
    where the row has all of them; `AgentBench` is the benchmark's own weighted score, for official tasks only: its
    weights were measured on those.
    """
    grids = []
    for official, title in ((True, OFFICIAL), (False, BUILTIN)):
        if runs := [run for run in evaluations if run.panel.official is official]:
            grids.append(_grid(runs, title, official=official))
    return grids


def percent(interval: Interval) -> str:
    """An interval of scores in percent, as `51.2 [43, 59]`: more digits would not fit a terminal, nor mean anything."""
    estimate, low, high = (100 * value for value in interval)
    return f"{estimate:.1f} [{low:.0f}, {high:.0f}]"


def _grid(runs: Sequence[Evaluation], title: str, *, official: bool) -> Grid:
    columns = sorted(dict.fromkeys(map(_column, runs)), key=lambda column: (_ORDER.get(column.env_id, 99), column))
    cells: dict[str, dict[_Column, Interval]] = {}
    for run in runs:
        cells.setdefault(run.name, {})[_column(run)] = headline(run)
    totals = ["Mean", "AgentBench"] if official else ["Mean"]
    one_each = len({column.env_id for column in columns}) == len(columns)
    rows = [
        [
            name,
            *(percent(row[column]) if column in row else NOTHING for column in columns),
            *_totals(row, len(columns) if one_each else 0)[: len(totals)],
        ]
        for name, row in cells.items()
    ]
    headings = ["", *_headings(columns, one_each=one_each), *totals]
    return Grid(headings, rows, title, _notes(runs, columns, official=official))


def _column(run: Evaluation) -> _Column:
    return _Column(run.panel.env_id, run.panel.sha256, describe_rules(run))


def _headings(columns: Sequence[_Column], *, one_each: bool) -> list[str]:
    """The worlds' short names; a world with several panels or rules gets them numbered."""
    names = [column.env_id.rpartition("/")[2].rpartition("-v")[0] for column in columns]
    return names if one_each else [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _totals(row: dict[_Column, Interval], expected: int) -> list[str]:
    """The plain mean and AgentBench's; nothing where worlds are missing, as a mean over others would mislead."""
    scores = {column.env_id: 100 * interval.estimate for column, interval in row.items()}
    if not expected or len(row) < expected:
        return [NOTHING, NOTHING]
    overall = agentbench_overall(scores)
    return [f"{sum(scores.values()) / len(scores):.1f}", NOTHING if overall is None else f"{overall:.2f}"]


def _notes(runs: Sequence[Evaluation], columns: Sequence[_Column], *, official: bool) -> list[str]:
    first = {_column(run): run for run in reversed(runs)}
    notes = [
        "Mean official score in percent [95 % interval: Wilson where scores are 0 or 1, else bootstrap over tasks]."
    ]
    if official:
        weights = ", ".join(f"{weight:g}" for weight in AGENTBENCH_WEIGHTS.values())
        notes.append(f"AgentBench: mean of score / ({weights}) over the six worlds.")
    failed = [f"{run.name} on {run.panel.env_id}: {run.errors}" for run in runs if run.errors]
    if failed:
        notes.append(f"Episodes ended by an error, counted as 0: {'; '.join(failed)}.")
    return notes + [f"({n}) {first[column].panel.describe()} · {column.rules}" for n, column in enumerate(columns, 1)]
