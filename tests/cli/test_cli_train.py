"""`cmat-gym train` as it is typed."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="training needs the extra `train`")

from small_models import small_model

from cmat_gym.cli.live import RunDisplay
from cmat_gym.cli.main import main
from cmat_gym.trainers.run_folder import RunFolder

# fmt: off
SMALL = [
    "--sft-episodes", "4", "--iterations", "3", "--eval-every", "1", "--test-tasks", "6", "--dev-tasks", "4",
    "--memory", "none", "--max-turns", "3", "--seed", "5", "--max-new-tokens", "3",
    "--actor-critic", "num_envs=4", "--actor-critic", "turns_per_env=2",
]
# fmt: on


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    base = small_model()
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return str(folder)


def test_train_is_interrupted_resumed_and_shown(
    model: str, counter_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    update = RunDisplay.update

    def interrupt(self: RunDisplay, done: int, total: int, figures: Mapping[str, float]) -> None:
        update(self, done, total, figures)
        if "valid" in figures and done == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunDisplay, "update", interrupt)
        assert main(["train", counter_id, "--model", model, *SMALL, "--out", str(out)]) == 130
    shown = capsys.readouterr().out
    command = next(line.split() for line in shown.splitlines() if "--resume" in line)
    assert command[:2] == ["cmat-gym", "train"]

    assert main(command[1:]) == 0
    shown = capsys.readouterr().out
    assert "Held-out test panel" in shown
    assert all(name in shown for name in ("base", "sft", "actor-critic", "report.html", "curve.png"))
    folder = RunFolder.open(out)
    assert folder.config.seed == 5
    assert folder.config.env_kwargs == {"memory": None, "max_turns": 3}
    assert main(["replay", str(out / "episodes" / "actor-critic-test.jsonl")]) == 0
    assert "6 of 6 episodes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "{full}"], "is not empty"),
        (["--resume", "{full}"], "holds no training run"),
        (["--model", "no-such-model", "--out", "{new}"], "choose one of"),
        (["--test-tasks", "0", "--out", "{new}"], "test_tasks"),
        (["--sft", "epochs", "--out", "{new}"], "KEY=VALUE"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    options: list[str], message: str, counter_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    words = [word.format(full=full, new=tmp_path / "new") for word in options]
    assert main(["train", counter_id, *words]) == 2
    assert message in capsys.readouterr().err


def test_runs_get_folders_of_their_own(
    model: str, counter_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        options = ["--sft-episodes", "0", "--iterations", "0", "--test-tasks", "2", "--dev-tasks", "2"]
        assert main(["train", counter_id, "--model", model, "--max-turns", "1", "--json", *options]) == 0
        assert json.loads(capsys.readouterr().out)["stages"][0]["name"] == "base"
    name = f"counter-{Path(model).name}-seed0"
    assert sorted(folder.name for folder in (tmp_path / "runs").iterdir()) == [name, f"{name}-2"]
