"""The private names this package leans on are still there: fails loudly after an upgrade of TRL or transformers."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from transformers import Trainer, TrainingArguments
from trl.trainer.base_config import _BaseConfig
from trl.trainer.base_trainer import _BaseTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.sft_trainer import SFTTrainer

TRAINERS = Path(inspect.getfile(__import__("cmat_gym.trainers", fromlist=["_"]))).parent


def test_trl_still_derives_from_transformers() -> None:
    assert issubclass(_BaseTrainer, Trainer)
    assert issubclass(_BaseConfig, TrainingArguments)
    assert issubclass(SFTTrainer, _BaseTrainer)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Trainer, "_save_checkpoint", ["model", "trial"]),
        (Trainer, "_get_output_dir", ["trial"]),
        (Trainer, "_load_optimizer_and_scheduler", ["checkpoint"]),
        (Trainer, "_load_rng_state", ["checkpoint"]),
        (Trainer, "create_scheduler", ["num_training_steps", "optimizer"]),
        (Trainer, "save_model", ["output_dir", "_internal_call"]),
        (Trainer, "compute_loss", ["model", "inputs", "return_outputs", "num_items_in_batch"]),
        (RewardTrainer, "compute_loss", ["model", "inputs", "return_outputs", "num_items_in_batch"]),
        (_BaseTrainer, "_send_telemetry", []),
        (_BaseTrainer, "create_model_card", ["model_name", "dataset_name", "tags"]),
    ],
)
def test_the_names_we_override_or_call_are_unchanged(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters)[1:] == parameters


def test_private_names_stay_in_the_bridge() -> None:
    for path in TRAINERS.glob("*.py"):
        if path.name != "trl_bridge.py":
            assert "import _" not in path.read_text(encoding="utf-8"), path.name
