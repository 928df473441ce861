"""`cmat-gym eval` over several worlds: one table, official and builtin apart; going on; comparing; rule sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cmat_gym.cli.main import main
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.presets import PRESETS


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    assert main(["eval", "DB", "WebShop", "--policy", "random", "expert", "--size", "6", "--out", str(folder)]) == 0
    return folder


def test_worlds_are_columns_and_policies_rows(out: Path) -> None:
    text = (out / "results.md").read_text()
    assert text.startswith("### Builtin tasks\n\n|  | DB | WebShop | Mean |\n")
    assert "\n| expert | 100.0 [61, 100] | 100.0 [61, 100] | 100.0 |\n" in text
    assert "### cmat/DB-v0" in text
    assert (out / "results.tex").read_text().count(r"\begin{tabular}") == 3
    runs = [Evaluation.from_json(data) for data in json.loads((out / "results.json").read_text())]
    assert [(run.panel.env_id, run.name) for run in runs] == [
        ("cmat/DB-v0", "random"),
        ("cmat/DB-v0", "expert"),
        ("cmat/WebShop-v0", "random"),
        ("cmat/WebShop-v0", "expert"),
    ]
    report = (out / "report.html").read_text()
    assert "<!doctype html>" in report
    assert "cmat/DB-v0" in report
    assert "cmat/WebShop-v0" in report


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "json"])
def test_forms_of_what_is_printed(form: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "DB", "WebShop", "--policy", "random", "expert", "--size", "6", "--format", form]
    assert main([*command, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    if form == "json":
        assert [run["totals"]["score"]["estimate"] for run in json.loads(shown)][1::2] == [1.0, 1.0]
    else:
        start = {"table": "Builtin tasks", "markdown": "### Builtin", "latex": r"\begin{table}"}[form]
        assert shown.startswith(start)
        assert "100.0" in shown


def test_a_second_call_plays_nothing_and_another_seed_is_refused(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cmat_gym.core import rollout

    def play(*args: object, **kwargs: object) -> None:
        raise AssertionError("nothing is left to play")

    monkeypatch.setattr("cmat_gym.evaluation.play.rollout", play)
    assert rollout.rollout is not play
    command = ["eval", "DB", "WebShop", "--policy", "random", "expert", "--size", "6", "--out", str(out)]
    assert main(command) == 0
    assert main([*command, "--seed", "1"]) == 2
    assert "policy.seed is 0 there and 1 here" in capsys.readouterr().err


def test_two_recorded_runs_are_compared(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random, expert = (str(out / "DB-v0" / name) for name in ("random", "expert"))
    assert main(["eval", "--compare", random, expert, "--json"]) == 0
    [pair] = json.loads(capsys.readouterr().out)
    assert pair["differences"]["score"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    assert pair["tasks"] == {"better": 6, "equal": 0, "worse": 0}
    assert main(["eval", "--compare", random, expert]) == 0
    assert "scores more on 6 tasks, the same on 0, less on 0" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = str(out / "DB-v0" / "expert")
    assert main(["eval", "--compare", database, str(out / "WebShop-v0" / "expert")]) == 2
    assert "runs of the same worlds" in capsys.readouterr().err
    assert main(["eval", "--compare", database, str(out)]) == 2
    assert "several runs of cmat/DB-v0" in capsys.readouterr().err
    assert main(["eval", "DB", "--policy", "expert", "--size", "5", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["eval", "--compare", database, str(tmp_path)]) == 2
    assert "played different panels" in capsys.readouterr().err
    assert main(["eval", "--compare", database, str(tmp_path / "none")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_processes_change_nothing(out: Path, tmp_path: Path) -> None:
    command = ["eval", "DB", "WebShop", "--policy", "random", "expert", "--size", "6", "--workers", "2"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    for file in sorted(out.rglob("records.jsonl")):
        both = [
            [{**json.loads(line), "timing": None} for line in path.read_text().splitlines()]
            for path in (file, tmp_path / file.relative_to(out))
        ]
        assert both[0] == both[1]
        assert len(both[0]) == 6
    assert main([*command[:-1], "0"]) == 2


def test_a_source_may_be_for_one_world_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["eval", "DB", "WebShop", "--policy", "expert", "--size", "1"]
    assert main([*command, "--source", f"DB={tmp_path}"]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    strange = tmp_path / "a=b"
    strange.mkdir()
    assert main([*command, "--source", str(strange)]) == 2
    assert "a=b" in capsys.readouterr().err
    assert main([*command, "--source", "Nowhere=x"]) == 2
    assert "Unknown world 'Nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_expert_wins_under_every_rule_set(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    worlds = [world for world in PRESETS[name].worlds if "OS" not in world]
    assert main(["eval", *worlds, "--policy", "expert", "--size", "4", "--preset", name, "--json"]) == 0
    runs = [Evaluation.from_json(data) for data in json.loads(capsys.readouterr().out)]
    for run in runs:
        rules = {key: value for key, value in PRESETS[name].worlds[run.panel.env_id].items() if key != "protocol"}
        assert run.score.estimate == 1.0
        assert rules.items() <= run.env_kwargs.items()
        assert (
            run.protocol == {"text": "text-v1", "tools": "tools-v1"}[PRESETS[name].worlds[run.panel.env_id]["protocol"]]
        )


def test_options_win_over_a_rule_set_and_may_name_their_world(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "DB", "WebShop", "--policy", "expert", "--size", "2", "--preset", "agentbench-fc", "--json"]
    assert main([*command, "--env", "DB:rules=strict", "--env", "webshop:catalogue_size=600", "--max-turns", "9"]) == 2
    assert "Unknown world 'webshop'" in capsys.readouterr().err
    assert main([*command, "--env", "DB:rules=strict", "--env", "WebShop:catalogue_size=600", "--max-turns", "9"]) == 0
    database, shop = (Evaluation.from_json(data) for data in json.loads(capsys.readouterr().out))
    assert (database.env_kwargs["rules"], database.env_kwargs["max_turns"]) == ("strict", 9)
    assert shop.env_kwargs["catalogue_size"] == 600
    assert main([*command, "--protocol", "text"]) == 0
    assert {run["protocol"] for run in json.loads(capsys.readouterr().out)} == {"text-v1"}
    assert main(["eval", "Mind2Web", "--policy", "expert", "--preset", "agentbench-fc"]) == 2
    assert "cmat/Mind2Web-v0 is not part of agentbench-fc" in capsys.readouterr().err
