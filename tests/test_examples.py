"""The examples run, and show what they say they show."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("critic", ["function", "rules"])
def test_a_critic_in_every_use(critic: str, capsys: pytest.CaptureFixture[str]) -> None:
    load("critics").main(["--critic", critic])
    shown = {line[:27].strip(): float(line[27:]) for line in capsys.readouterr().out.splitlines()}
    assert len(shown) == 6
    assert shown["the shop alone"] == 1.0
    if critic == "function":
        assert shown["as half of it"] == pytest.approx((shown["as reward"] + 1.0) / 2, abs=0.01)
        assert shown["as value of the first page"] == 0.0


def test_a_classifier_in_every_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    from small_models import save_classifier

    save_classifier(tmp_path, labels=1)
    load("critics").main(["--critic", str(tmp_path)])
    assert "as potential" in capsys.readouterr().out


@pytest.mark.parametrize("use", ["reward", "potential", "value", "filter"])
def test_training_with_a_critic_in_every_use(use: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    from small_models import small_model

    critics = load("critics")
    metrics: dict[str, Any] = critics.train(
        critics.make_critic("function"),
        use,
        str(tmp_path),
        small_model(),
        use_cpu=True,
        max_new_tokens=2,
        iterations=1,
        critic_warmup=0,
        num_envs=2,
        turns_per_env=2,
    )
    assert metrics["rollout/turns"] == 4
    assert metrics["policy/updates"] > 0
    assert ("loss/value" in metrics) == (use != "value")


def test_the_roles_at_work(capsys: pytest.CaptureFixture[str]) -> None:
    shares = load("collaboration").main(["--tasks", "8", "--attempts", "3"])
    alone, _, retried = shares.values()
    assert retried > alone
    assert "What it has learned:\n" in capsys.readouterr().out


def test_a_checker_is_trained_and_used(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    from small_models import small_model

    # The whole way on a toy: the shop's pages take a minute on one core.
    gym.register(id="cmat-test/Pick-v0", entry_point="toy_worlds:PickEnv")
    figures = load("learned_checker").main(
        ["--episodes", "9", "--rounds", "2", "--out", str(tmp_path)], "cmat-test/Pick-v0", small_model()
    )
    assert set(figures) >= {"checker/auroc", "checker/ece", "checker/explained_variance", "checker/gap"}
    assert math.isfinite(figures["checker/gap"])
