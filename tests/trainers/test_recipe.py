"""The recipe end to end with a random model of a few thousand parameters: stages, interruption, resuming, results."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the recipe needs the extra `train`")

from small_models import small_model

from cmat_gym.core.errors import UsageError
from cmat_gym.core.trajectory import read_trajectories
from cmat_gym.trainers.recipe import run_recipe
from cmat_gym.trainers.recipe_config import CmatConfig
from cmat_gym.trainers.run_folder import RunFolder


class Notes:
    """A display that remembers, and can press Ctrl-C when a part of the work comes to a step."""

    def __init__(self, interrupt_at: tuple[str, int] | None = None) -> None:
        self.interrupt_at = interrupt_at
        self.parts: list[str] = []
        self.figures: dict[str, float] = {}

    def begin(self, name: str, total: int | None = None) -> None:
        """Remember the part."""
        self.parts.append(name)

    def update(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Remember the figures."""
        self.figures = dict(figures)
        if (self.parts[-1], done) == self.interrupt_at:
            self.interrupt_at = None
            signal.raise_signal(signal.SIGINT)

    def note(self, text: str) -> None:
        """Nothing to do."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CmatConfig:
    folder = tmp_path_factory.mktemp("model")
    base = small_model()
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return CmatConfig(
        env_id="cmat-test/Counter-v0",
        env_kwargs={"memory": None, "max_turns": 4},
        model=str(folder),
        test_tasks=12,
        dev_tasks=6,
        num_envs=6,
        sft_episodes=6,
        sft_rounds=2,
        sft={"logging_steps": 1, "per_device_train_batch_size": 4},
        iterations=4,
        max_new_tokens=3,
        eval_every=2,
        actor_critic={"num_envs": 4, "turns_per_env": 4, "critic_warmup": 1},
    )


@pytest.fixture(scope="module")
def finished(config: CmatConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder.create(tmp_path_factory.mktemp("whole") / "run", config)
    run_recipe(folder, Notes())
    return folder


def test_every_stage_is_measured_on_one_test_panel_that_no_choice_was_made_on(finished: RunFolder) -> None:
    stages = [finished.load_stage(name) for name in ("base", "sft", "actor-critic")]
    tests = [stage.test for stage in stages if stage is not None and stage.test is not None]
    assert len(tests) == 3
    assert len({test.panel.sha256 for test in tests}) == 1
    assert {test.panel.split for test in tests} == {"test"}
    assert all(len(test.records) == 12 for test in tests)
    dev = {task_id for stage in stages if stage is not None for task_id in stage.dev.panel.task_ids}
    assert dev.isdisjoint(tests[0].panel.task_ids)


def test_the_kept_adapters_are_the_best_look_at_the_dev_panel(finished: RunFolder) -> None:
    rows = [row.metrics for row in finished.history("actor-critic")]
    looks = [(metrics["dev/success"], metrics["dev/score"]) for metrics in rows if "dev/score" in metrics]
    assert len(looks) == 3, "one before training and two in it"
    stage = finished.load_stage("actor-critic")
    assert stage is not None
    assert (stage.dev.success.estimate, stage.dev.score.estimate) == max(looks)
    assert len([metrics for metrics in rows if "rollout/valid_action" in metrics]) == 4


def test_results_are_complete(finished: RunFolder) -> None:
    for name in ("results.md", "curve.png", "report.html"):
        assert (finished.path / name).stat().st_size > 0
    table = (finished.path / "results.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:5]] == ["base", "sft", "actor-critic"]
    episodes = list(read_trajectories(finished.path / "episodes" / "actor-critic-test.jsonl"))
    assert all(turn.sample is not None for episode in episodes for turn in episode.turns)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "where",
    [
        ("base on dev", 3),
        ("sft, round 1 of 2", 1),
        ("sft, round 2 of 2", 1),
        ("actor-critic", 1),
        ("actor-critic", 2),
        ("sft on test", 5),
    ],
)
def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(
    where: tuple[str, int], config: CmatConfig, finished: RunFolder, tmp_path: Path
) -> None:
    folder = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(folder, Notes(interrupt_at=where))
    assert not (folder.path / "report.html").exists()
    notes = Notes()
    stages = run_recipe(RunFolder.open(folder.path), notes)
    whole = [finished.load_stage(stage.name) for stage in stages]
    for stage, other in zip(stages, whole, strict=True):
        assert other is not None
        assert stage.test is not None
        assert other.test is not None
        assert stage.test.records == other.test.records
        assert stage.dev.records == other.dev.records
    losses = [[row.metrics.get("loss/value") for row in run.history("actor-critic")] for run in (folder, finished)]
    assert losses[0] == losses[1]


def test_a_finished_run_is_not_run_again(finished: RunFolder) -> None:
    notes = Notes()
    run_recipe(RunFolder.open(finished.path), notes)
    assert notes.parts == []


def test_stages_can_be_left_out(config: CmatConfig, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", replace(config, sft_episodes=0, iterations=0))
    stages = run_recipe(folder, Notes())
    assert [stage.name for stage in stages] == ["base"]
    assert not (folder.path / "curve.png").exists()
    assert "Learning curve" not in (folder.path / "report.html").read_text()


@pytest.mark.parametrize("name", ["actor_critic", "sft"])
def test_a_setting_no_trainer_has_is_refused(name: str, config: CmatConfig, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", CmatConfig.from_json({**config.to_json(), name: {"colour": "red"}}))
    with pytest.raises(UsageError, match="colour"):
        run_recipe(folder, Notes())
    assert json.loads((folder.path / "config.json").read_text())[name] == {"colour": "red"}
