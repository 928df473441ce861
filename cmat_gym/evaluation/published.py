"""The paper's Table 2: its figures as published, and what this machine has recorded of its rows, each labelled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.grid import Grid
from cmat_gym.evaluation.overview import OFFICIAL, overview
from cmat_gym.evaluation.presets import agentbench_overall
from cmat_gym.evaluation.tables import NOTHING

__all__ = ["PublishedRow", "PublishedTable", "published_grid", "published_table", "recorded_grids"]

PUBLISHED, HERE = "published", "recorded here"


@dataclass(frozen=True)
class PublishedRow:
    """A model's row.

    Attributes:
        type: `API` or `OSS`.
        model: The model as the table spells it.
        version: Its version as the table spells it.
        scores: World id -> published figure in percent.
    """

    type: str
    model: str
    version: str
    scores: Mapping[str, float] = field(hash=False)

    @property
    def mean(self) -> float:
        """Plain mean over the worlds; not in the table, but the overall figure of the authors' repository."""
        return sum(self.scores.values()) / len(self.scores)


@dataclass(frozen=True)
class PublishedTable:
    """A table as published.

    Attributes:
        title: Its caption.
        source: Where it was copied from.
        columns: World id -> heading.
        rows: Its rows in order.
        notes: How far the figures can be trusted.
    """

    title: str
    source: str
    columns: Mapping[str, str]
    rows: Sequence[PublishedRow]
    notes: Sequence[str]


@cache
def published_table() -> PublishedTable:
    """Table 2 of the CMAT slides."""
    text = resources.files("cmat_gym.evaluation").joinpath("data", "table2.json").read_text(encoding="utf-8")
    data: Mapping[str, Any] = json.loads(text)
    rows = tuple(
        PublishedRow(row["type"], row["model"], row["version"], dict(zip(data["worlds"], row["scores"], strict=True)))
        for row in data["rows"]
    )
    columns = dict(zip(data["worlds"], data["columns"], strict=True))
    return PublishedTable(data["title"], data["source"], columns, rows, data["notes"])


def published_grid(table: PublishedTable) -> Grid:
    """The published figures."""
    rows = []
    for row in table.rows:
        figures = [_figure(row.scores[world]) for world in table.columns]
        rows.append([row.model, row.type, row.version, *figures, *_totals(row)])
    notes = [
        f"Source: {table.source}.",
        *table.notes,
        "Mean and AgentBench (its weighted overall score) are computed here from the published figures.",
    ]
    headings = ["Model", "Type", "Version", *table.columns.values(), "Mean", "AgentBench"]
    return Grid(headings, rows, f"Published: {table.title}", notes)


def recorded_grids(
    table: PublishedTable, policies: Mapping[PublishedRow, str], runs: Sequence[Evaluation]
) -> list[Grid]:
    """What was recorded here: official tasks with the published figures under each row, builtin tasks by themselves."""
    by_policy = {policy: row for row, policy in policies.items()}
    return [_beside(grid, table, by_policy) for grid in overview(runs)]


def _beside(grid: Grid, table: PublishedTable, by_policy: Mapping[str, PublishedRow]) -> Grid:
    if grid.title != OFFICIAL:
        note = "Builtin tasks are this package's own: no published figure compares with this table."
        return Grid(grid.headings, grid.rows, f"Recorded here: {grid.title.lower()}", [note, *grid.notes])
    worlds = {_short(world): world for world in table.columns}
    rows: list[list[str]] = []
    for cells in grid.rows:
        rows.append([f"{cells[0]}, {HERE}", *cells[1:]])
        if (row := by_policy.get(cells[0])) is not None:
            scores = [row.scores.get(worlds.get(heading.partition(" ")[0], "")) for heading in grid.headings[1:-2]]
            rows.append([f"{row.model}, {PUBLISHED}", *(_figure(score) for score in scores), *_totals(row)])
    note = (
        "Published figures: AgentBench's test tasks under version 0.2. See below for the tasks and rules of the others."
    )
    return Grid(grid.headings, rows, f"Recorded here: {grid.title.lower()}", [note, *grid.notes])


def _totals(row: PublishedRow) -> list[str]:
    overall = agentbench_overall(row.scores)
    return [f"{row.mean:.1f}", NOTHING if overall is None else f"{overall:.2f}"]


def _figure(score: float | None) -> str:
    """With one decimal or, where it was published so, with two."""
    return NOTHING if score is None else f"{score:.2f}".removesuffix("0")


def _short(world: str) -> str:
    return world.rpartition("/")[2].rpartition("-v")[0]
