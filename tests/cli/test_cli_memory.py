"""`cmat-gym memory show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cmat_gym.cli.main import main
from cmat_gym.core.memory import LessonStore


@pytest.fixture
def file(tmp_path: Path) -> str:
    store = LessonStore(capacity=9, half_life=1.0)
    store.add("Check the price before you buy.", "buy red shoes")
    store.episodes = 4
    store.add("Search with [bold]short\x1b[31m words.", "buy sandals")
    store.save(tmp_path / "memory.json")
    return str(tmp_path / "memory.json")


def test_lessons_are_shown_best_retained_first(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "show", file]) == 0
    shown = capsys.readouterr().out
    assert "2 of 2 lessons; room for 9; 4 episodes lived" in shown
    assert shown.index("[bold]short") < shown.index("Check the price")
    assert "\x1b" not in shown
    assert "0.06" in shown, "2^(-4 episodes / (half-life 1 · strength 1))"


def test_as_json_with_a_query_and_a_limit(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "show", file, "--query", "what price is right", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [lesson["context"] for lesson in data["lessons"]] == ["buy red shoes"]
    assert data["lessons"][0]["retention"] == 2.0**-4
    assert data["lessons"][0]["relevance"] > 0
    assert main(["memory", "show", file, "--limit", "1", "--json"]) == 0
    assert [lesson["context"] for lesson in json.loads(capsys.readouterr().out)["lessons"]] == ["buy sandals"]


def test_what_is_no_memory_is_refused(tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    for words, message in (
        (["nowhere.json"], "There is no file"),
        ([str(tmp_path / "other.json")], "is not a lesson store"),
        ([file, "--limit", "0"], "at least 1"),
    ):
        assert main(["memory", "show", *words]) == 2
        assert message in capsys.readouterr().err
