"""One HTML file that shows runs: figures with intervals, the learning curve, errors, and episodes to step through.

The file needs no network and no server. What agents and pages wrote is untrusted: figures are escaped, episodes travel
as JSON that cannot close its script element and reach the page as text nodes, rendered pages stand in frames without
any right, and a content security policy allows exactly the one script and the style sheets shipped here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, Unpack

from cmat_gym.core.errors import InvalidAction, UsageError
from cmat_gym.core.memory import LessonStore
from cmat_gym.core.protocol import PROTOCOLS, split_thought
from cmat_gym.core.trajectory import Trajectory, Turn
from cmat_gym.evaluation import report_parts
from cmat_gym.evaluation.analysis import MemoryParts, ending, split_memory
from cmat_gym.evaluation.curve import Curve
from cmat_gym.evaluation.evaluate import Evaluation

__all__ = ["PageSource", "ReportOptions", "report_html", "write_report"]

PageSource: TypeAlias = Callable[[Trajectory], Sequence[str] | None]
"""Gives the HTML of the page before every turn and of the last one; None where an episode has no pages."""

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class ReportOptions(TypedDict, total=False):
    """What a report can show besides the evaluations; see `report_html`."""

    title: str
    curve: Curve | None
    trends: report_parts.Trends | None
    settings: Mapping[str, object] | None
    memory: LessonStore | None
    episodes: int
    pages: PageSource | None


def write_report(path: str | Path, evaluations: Sequence[Evaluation], **options: Unpack[ReportOptions]) -> None:
    """Write `report_html` to a file."""
    text = report_html(evaluations, **options)
    # A lone surrogate in an agent's text has no UTF-8 form.
    Path(path).write_text(text, encoding="utf-8", errors="replace")


def report_html(
    evaluations: Sequence[Evaluation],
    *,
    title: str = "",
    curve: Curve | None = None,
    trends: report_parts.Trends | None = None,
    settings: Mapping[str, object] | None = None,
    memory: LessonStore | None = None,
    episodes: int = 24,
    pages: PageSource | None = None,
) -> str:
    """Build the report.

    Args:
        evaluations: Runs or stages in order; those on one panel stand side by side, each panel has its own table.
        title: Heading; the world's id where empty.
        curve: The learning curve, if there was learning.
        trends: Name -> (step, value) of whatever else was recorded over the training.
        settings: Name -> value of what the run was made with.
        memory: Long-term memory to show.
        episodes: Tasks of a panel to include for replay at most, spread evenly over it.
        pages: Gives the rendered pages of an episode.

    Raises:
        UsageError: No evaluations.
    """
    if not evaluations:
        raise UsageError("A report needs at least one evaluation")
    groups = _by_panel(evaluations)
    panels = [runs[0].panel for runs in groups]
    style, script = _asset("report.css"), _asset("report_timeline.js") + _asset("report.js")
    payload = _payload(groups, episodes, pages)
    worlds = dict.fromkeys(panel.env_id for panel in panels)
    styles = [style, *dict.fromkeys(text for page in payload["pages"] for text in _STYLE.findall(page))]
    places = {
        "title": escape(title or ", ".join(worlds)),
        "panel": "<br>".join(escape(panel.describe()) for panel in panels),
        "by_world": report_parts.by_world(groups),
        "figures": report_parts.figures(groups),
        "curve": report_parts.learning(curve, trends or {}),
        "analysis": report_parts.analysis(groups),
        "memory": report_parts.memory(memory),
        "details": report_parts.all_tasks(groups) + report_parts.settings_list(settings or {}),
        "footer": escape(_footer(evaluations)),
        "payload": _script_safe(payload),
        "style": style,
        "style_hashes": " ".join(f"'sha256-{_csp_hash(text)}'" for text in styles),
        "script": script,
        "script_hash": _csp_hash(script),
    }
    # One pass: what is filled in is never searched for further places.
    return _PLACE.sub(lambda match: places[match[1]], _asset("report.html"))


def _by_panel(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Runs that played the same tasks, together; in the order in which the panels appear."""
    groups: dict[object, list[Evaluation]] = {}
    for run in evaluations:
        groups.setdefault((run.panel.env_id, run.panel.sha256, run.panel.task_ids), []).append(run)
    return list(groups.values())


