"""`cmat-gym view` on evaluations, files of episodes and runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cmat_gym.cli.main import main
from cmat_gym.core.memory import LessonStore
from cmat_gym.core.trajectory import read_trajectories, write_trajectories
from cmat_gym.evaluation.evaluate import evaluate
from cmat_gym.policies.scripted import ExpertPolicy
from cmat_gym.trainers.recipe_config import CmatConfig
from cmat_gym.trainers.run_folder import RunFolder, StageResult


@pytest.fixture(scope="module")
def out(counter_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    assert main(["eval", counter_id, "--policy", "random", "expert", "--size", "6", "--out", str(folder)]) == 0
    return folder


def payload(file: Path) -> dict[str, Any]:
    found = re.search(r'id="payload">(.*?)</script>', file.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_an_evaluation_is_written_and_opened(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["view", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "view.html")
    assert opened == [(out / "view.html").as_uri()]
    data = payload(out / "view.html")
    assert data["groups"][0]["stages"] == ["expert", "random"]
    assert len(data["tasks"]) == 6


def test_a_file_of_episodes_with_fewer_tasks_and_a_memory(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LessonStore()
    store.add("Count with care.")
    store.save(tmp_path / "memory.json")
    command = [
        "view",
        str(next(out.glob("*/expert/episodes.jsonl"))),
        "--out",
        str(tmp_path / "x.html"),
        "--episodes",
        "2",
    ]
    assert main([*command, "--memory", str(tmp_path / "memory.json"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["file"] == str(tmp_path / "x.html")
    assert [(run["name"], run["episodes"]) for run in shown["runs"]] == [("expert", 6)]
    assert len(payload(tmp_path / "x.html")["tasks"]) == 2
    assert "Count with care." in (tmp_path / "x.html").read_text()


def test_the_pages_of_the_browser_world_are_rendered_unless_they_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = evaluate(ExpertPolicy, "Mind2Web", 3, split="dev")
    write_trajectories(tmp_path / "web.jsonl", run.trajectories)
    assert main(["view", str(tmp_path / "web.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    data = payload(tmp_path / "web.html")
    for task, episode in zip(data["tasks"], run.trajectories, strict=True):
        assert len(task["runs"][0]["pages"]) == len(episode.turns) + 1
        for number, turn in zip(task["runs"][0]["pages"], episode.turns, strict=False):
            title = re.search(r"<title>(.*?)</title>", data["pages"][number])
            assert title is not None
            assert f"Page: {title[1]} (" in turn.observation.replace("&", "&amp;")

    episodes = list(read_trajectories(tmp_path / "web.jsonl"))
    episodes[0].turns[0] = episodes[0].turns[0].__class__(**{**vars(episodes[0].turns[0]), "state_key": "other"})
    write_trajectories(tmp_path / "web.jsonl", episodes)
    assert main(["view", str(tmp_path / "web.jsonl"), "--json"]) == 0
    assert "does not replay" in json.loads(capsys.readouterr().out)["notes"][0]
    assert [bool(task["runs"][0]["pages"]) for task in payload(tmp_path / "web.html")["tasks"]] == [False, True, True]


def test_an_unfinished_run_shows_what_there_is(counter_id: str, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", CmatConfig(env_id=counter_id, seed=11))
    folder.save_stage(StageResult("base", 1.0, evaluate(ExpertPolicy, counter_id, 4, name="base")))
    folder.save_stage(StageResult("sft", 2.0, evaluate(ExpertPolicy, counter_id, 4, name="sft")))
    for step in range(3):
        folder.log("actor-critic", step, {"dev/score": 0.2 * step, "dev/score_low": 0.0, "dev/score_high": 1.0,
                                          "critic/value": 0.1 * step})  # fmt: skip
    assert main(["view", str(tmp_path / "run"), "--no-open"]) == 0
    text = (tmp_path / "run" / "view.html").read_text()
    assert payload(tmp_path / "run" / "view.html")["groups"][0]["stages"] == ["base", "sft"]
    assert "dev panel, iteration 2: 0.400" in text
    assert "critic/value: 0 to 0.2" in text
    assert "<dd>11</dd>" in text


def test_what_cannot_be_viewed_is_named(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "seven.json").write_text("7")
    for words, message in (
        ([str(tmp_path / "nowhere")], "is neither a file of episodes"),
        ([str(tmp_path / "empty.jsonl")], "holds no episodes"),
        ([str(tmp_path)], "nor one with evaluations"),
        ([str(out), "--episodes", "-1"], "must not be negative"),
        ([str(out), "--memory", str(tmp_path / "seven.json")], "is not a lesson store"),
    ):
        assert main(["view", *words, "--no-open"]) == 2
        assert message in capsys.readouterr().err


def test_runs_that_are_not_complete_are_left_out_with_a_word(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(out, tmp_path / "copy")

    def lose_a_record(policy: str) -> None:
        records = next(copy.glob(f"*/{policy}/records.jsonl"))
        records.write_text("".join(records.read_text().splitlines(keepends=True)[1:]))

    lose_a_record("expert")
    assert main(["view", str(copy), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in shown["runs"]] == ["random"]
    assert "5 of 6 tasks" in shown["notes"][0]
    lose_a_record("random")
    assert main(["view", str(copy), "--no-open"]) == 2
    assert "No evaluation in" in capsys.readouterr().err
