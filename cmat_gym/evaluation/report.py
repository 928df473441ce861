"""One HTML file that shows a run: figures with intervals, the learning curve, and episodes to step through.

The file needs no network and no server. What agents and pages wrote is untrusted: figures are escaped, episodes travel
as JSON that cannot close its script element and reach the page as text nodes, and a content security policy allows
exactly the one script and the one style sheet shipped here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import InvalidAction, UsageError
from cmat_gym.core.protocol import PROTOCOLS, split_thought
from cmat_gym.core.trajectory import Trajectory, Turn
from cmat_gym.evaluation.curve import Curve, curve_svg
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.statistics import Interval
from cmat_gym.evaluation.tables import HEADINGS, caption, rows

__all__ = ["report_html", "write_report"]

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def write_report(
    path: str | Path,
    evaluations: Sequence[Evaluation],
    *,
    title: str = "",
    curve: Curve | None = None,
    settings: Mapping[str, object] | None = None,
    episodes: int = 24,
) -> None:
    """Write `report_html` to a file."""
    text = report_html(evaluations, title=title, curve=curve, settings=settings, episodes=episodes)
    # A lone surrogate in an agent's text has no UTF-8 form.
    Path(path).write_text(text, encoding="utf-8", errors="replace")


def report_html(
    evaluations: Sequence[Evaluation],
    *,
    title: str = "",
    curve: Curve | None = None,
    settings: Mapping[str, object] | None = None,
    episodes: int = 24,
) -> str:
    """Build the report.

    Args:
        evaluations: Runs or stages in order, all on one panel, so that their episodes stand side by side.
        title: Heading; the world's id where empty.
        curve: The learning curve, if there was learning.
        settings: Name -> value of what the run was made with.
        episodes: Tasks to include for replay at most, spread evenly over the panel.

    Raises:
        UsageError: No evaluations, or they played different panels.
    """
    figures = _figures(evaluations)
    panel = evaluations[0].panel
    if any(run.panel.sha256 != panel.sha256 for run in evaluations):
        raise UsageError("A report shows runs on one panel; write one report for each panel")
    style, script = _asset("report.css"), _asset("report.js")
    payload = {"stages": [run.name for run in evaluations], "tasks": _tasks(evaluations, episodes)}
    places = {
        "title": escape(title or panel.env_id),
        "panel": escape(panel.describe()),
        "figures": figures,
        "curve": "" if curve is None else _curve(curve),
        "details": _all_tasks(evaluations) + _settings(settings or {}),
        "footer": escape(f"cmat-gym {evaluations[0].version}; panel SHA-256 {panel.sha256}"),
        "payload": _script_safe(payload),
        "style": style,
        "style_hash": _csp_hash(style),
        "script": script,
        "script_hash": _csp_hash(script),
    }
    # One pass: what is filled in is never searched for further places.
    return _PLACE.sub(lambda match: places[match[1]], _asset("report.html"))


def _figures(evaluations: Sequence[Evaluation]) -> str:
    body: list[str] = []
    for number, (run, row) in enumerate(zip(evaluations, rows(evaluations), strict=True)):
        swatch = f'<span class="swatch {_color(number)}"></span>'
        cells = [_forest(run.score, number), *(_two_lines(cell) for cell in row[1:])]
        body.append(_table_row(swatch + escape(row.name), cells))
    note = "<br>".join(escape(line) for line in caption(evaluations).splitlines()[1:])
    return (
        _table(["Run", "Score, 0 to 1", *HEADINGS[1:]], body)
        + f'<p class="note">{note} Score gained: paired difference to the first run, task by task.</p>'
    )


def _table(headings: Sequence[str], body: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    return (
        f'<div class="card scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
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
        f'<line class="range {_color(number)}" x1="{low}" x2="{high}" y1="12" y2="12"/>'
        f'<circle class="dot {_color(number)}" cx="{middle}" cy="12" r="5"/></svg>'
    )


def _curve(curve: Curve) -> str:
    return (
        '<section aria-labelledby="curve-heading"><h2 id="curve-heading">Learning curve</h2>'
        f'<div class="card scroll">{curve_svg(curve)}</div></section>'
    )


def _all_tasks(evaluations: Sequence[Evaluation]) -> str:
    body = [
        _table_row(escape(records[0].task_id), [f"{r.score:.3f}<small>{r.turns} turns</small>" for r in records])
        for records in zip(*(run.records for run in evaluations), strict=True)
    ]
    table = _table(["Task", *(run.name for run in evaluations)], body)
    return f"<details><summary>All {len(body)} tasks</summary>{table}</details>"


def _settings(settings: Mapping[str, object]) -> str:
    if not settings:
        return ""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in settings.items())
    return f'<details><summary>Settings</summary><div class="card"><dl>{items}</dl></div></details>'


def _tasks(evaluations: Sequence[Evaluation], limit: int) -> list[dict[str, Any]]:
    """The episodes to replay: tasks that every run kept its episode of, evenly spread."""
    if not all(run.trajectories for run in evaluations):
        return []
    episodes = list(zip(*(run.trajectories for run in evaluations), strict=True))
    count = min(limit, len(episodes))
    chosen = [episodes[position * len(episodes) // count] for position in range(count)]
    return [
        {"id": runs[0].task_id, "instruction": runs[0].instruction, "runs": [_episode(run) for run in runs]}
        for runs in chosen
    ]


def _episode(trajectory: Trajectory) -> dict[str, Any]:
    return {
        "score": trajectory.score,
        "success": trajectory.success,
        "error": trajectory.error,
        "truncated": bool(trajectory.turns) and trajectory.turns[-1].truncated,
        "final": trajectory.final_observation,
        "turns": [_turn(turn, trajectory.protocol) for turn in trajectory.turns],
    }


def _turn(turn: Turn, protocol: str) -> dict[str, Any]:
    thought, action = "", turn.action
    if protocol == PROTOCOLS["text"] and turn.valid_action:
        try:
            thought, action = split_thought(turn.action)
        except InvalidAction:  # a wrapper may have carried out something else than the agent wrote
            action = turn.action
    return {
        "observation": turn.observation,
        "thought": thought,
        "action": action,
        "reward": turn.reward,
        "score": turn.score,
        "valid": turn.valid_action,
        "notes": {name: value if isinstance(value, str) else json.dumps(value) for name, value in turn.notes.items()},
    }


def _script_safe(data: object) -> str:
    """JSON that is safe inside a script element: no character that could open or close a tag or a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _two_lines(cell: str) -> str:
    estimate, bracket, bounds = cell.partition(" [")
    return escape(estimate) + (f"<small>[{escape(bounds)}</small>" if bracket else "")


def _color(number: int) -> str:
    return f"s{number % 6 + 1}"


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return resources.files("cmat_gym.evaluation").joinpath("data", name).read_text(encoding="utf-8")