def _footer(evaluations: Sequence[Evaluation]) -> str:
    hashes = dict.fromkeys(run.panel.sha256 for run in evaluations if run.panel.sha256)
    versions = dict.fromkeys(run.version for run in evaluations)
    return f"cmat-gym {', '.join(versions)}" + (f"; panel SHA-256 {', '.join(hashes)}" if hashes else "")


# The episodes, for the script ----------------------------------------------------------------------------------------


def _payload(groups: Sequence[Sequence[Evaluation]], limit: int, pages: PageSource | None) -> dict[str, Any]:
    texts: dict[str, int] = {}  # a page that many turns show is stored once

    def place_pages(trajectory: Trajectory) -> list[int]:
        shown = None if pages is None else pages(trajectory)
        return [texts.setdefault(page, len(texts)) for page in shown or ()]

    tasks = [task for group, runs in enumerate(groups) for task in _tasks(runs, group, limit, place_pages)]
    names = [{"world": runs[0].panel.env_id, "stages": [run.name for run in runs]} for runs in groups]
    return {"groups": names, "tasks": tasks, "pages": list(texts)}


def _tasks(
    runs: Sequence[Evaluation], group: int, limit: int, place_pages: Callable[[Trajectory], list[int]]
) -> list[dict[str, Any]]:
    """The episodes to replay: tasks that every run kept its episode of, evenly spread."""
    if not all(run.trajectories for run in runs):
        return []
    count = min(limit, len(runs[0].trajectories))
    chosen = [position * len(runs[0].trajectories) // count for position in range(count)]
    return [
        {
            "group": group,
            "id": runs[0].trajectories[at].task_id,
            "instruction": runs[0].trajectories[at].instruction,
            "runs": [
                {
                    **_episode(run.trajectories[at]),
                    "ending": ending(run.records[at]),
                    "pages": place_pages(run.trajectories[at]),
                }
                for run in runs
            ],
        }
        for at in chosen
    ]


def _episode(trajectory: Trajectory) -> dict[str, Any]:
    has_memory = trajectory.env_kwargs.get("memory", "dual") is not None
    return {
        "score": trajectory.score,
        "success": trajectory.success,
        "error": trajectory.error,
        "truncated": bool(trajectory.turns) and trajectory.turns[-1].truncated,
        "final": _seen(trajectory.final_observation, has_memory),
        "turns": [_turn(turn, trajectory.protocol, has_memory) for turn in trajectory.turns],
    }


def _turn(turn: Turn, protocol: str, has_memory: bool) -> dict[str, Any]:
    thought, action = "", turn.action
    if protocol == PROTOCOLS["text"] and turn.valid_action:
        try:
            thought, action = split_thought(turn.action)
        except InvalidAction:  # a wrapper may have carried out something else than the agent wrote
            action = turn.action
    notes = dict(turn.notes)
    review = notes.pop("review", None)
    executed = notes.pop("executed", True)
    value = None if turn.sample is None else turn.sample.value
    return {
        "seen": _seen(turn.observation, has_memory),
        "thought": thought,
        "action": action,
        "reward": turn.reward,
        "score": turn.score,
        "valid": turn.valid_action,
        "executed": bool(executed),
        "review": review if isinstance(review, Mapping) else None,
        "value": value if value is not None or not isinstance(review, Mapping) else review.get("value"),
        "notes": {name: note if isinstance(note, str) else json.dumps(note) for name, note in notes.items()},
    }


def _seen(text: str, has_memory: bool) -> dict[str, Any]:
    """An observation, the memory's parts apart."""
    parts = split_memory(text) if has_memory else MemoryParts(text)
    return {name: part for name, part in parts._asdict().items() if part or name == "observation"}


def _script_safe(data: object) -> str:
    """JSON that is safe inside a script element: no character that could open or close a tag or a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return resources.files("cmat_gym.evaluation").joinpath("data", name).read_text(encoding="utf-8")
