"""The HTML report: self-contained, complete, and closed to what agents write."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reviewed import reviewed_episodes

from cmat_gym.core.errors import UsageError
from cmat_gym.core.memory import LessonStore
from cmat_gym.core.roles import Info
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.curve import Curve, Point, Series, curve_png, curve_svg
from cmat_gym.evaluation.evaluate import Evaluation, evaluate
from cmat_gym.evaluation.recorded import evaluations_of
from cmat_gym.evaluation.report import report_html, write_report

ATTACK = '</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>&amp;"\u2028\ud800'
CURVE = Curve("iteration", "score", [Series("dev", [Point(0, 0.2, 0.1, 0.3), Point(5, 0.6, 0.5, 0.7)])], {"base": 0.1})


class Script:
    """Plays fixed lines, one a turn, then stops."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """The line of each episode's turn."""
        return [self.lines[info["turn"]] if info["turn"] < len(self.lines) else "stop" for info in infos]


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and the text inside each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def runs(counter_id: str) -> list[Evaluation]:
    return [
        evaluate(Script(ATTACK), counter_id, 10, name="base"),
        evaluate(Script("Thought: on we go.\nAction: up", "down"), counter_id, 10, name=f"tuned {ATTACK}"),
    ]


def payload_of(text: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="payload">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    data: dict[str, Any] = json.loads(match[1])
    return data


def text_of(seen: dict[str, Any]) -> str:
    """The observation as `DualMemory` had put it together."""
    parts = ([f"Task: {seen['task']}"] if "task" in seen else []) + (
        ["Recent turns:", *seen["turns"]] if "turns" in seen else []
    )
    return "\n".join([*parts, f"Observation: {seen['observation']}"])


def test_the_payload_holds_every_turn_of_both_runs_side_by_side(runs: list[Evaluation]) -> None:
    data = payload_of(report_html(runs))
    assert data["groups"] == [{"world": runs[0].panel.env_id, "stages": [run.name for run in runs]}]
    assert [task["id"] for task in data["tasks"]] == list(runs[0].panel.task_ids)
    for position, task in enumerate(data["tasks"]):
        for run, shown in zip(runs, task["runs"], strict=True):
            trajectory = run.trajectories[position]
            assert task["instruction"] == trajectory.instruction
            assert shown["score"] == trajectory.score
            assert text_of(shown["final"]) == trajectory.final_observation
            assert [text_of(turn["seen"]) for turn in shown["turns"]] == [t.observation for t in trajectory.turns]
            assert [turn["reward"] for turn in shown["turns"]] == [t.reward for t in trajectory.turns]
    attacked, opening = data["tasks"][0]["runs"][0]["turns"][0], data["tasks"][0]["runs"][1]["turns"][0]
    assert (attacked["action"], attacked["valid"]) == (ATTACK, False)
    assert (opening["thought"], opening["action"]) == ("on we go.", "up")


def test_what_agents_write_never_becomes_markup(runs: list[Evaluation]) -> None:
    text = report_html(runs, title=ATTACK, curve=CURVE, settings={ATTACK: ATTACK})
    page = Page(text)
    scripts = page.all("script")
    assert [script.get("type") for script in scripts] == ["application/json", None]
    assert not page.all("img")
    assert "alert(1)" not in "".join(page.texts["script"][1:]), "only the shipped script may be code"
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert re.search(r"[<>&]", re.findall(r'id="payload">(.*?)</script>', text, re.DOTALL)[0]) is None


def test_the_file_needs_nothing_from_outside_and_allows_only_its_own_script(runs: list[Evaluation]) -> None:
    text = report_html(runs, curve=CURVE)
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), f"{name}={attributes.get(name)!r} leaves the file"
    assert "@import" not in text
    assert "url(" not in text
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    for tag in ("style", "script"):
        shipped = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(shipped) == 1
        digest = base64.b64encode(hashlib.sha256(shipped[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_figures_stand_in_the_table_without_any_script(runs: list[Evaluation]) -> None:
    page = Page(report_html(runs, title="A run", curve=CURVE, settings={"seed": 7}))
    cells = page.texts["td"] + page.texts["small"]
    assert f"{runs[1].score.estimate:.3f}" in cells
    assert f"[{runs[1].score.low:.3f}, {runs[1].score.high:.3f}]" in cells
    assert "A run" in page.texts["h1"]
    assert "seed" in page.texts["dt"]
    assert page.all("html")[0] == {"lang": "en"}
    assert {attributes["scope"] for attributes in page.all("th")} == {"row", "col"}
    assert all("aria-label" in button or "id" in button for button in page.all("button"))


def test_long_panels_show_an_even_choice_of_episodes_and_every_task_in_figures(counter_id: str) -> None:
    run = evaluate(Script(), counter_id, 40)
    text = report_html([run], episodes=4)
    assert [task["id"] for task in payload_of(text)["tasks"]] == [run.panel.task_ids[i] for i in (0, 10, 20, 30)]
    assert all(task_id in text for task_id in run.panel.task_ids)


def test_runs_without_stored_episodes_still_have_figures(runs: list[Evaluation]) -> None:
    bare = [Evaluation.from_json(run.to_json()) for run in runs]
    text = report_html(bare)
    assert payload_of(text)["tasks"] == []
    assert f"{runs[0].score.estimate:.3f}" in text


def test_runs_on_several_panels_stand_in_one_report_by_world(runs: list[Evaluation], counter_id: str) -> None:
    other = evaluate(Script(), counter_id, 9, name="base")
    text = report_html([*runs, other])
    assert [group["stages"] for group in payload_of(text)["groups"]] == [[run.name for run in runs], ["base"]]
    assert [task["group"] for task in payload_of(text)["tasks"]] == [0] * 10 + [1] * 9
    page = Page(text)
    assert "Score by world" in page.texts["h2"]
    assert runs[0].panel.describe() in page.texts["h3"]
    assert other.panel.describe() in page.texts["h3"]
    assert "Score by world" not in Page(report_html(runs)).texts["h2"]
    with pytest.raises(UsageError, match="at least one evaluation"):
        report_html([])


def test_rendered_pages_are_stored_once_and_their_styles_are_allowed(runs: list[Evaluation]) -> None:
    first = "<!DOCTYPE html><html><head><style>p{color:red}</style></head><body></script></body></html>"

    def pages(trajectory: Trajectory) -> list[str] | None:
        return [first, *["second"] * len(trajectory.turns)] if trajectory.policy == "base" else None

    text = report_html(runs, pages=pages)
    data = payload_of(text)
    assert data["pages"] == [first, "second"]
    assert data["tasks"][0]["runs"][0]["pages"] == [0, *[1] * len(runs[0].trajectories[0].turns)]
    assert data["tasks"][0]["runs"][1]["pages"] == []
    assert base64.b64encode(hashlib.sha256(b"p{color:red}").digest()).decode() in text


def test_memory_checker_and_trends_are_shown_where_they_were_recorded(counter_id: str) -> None:
    store = LessonStore()
    store.add(f"Count first. {ATTACK}", "Bring the counter to 7.")
    episodes = reviewed_episodes(counter_id, store)
    text = report_html(
        evaluations_of(episodes), memory=store, trends={"critic/value": [(0, 0.1), (1, 0.4)], "policy/kl": [(0, 0.0)]}
    )
    turns = payload_of(text)["tasks"][0]["runs"][0]["turns"]
    assert [turn["executed"] for turn in turns[:2]] == [False, True], "the first action is held back once"
    assert turns[0]["review"] == {"accept": False, "reward": -1.0, "value": 0.25, "feedback": "not yet"}
    assert turns[0]["value"] == 0.75, "the sampling pass's own value comes before the review's"
    assert turns[0]["seen"]["lessons"] == [store.lessons[0].text]
    page = Page(text)
    assert store.lessons[0].text in "".join(page.texts["th"])
    assert "critic/value" in page.texts["text"]
    assert "policy/kl" not in page.texts["text"], "one point is no trend"


def test_the_file_is_valid_utf8_whatever_was_written(runs: list[Evaluation], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", runs, title="\ud800 lone")
    assert "? lone" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_curve_places_values_on_its_axes() -> None:
    svg = curve_svg(CURVE)
    # y = 1 lies at 32, y = 0 at 260; x from 44 to 790.
    assert 'cx="44.0" cy="214.4"' in svg
    assert 'cx="790.0" cy="123.2"' in svg
    assert 'class="reference" x1="44" x2="790" y1="237.2" y2="237.2"' in svg
    assert 'points="44.0,191.6 790.0,100.4 790.0,146.0 44.0,237.2"' in svg
    assert "dev, iteration 5: 0.600 [0.500, 0.700]" in svg


def test_a_curve_of_one_point_is_drawn_and_one_of_none_is_refused() -> None:
    assert 'cx="44.0"' in curve_svg(Curve("x", "y", [Series("a", [Point(3, 0.5)])]))
    with pytest.raises(UsageError, match="at least one point"):
        curve_svg(Curve("x", "y", []))


def test_the_png_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the curve as PNG needs matplotlib, of the extra `train`")
    curve_png(CURVE, tmp_path / "curve.png", title="Score")
    head = (tmp_path / "curve.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (1200, 600)
