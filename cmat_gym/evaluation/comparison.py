"""Two recorded runs on the same tasks, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation, compare, read_evaluation
from cmat_gym.evaluation.grid import Grid
from cmat_gym.evaluation.recording import read_settings, recorded_runs
from cmat_gym.evaluation.statistics import Interval
from cmat_gym.evaluation.tables import describe_rules, format_interval

__all__ = ["MEASURES", "Comparison", "compare_folders", "comparison_grid"]

MEASURES = ("score", "success", "turns", "invalid_actions")


class Comparison(NamedTuple):
    """Two runs on one panel, and how much the second differs from the first.

    Attributes:
        first: The run to compare with.
        second: The run in question.
        differences: Measure -> mean of second minus first over tasks, with its paired bootstrap interval.
    """

    first: Evaluation
    second: Evaluation
    differences: Mapping[str, Interval]

    @classmethod
    def of(cls, first: Evaluation, second: Evaluation) -> Comparison:
        """Compare two runs.

        Raises:
            UsageError: They played different panels.
        """
        return cls(first, second, {measure: compare(first, second, measure) for measure in MEASURES})

    def wins(self) -> tuple[int, int, int]:
        """Tasks on which the second run scored more, the same, and less."""
        gains = [b.score - a.score for a, b in zip(self.first.records, self.second.records, strict=True)]
        return sum(gain > 0 for gain in gains), sum(gain == 0 for gain in gains), sum(gain < 0 for gain in gains)

    def to_json(self) -> dict[str, Any]:
        """The comparison as a JSON-able dict."""
        better, equal, worse = self.wins()
        return {
            "first": _identity(self.first),
            "second": _identity(self.second),
            "panel": self.first.panel.to_json(),
            "differences": {measure: interval._asdict() for measure, interval in self.differences.items()},
            "tasks": {"better": better, "equal": equal, "worse": worse},
        }


def compare_folders(first: str | Path, second: str | Path) -> list[Comparison]:
    """Compare the runs in two folders, world by world.

    Args:
        first: Folder of one recorded run, or of one run for each of several worlds.
        second: The same for the runs in question.

    Raises:
        UsageError: A folder holds no run or several of one world, the two share no world, or a world was played on
            different panels.
        TaskError: A run is damaged or incomplete.
    """
    left, right = _by_world(Path(first)), _by_world(Path(second))
    if left.keys() != right.keys():
        raise UsageError(
            f"{str(first)!r} holds runs of {', '.join(left)}, but {str(second)!r} of {', '.join(right)}: "
            "give folders with runs of the same worlds"
        )
    return [Comparison.of(read_evaluation(left[world]), read_evaluation(right[world])) for world in left]


def comparison_grid(pair: Comparison) -> Grid:
    """The comparison as a table."""
    rows = [
        [
            measure.replace("_", " ").capitalize(),
            *(f"{_mean(run, measure):.3f}" for run in (pair.first, pair.second)),
            format_interval(interval, signed=True),
        ]
        for measure, interval in pair.differences.items()
    ]
    better, equal, worse = pair.wins()
    rules = dict.fromkeys(f"{run.name}: {describe_rules(run)}" for run in (pair.first, pair.second))
    notes = [
        f"{pair.second.name} scores more on {better} tasks, the same on {equal}, less on {worse}.",
        "Means over tasks. Brackets: 95 % interval of the paired difference (bootstrap over tasks).",
        *rules,
    ]
    headings = ["", f"A: {pair.first.name}", f"B: {pair.second.name}", "Difference"]
    return Grid(headings, rows, pair.first.panel.describe(), notes)


def _by_world(folder: Path) -> dict[str, Path]:
    """World -> folder of its only run."""
    found: dict[str, Path] = {}
    for run in recorded_runs(folder):
        world = read_settings(run).panel.env_id
        if world in found:
            raise UsageError(
                f"{str(folder)!r} holds several runs of {world}, such as {str(found[world])!r} and {str(run)!r}: "
                "name the folder of the one that is meant"
            )
        found[world] = run
    return dict(sorted(found.items()))


def _mean(run: Evaluation, measure: str) -> float:
    values: Sequence[float] = [float(getattr(record, measure)) for record in run.records]
    return sum(values) / len(values)


def _identity(run: Evaluation) -> dict[str, Any]:
    data = run.to_json()
    return {name: data[name] for name in ("name", "protocol", "prompt", "policy", "env_kwargs", "version", "totals")}
