"""The folder of a run: what is written is read again, and what is damaged is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.evaluation.evaluate import Evaluation, evaluate
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy
from cmat_gym.trainers.recipe_config import CmatConfig
from cmat_gym.trainers.recipe_results import final_evaluations, learning_curve, write_results
from cmat_gym.trainers.run_folder import Row, RunFolder, StageResult

CONFIG = CmatConfig(env_id="cmat-test/Counter-v0", env_kwargs={"memory": None}, sft={"learning_rate": 1e-3})


def run_of(policy: object, split: str = "dev") -> Evaluation:
    return evaluate(policy, CONFIG.env_id, 8, split=split, memory=None)  # type: ignore[arg-type]


def test_settings_come_back_equal_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", CONFIG)
    assert RunFolder.open(tmp_path / "run").config == CONFIG
    file = tmp_path / "run" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "red"}))
    with pytest.raises(TaskError, match="colour"):
        RunFolder.open(tmp_path / "run")


def test_a_run_is_never_begun_over_another_one(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    RunFolder.create(tmp_path / "run", CONFIG)  # nothing has been done there yet
    folder.log("sft", 1, {"loss": 1.0})
    with pytest.raises(UsageError, match="--resume"):
        RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(UsageError, match="no training run"):
        RunFolder.open(tmp_path)


def test_sizes_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(UsageError, match="test_tasks"):
        CmatConfig(test_tasks=0)
    with pytest.raises(UsageError, match="iterations"):
        CmatConfig(iterations=-1)


def test_stages_come_back_with_their_episodes(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    assert folder.load_stage("sft") is None
    result = StageResult("sft", 1.5, run_of(ExpertPolicy))
    folder.save_stage(result)
    assert folder.load_stage("sft") == result
    complete = replace(result, test=run_of(ExpertPolicy, "test"))
    folder.save_stage(complete)
    loaded = folder.load_stage("sft")
    assert loaded is not None
    assert loaded == complete
    assert loaded.test is not None
    assert complete.test is not None
    assert loaded.test.trajectories == complete.test.trajectories
    assert not list((tmp_path / "run").rglob("*.draft"))


def test_a_damaged_stage_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    folder.save_stage(StageResult("sft", 1.5, run_of(ExpertPolicy)))
    (tmp_path / "run" / "episodes" / "sft-dev.jsonl").unlink()
    with pytest.raises(TaskError, match=r"sft\.json"):
        folder.load_stage("sft")


def test_steps_run_again_after_an_interruption_count_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    for step, score in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25), (3, 0.35)):
        folder.log("actor-critic", step, {"rollout/score": score})
    folder.log("actor-critic", 3, {"dev/score": 0.5})
    folder.log("sft", 1, {"loss": 2.0})
    assert folder.history("actor-critic") == [
        Row(1, {"rollout/score": 0.1}),
        Row(2, {"rollout/score": 0.25}),
        Row(3, {"rollout/score": 0.35, "dev/score": 0.5}),
    ]
    assert folder.history("sft") == [Row(1, {"loss": 2.0})]


def test_results_are_written_once_every_stage_has_played_the_test_panel(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the curve as PNG needs matplotlib, of the extra `train`")
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    base = StageResult("base", 0.0, run_of(RandomPolicy(0)), run_of(RandomPolicy(0), "test"))
    tuned = StageResult("actor-critic", 9.0, run_of(ExpertPolicy))
    with pytest.raises(UsageError, match="not finished"):
        final_evaluations([base, tuned])
    assert learning_curve(folder, [base, tuned]) is None
    for step in range(3):
        interval = {"dev/score": 0.3 + step / 10, "dev/score_low": 0.2, "dev/score_high": 0.9}
        folder.log("actor-critic", step, {"rollout/score": step / 10, **interval})
    stages = [base, replace(tuned, test=run_of(ExpertPolicy, "test"))]
    curve = learning_curve(folder, stages)
    assert curve is not None
    assert [point.y for point in curve.series[0].points] == [0.3, 0.4, 0.5]
    assert curve.references == {"base (dev)": base.dev.score.estimate}
    write_results(folder, stages)
    assert "1.000 [1.000, 1.000]" in (folder.path / "results.md").read_text()
    assert (folder.path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "cmat-test/Counter-v0: tiny" in (folder.path / "report.html").read_text()
