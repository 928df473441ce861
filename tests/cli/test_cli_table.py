"""`cmat-gym table 2`: the published figures, what this machine can do about them, and what it has recorded."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cmat_gym.cli.main import main
from cmat_gym.cli.table import policies_of
from cmat_gym.evaluation.published import published_table, recorded_grids
from cmat_gym.policies.model_configs import model_configs


def show(*options: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["table", "2", *options, "--json"]) == 0
    grids: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return grids


def test_the_published_figures_are_those_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    published, machine = show(capsys=capsys)
    assert published["title"].startswith("Published: ")
    assert "Source: " in published["notes"][0]
    assert len(published["rows"]) == 19
    by_model = {row["Model"]: row for row in published["rows"]}
    gpt4, tiny = by_model["gpt-4"], by_model["tinyagent-1.8b"]
    columns = ("OS", "DB", "KG", "ALF", "WS", "M2W")
    assert [gpt4[column] for column in columns] == ["42.4", "32.0", "58.8", "78.0", "61.6", "29.0"]
    assert [tiny[column] for column in columns] == ["17.7", "28.33", "48.0", "6.0", "32.7", "11.0"]
    # The overall figures that the authors' repository gives in a footer are these plain means.
    means = {"qwen-1.8b": "11.9", "tinyagent-1.8b": "24.0", "codellama-7b": "5.3", "gpt-3.5-turbo": "28.2"}
    assert {model: by_model[model]["Mean"] for model in means} == means
    assert len(machine["rows"]) == 19


def test_every_row_has_one_committed_configuration() -> None:
    table = published_table()
    policies = policies_of(table)
    assert list(policies) == list(table.rows)
    assert sorted(policies.values()) == sorted(model_configs())
    assert {row.type for row, name in policies.items() if model_configs()[name].route == "api"} == {"API"}


def test_recorded_runs_stand_in_tables_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--runs", str(tmp_path), "--run", "random", "expert", "--options", "DB WebShop --size 3"]
    published, _, builtin = show(*options, capsys=capsys)
    assert len(published["rows"]) == 19
    assert builtin["title"] == "Recorded here: builtin tasks"
    assert "no published figure compares" in builtin["notes"][0]
    assert [row[""] for row in builtin["rows"]] == ["expert", "random"]
    assert builtin["rows"][0]["DB"].startswith("100.0 ")
    assert len(show("--runs", str(tmp_path), capsys=capsys)) == 3


def test_official_runs_have_the_published_row_beneath_and_builtin_ones_never(counter_id: str) -> None:
    from cmat_gym.evaluation.evaluate import evaluate
    from cmat_gym.policies.scripted import ExpertPolicy

    table = published_table()
    run = evaluate(ExpertPolicy, counter_id, 3, name="zephyr-7b-alpha")
    panel = replace(run.panel, env_id="cmat/KG-v0")
    official, builtin = (replace(run, panel=replace(panel, official=flag)) for flag in (True, False))
    first, second = recorded_grids(table, policies_of(table), [official, builtin])
    assert first.title == "Recorded here: official tasks"
    assert [row[0] for row in first.rows] == ["zephyr-7b-alpha, recorded here", "zephyr-7b, published"]
    assert [row[1].partition(" ")[0] for row in first.rows] == ["100.0", "5.0"]
    assert second.title == "Recorded here: builtin tasks"
    assert [row[0] for row in second.rows] == ["zephyr-7b-alpha"]
    assert "5.0" not in str(second.rows)


def test_what_a_row_needs_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("openai", "torch", "transformers", "peft"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module!r} is missing: cmat-gym[api,train] brings it")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    here = {row["--policy"]: row["Here"] for row in show(capsys=capsys)[1]["rows"]}
    assert here["gpt-4-0613"] == "needs OPENAI_API_KEY"
    assert here["chatglm2-6b"] == "needs --base-url", "its own code is never run"
    assert here["tinyagent-7b"] == "needs --adapter"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-shown")
    assert main(["table", "2"]) == 0
    shown = capsys.readouterr().out
    assert "can run" in shown
    assert "sk-not-shown" not in shown
    served = show("--base-url", "http://127.0.0.1:9/v1", capsys=capsys)[1]["rows"]
    assert {row["Here"] for row in served} == {"can run"}


def test_callers_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (["--run", "random"], "name it as --runs"),
        (["--options", "--size 3"], "are for what --run plays"),
        (["--runs", str(tmp_path)], "holds no recorded run"),
    ):
        assert main(["table", "2", *options]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["table", "3"])


def test_an_incomplete_run_is_left_out_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "DB", "--policy", "expert", "random", "--size", "2", "--out", str(tmp_path)]) == 0
    records = tmp_path / "DB-v0" / "random" / "records.jsonl"
    records.write_text(records.read_text().splitlines(keepends=True)[0])
    capsys.readouterr()
    assert main(["table", "2", "--runs", str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    assert [row[""] for row in json.loads(shown.out)[2]["rows"]] == ["expert"]
    assert "holds 1 of 2 tasks" in " ".join(shown.err.split())


def test_a_recorded_row_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "DB", "--policy", "expert", "--size", "2", "--out", str(tmp_path)]) == 0
    run = tmp_path / "DB-v0" / "expert"
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps({**settings, "name": "opt-1.3b"}))
    capsys.readouterr()
    machine = show("--runs", str(tmp_path), capsys=capsys)[1]["rows"]
    assert [row["--policy"] for row in machine if row["Here"] == "recorded"] == ["opt-1.3b"]
