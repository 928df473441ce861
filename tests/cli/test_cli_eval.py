"""`cmat-gym eval` and `cmat-gym replay` on recorded and on tampered episodes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cmat_gym.cli.main import main
from cmat_gym.evaluation.evaluate import Evaluation, read_evaluation
from cmat_gym.evaluation.panel import Panel


@pytest.fixture(scope="module")
def out(counter_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval") / "new" / "folder"
    assert main(["eval", counter_id, "--policy", "random", "expert", "--size", "20", "--out", str(folder)]) == 0
    return folder


def test_eval_prints_the_table(counter_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", counter_id, "--policy", "expert", "--split", "dev", "--size", "10"]) == 0
    shown = capsys.readouterr().out
    assert "1.000" in shown
    assert "[72.2, 100.0]" in shown, "Wilson's interval of 10 successes in 10"
    assert Panel.of(counter_id, "dev", 10).describe() in shown


def test_eval_writes_json_markdown_html_and_episodes(out: Path) -> None:
    random, expert = (Evaluation.from_json(data) for data in json.loads((out / "results.json").read_text()))
    assert (random.name, expert.name) == ("random", "expert")
    assert expert.score.estimate == 1.0 > random.score.estimate
    assert random.panel == expert.panel
    assert "| expert | 1.000 [1.000, 1.000] |" in (out / "results.md").read_text()
    assert "\\begin{tabular}" in (out / "results.tex").read_text()
    assert "<!doctype html>" in (out / "report.html").read_text()
    for run in (random, expert):
        recorded = read_evaluation(out / "Counter-v0" / run.name)
        assert replace(recorded, num_envs=16) == run


def test_eval_as_json_and_with_a_seed(counter_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs = []
    for seed in ("0", "0", "1"):
        assert main(["eval", counter_id, "--policy", "random", "--size", "20", "--seed", seed, "--json"]) == 0
        runs.append(Evaluation.from_json(json.loads(capsys.readouterr().out)[0]).records)
    assert runs[0] == runs[1] != runs[2]


def test_keywords_reach_the_world(counter_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--policy", "expert", "--size", "5", "--max-turns", "1", "--env", "discount=0.5", "--memory", "none"]
    assert main(["eval", counter_id, *options, "--json"]) == 0
    run = Evaluation.from_json(json.loads(capsys.readouterr().out)[0])
    assert run.env_kwargs["discount"] == 0.5
    assert run.env_kwargs["memory"] is None
    assert run.mean_turns == 1.0


def test_recorded_episodes_replay_bit_for_bit(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("random", "expert"):
        assert main(["replay", str(out / "Counter-v0" / name / "episodes.jsonl")]) == 0
        assert capsys.readouterr().out == "20 of 20 episodes replay bit for bit\n"


@pytest.mark.parametrize("field", ["reward", "score", "observation", "state_key", "action"])
def test_a_tampered_episode_is_found(field: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (out / "Counter-v0" / "expert" / "episodes.jsonl").read_text().splitlines()
    episode = json.loads(lines[3])
    turn = episode["turns"][-1]
    turn[field] = turn[field] + 0.5 if isinstance(turn[field], float) else turn[field] + "x"
    forged = tmp_path / "forged.jsonl"
    forged.write_text("\n".join([*lines[:3], json.dumps(episode), *lines[4:]]) + "\n")
    assert main(["replay", str(forged)]) == 1
    shown = capsys.readouterr().out
    assert "Episode 4 (" in shown
    assert "19 of 20 episodes replay bit for bit" in shown
    assert main(["replay", str(forged), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [episode["episode"] for episode in found if not episode["same"]] == [4]
    assert field in found[3]["text"] or field == "action"
    assert main(["replay", str(forged), "--episode", "5"]) == 0
    assert main(["replay", str(forged), "--no-check"]) == 0


def test_episodes_can_be_shown_one_by_one(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(out / "Counter-v0" / "expert" / "episodes.jsonl"), "--show", "--episode", "2"]) == 0
    shown = capsys.readouterr().out
    assert "Episode 2: counter/builtin-v0/test/" in shown
    assert "> stop" in shown
    assert "Episode 1:" not in shown
    assert "1 of 1 episodes" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no episodes"),
        ("{]\n", "line 1"),
        ('{"format": 1, "turns": []}\n', "line 1"),
        ('{"format": 99}\n', "format 99"),
    ],
)
def test_files_that_are_no_records_are_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    assert main(["replay", str(tmp_path / "bad.jsonl")]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_world_or_keyword_in_a_record_is_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episode = json.loads((out / "Counter-v0" / "expert" / "episodes.jsonl").read_text().splitlines()[0])
    for change, message in (
        ({"env_id": "cmat/Nowhere-v0"}, "Unknown world"),
        ({"env_kwargs": {"x": 1}}, "cannot be made"),
    ):
        (tmp_path / "bad.jsonl").write_text(json.dumps({**episode, **change}) + "\n")
        assert main(["replay", str(tmp_path / "bad.jsonl")]) == 2
        assert message in capsys.readouterr().err


def test_a_language_model_with_and_without_its_adapter(
    counter_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft", reason="language models need the extra `train`")
    from small_models import small_model

    from cmat_gym.policies.lora import LoRAPolicy

    base = small_model()
    base.model.save_pretrained(tmp_path / "model")
    base.tokenizer.save_pretrained(tmp_path / "model")
    LoRAPolicy(str(tmp_path / "model")).save(tmp_path / "adapter")
    command = ["eval", counter_id, "--policy", str(tmp_path / "model"), "--size", "3", "--max-turns", "2", "--json"]
    runs = []
    for options in ([], ["--adapter", str(tmp_path / "adapter")]):
        assert main([*command, *options]) == 0
        runs.append(Evaluation.from_json(json.loads(capsys.readouterr().out)[0]))
    assert runs[0].records == runs[1].records, "an untrained adapter changes nothing"
    assert runs[0].sampled_tokens
    assert main(["eval", counter_id, "--policy", "no-such-model", "--size", "3"]) == 2
    assert "choose one of" in capsys.readouterr().err
