"""Settings of `CheckerTrainer` and of `PreferenceTrainer`."""

# ruff: noqa: RUF009 - `_setting` is `dataclasses.field` with a line of help

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trl.trainer.reward_config import RewardConfig

from cmat_gym.core.errors import UsageError
from cmat_gym.trainers.trl_bridge import TRLConfig

__all__ = ["CheckerConfig", "PreferenceConfig"]


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class CheckerConfig(TRLConfig):  # type: ignore[misc]
    """Settings of a Checker's training from recorded episodes, beside those of `transformers.TrainingArguments`.

    A step of the trainer is a round: targets from the values as they are, then some passes towards them.
    """

    rounds: int = _setting(5, "Rounds; with Monte Carlo targets (td_lambda=1) they only add passes.")
    passes: int = _setting(8, "Passes over all turns in a round.")
    minibatch_turns: int = _setting(64, "Turns of one optimizer step.")
    gamma: float = _setting(0.95, "Discount of a turn.")
    td_lambda: float = _setting(0.95, "Lambda of TD: 0 looks one turn ahead, 1 is Monte Carlo.")
    holdout: float = _setting(0.2, "Share of the tasks kept apart for the report.")
    learning_rate: float = _setting(1e-3, "Learning rate.")
    max_grad_norm: float = _setting(1.0, "Clip of the gradient.")
    micro_batch_tokens: int = _setting(4096, "Tokens of one forward pass, padding included; lower it to save memory.")

    # Defaults that differ from TrainingArguments
    logging_steps: float = _setting(1, "Rounds between two log entries.")
    save_strategy: str = _setting("no", "'no', or 'steps' to write a checkpoint every save_steps rounds.")
    lr_scheduler_type: str = _setting("constant", "How the learning rate changes over the rounds.")
    gradient_checkpointing: bool = _setting(False, "Not used by this trainer.")
    bf16: bool | None = _setting(False, "Not used: the base model's own type decides.")
    disable_tqdm: bool | None = _setting(True, "Hide the progress bar of rounds.")
    report_to: str | list[str] = _setting("none", "Where metrics go: 'none', 'tensorboard', 'wandb', ...")

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UsageError: A number out of range.
        """
        for name in ("rounds", "passes", "minibatch_turns"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("gamma", "td_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.holdout < 1.0:
            raise UsageError(f"holdout must lie in [0, 1), got {self.holdout}")
        self.max_steps = self.rounds
        super().__post_init__()


@dataclass
class PreferenceConfig(RewardConfig):  # type: ignore[misc]
    """Settings of a Checker's training from preferences, beside those of TRL's `RewardConfig`."""

    # Defaults that differ from RewardConfig
    learning_rate: float = _setting(1e-3, "Learning rate.")
    num_train_epochs: float = _setting(3, "Passes over the preferences.")
    per_device_train_batch_size: int = _setting(16, "Pairs of one step on one device.")
    center_rewards_coefficient: float | None = _setting(
        0.01, "Pull of the rewards towards 0: pairs only say how far apart they are, not where."
    )
    max_length: int | None = _setting(None, "Not used: the policy cuts its own prompts.")
    remove_unused_columns: bool | None = _setting(False, "Pairs carry the lengths of their prompts.")
    gradient_checkpointing: bool = _setting(False, "Not used by this trainer.")
    bf16: bool | None = _setting(False, "Not used: the base model's own type decides.")
    save_strategy: str = _setting("no", "When to write checkpoints.")
    disable_tqdm: bool | None = _setting(True, "Hide the progress bar.")
    report_to: str | list[str] = _setting("none", "Where metrics go: 'none', 'tensorboard', 'wandb', ...")
