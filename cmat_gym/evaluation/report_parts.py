"""The parts of the report that need no script: tables, figures by world, how episodes ended, memory, settings.

Everything here is HTML as text; whatever comes from a run goes through `escape`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from cmat_gym.core.memory import LessonStore
from cmat_gym.evaluation.analysis import ENDINGS, circles, endings, lengths, refusals
from cmat_gym.evaluation.charts import histogram_svg, shares_svg, trend_svg
from cmat_gym.evaluation.curve import Curve, curve_svg
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.statistics import Interval
from cmat_gym.evaluation.tables import HEADINGS, caption, format_interval, rows

__all__ = ["all_tasks", "analysis", "by_world", "color", "figures", "learning", "memory", "settings_list"]

Trends = Mapping[str, Sequence[tuple[float, float]]]


def figures(groups: Sequence[Sequence[Evaluation]]) -> str:
    """One table for each panel, with a heading where there are several."""
    return "".join(
        (f"<h3>{escape(runs[0].panel.describe())}</h3>" if len(groups) > 1 else "") + _panel(runs) for runs in groups
    )


def by_world(groups: Sequence[Sequence[Evaluation]]) -> str:
    """Mean score of each run on each panel, side by side; nothing where there is only one panel."""
    if len(groups) < 2:
        return ""
    names = list(dict.fromkeys(run.name for runs in groups for run in runs))
    found = {(run.name, place): run.score for place, runs in enumerate(groups) for run in runs}
    body = [
        _table_row(
            escape(name),
            [
                _forest(found[name, place], number) + _two_lines(format_interval(found[name, place]))
                if (name, place) in found
                else "–"
                for place in range(len(groups))
            ],
        )
        for number, name in enumerate(names)
    ]
    headings = [f"{runs[0].panel.env_id} ({_kind(runs[0])})" for runs in groups]
    return (
        '<section aria-labelledby="worlds-heading"><h2 id="worlds-heading">Score by world</h2>'
        f"{_table(['Run', *headings], body)}</section>"
    )


def learning(curve: Curve | None, trends: Trends) -> str:
    """The learning curve and, in small, the other values over time."""
    parts = [f'<div class="card scroll">{curve_svg(curve)}</div>'] if curve is not None else []
    drawn = [f'<div class="card">{trend_svg(name, points)}</div>' for name, points in trends.items() if len(points) > 1]
    if drawn:
        parts.append(f'<div class="trends">{"".join(drawn)}</div>')
    if not parts:
        return ""
    return (
        f'<section aria-labelledby="curve-heading"><h2 id="curve-heading">Learning curve</h2>{"".join(parts)}</section>'
    )


def analysis(groups: Sequence[Sequence[Evaluation]]) -> str:
    """How the episodes of every run ended, how long they were, and what was refused most."""
    keys = "".join(
        f'<span><span class="key e{place}"></span>{escape(name)}</span>' for place, name in enumerate(ENDINGS)
    )
    cards = "".join(
        _ended(run, number, len(groups) > 1) for runs in groups for number, run in enumerate(runs) if run.records
    )
    return (
        '<section aria-labelledby="endings-heading"><h2 id="endings-heading">Lengths and errors</h2>'
        f'<p class="keys">{keys}</p><div class="cards">{cards}</div></section>'
    )


def memory(store: LessonStore | None) -> str:
    """The lessons of the long-term memory, the best retained first."""
    if store is None:
        return ""
    lessons = sorted(store.lessons, key=lambda lesson: -lesson.retention(store.episodes))
    body = [
        _table_row(
            f"{escape(lesson.text)}<small>{escape(lesson.context)}</small>",
            [f"{lesson.strength:g}", f"{lesson.retention(store.episodes):.2f}"],
        )
        for lesson in lessons
    ]
    note = f"{len(lessons)} of at most {store.capacity} lessons after {store.episodes} episodes."
    table = _table(["Lesson, and the task it comes from", "Strength", "Retention"], body) if body else ""
    return (
        '<section aria-labelledby="memory-heading"><h2 id="memory-heading">Long-term memory</h2>'
        f'<p class="note">{note}</p>{table}</section>'
    )


def all_tasks(groups: Sequence[Sequence[Evaluation]]) -> str:
    """Every task with its score and turns in every run, folded away."""
    return "".join(_all_tasks(runs, len(groups) > 1) for runs in groups)


def settings_list(settings: Mapping[str, object]) -> str:
    """What the run was made with, folded away."""
    if not settings:
        return ""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in settings.items())
    return f'<details><summary>Settings</summary><div class="card"><dl>{items}</dl></div></details>'


def color(number: int) -> str:
    """Class of the style sheet that colours a run."""
    return f"s{number % 6 + 1}"


def _panel(runs: Sequence[Evaluation]) -> str:
    body: list[str] = []
    for number, (run, row) in enumerate(zip(runs, rows(runs), strict=True)):
        cells = [_forest(run.score, number), *(_two_lines("–" if cell == "nan" else cell) for cell in row[1:])]
        body.append(_table_row(_swatch(number) + escape(row.name), cells))
    note = "<br>".join(escape(line) for line in caption(runs).splitlines()[1:])
    gained = " Score gained: paired difference to the first run, task by task." if len(runs) > 1 else ""
    table = _table(["Run", "Score, 0 to 1", *HEADINGS[1:]], body)
    return f'<div class="figures">{table}</div><p class="note">{note}{gained}</p>'


def _ended(run: Evaluation, number: int, named: bool) -> str:
    counts = endings(run.records)
    items = [f"<li>{escape(name)}: {count}</li>" for name, count in counts.items() if count]
    if run.trajectories:
        circling = sum(circles(trajectory) for trajectory in run.trajectories)
        items.append(f"<li>did the same on the same page three times or more: {circling}</li>" if circling else "")
    refused = "".join(
        f"<li><q>{escape(reason)}</q> {count} turn{'' if count == 1 else 's'}</li>"
        for reason, count in refusals(run.trajectories)
    )
    world = f"<small>{escape(run.panel.env_id)}</small>" if named else ""
    return (
        f'<article class="card ended"><h3>{_swatch(number)}{escape(run.name)}</h3>{world}{shares_svg(counts)}'
        f"<ul>{''.join(items)}</ul>{histogram_svg(lengths(run.records))}"
        + (f"<h4>Most refused</h4><ul>{refused}</ul>" if refused else "")
        + "</article>"
    )


def _all_tasks(runs: Sequence[Evaluation], named: bool) -> str:
    body = [
        _table_row(escape(records[0].task_id), [f"{r.score:.3f}<small>{r.turns} turns</small>" for r in records])
        for records in zip(*(run.records for run in runs), strict=True)
    ]
    where = f" of {escape(runs[0].panel.env_id)}" if named else ""
    table = _table(["Task", *(run.name for run in runs)], body)
    return f"<details><summary>All {len(body)} tasks{where}</summary>{table}</details>"


def _table(headings: Sequence[str], body: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    return (
        '<div class="card scroll" tabindex="0"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _table_row(head: str, cells: Sequence[str]) -> str:
    """A row of HTML cells; what goes in is escaped already."""
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _forest(interval: Interval, number: int) -> str:
    """A dot with its interval on a line from 0 to 1."""
    middle, low, high = (round(6 + 164 * min(1.0, max(0.0, value)), 1) for value in interval)
    return (
        '<svg class="forest" viewBox="0 0 176 24" aria-hidden="true">'
        '<line class="track" x1="6" x2="170" y1="12" y2="12"/>'
        f'<line class="range {color(number)}" x1="{low}" x2="{high}" y1="12" y2="12"/>'
        f'<circle class="dot {color(number)}" cx="{middle}" cy="12" r="5"/></svg>'
    )


def _two_lines(cell: str) -> str:
    estimate, bracket, bounds = cell.partition(" [")
    return escape(estimate) + (f"<small>[{escape(bounds)}</small>" if bracket else "")


def _swatch(number: int) -> str:
    return f'<span class="swatch {color(number)}"></span>'


def _kind(run: Evaluation) -> str:
    return "official" if run.panel.official else "builtin"
