"""Settings of `SFTStage`."""

# ruff: noqa: RUF009 - `_setting` is `dataclasses.field` with a line of help

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trl.trainer.sft_config import SFTConfig

from cmat_gym.core.errors import choose

__all__ = ["METHODS", "SFTStageConfig"]

METHODS = ("lora", "p-tuning", "both")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class SFTStageConfig(SFTConfig):  # type: ignore[misc]
    """Settings of supervised fine-tuning, beside those of TRL's `SFTConfig`."""

    method: str = _setting("lora", "What learns: 'lora', 'p-tuning' (the policy's virtual tokens), or 'both'.")

    # Defaults that differ from SFTConfig
    learning_rate: float = _setting(2e-3, "Learning rate.")
    num_train_epochs: float = _setting(1, "Passes over the demonstrations.")
    per_device_train_batch_size: int = _setting(16, "Turns of one step on one device.")
    train_sampling_strategy: str = _setting("group_by_length", "Batches of turns of similar length: little padding.")
    warmup_steps: float = _setting(0.03, "Steps of rising learning rate, or their share below 1.")
    max_length: int | None = _setting(None, "Not used: the policy cuts its own prompts.")
    gradient_checkpointing: bool = _setting(False, "Not used by this trainer.")
    bf16: bool | None = _setting(False, "Not used: the base model's own type decides.")
    save_strategy: str = _setting("no", "When to write checkpoints.")
    disable_tqdm: bool | None = _setting(True, "Hide the progress bar.")
    report_to: str | list[str] = _setting("none", "Where metrics go: 'none', 'tensorboard', 'wandb', ...")

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UnknownNameError: There is no such method.
        """
        choose("method", self.method, METHODS)
        super().__post_init__()
