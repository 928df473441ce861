"""Settings of `ReflectionStage`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cmat_gym.core.errors import UsageError
from cmat_gym.trainers.sft_config import SFTStageConfig

__all__ = ["ReflectionConfig"]


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class ReflectionConfig(SFTStageConfig):
    """Settings of the reflection stage, beside those of `SFTStageConfig`."""

    distil_weight: float = _setting(1.0, "Weight of L: the improved action without the feedback in the prompt.")
    success_weight: float = _setting(1.0, "Weight of G (gamma in the source): advantage-weighted turns of successes.")
    learning_rate: float = _setting(5e-4, "Learning rate.")
    remove_unused_columns: bool | None = _setting(False, "Rows carry their weights.")

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UsageError: A negative weight, or nothing with a weight.
        """
        if self.distil_weight < 0 or self.success_weight < 0 or not self.distil_weight + self.success_weight:
            raise UsageError(
                "distil_weight and success_weight must not be negative, and one of them greater than 0, got "
                f"{self.distil_weight} and {self.success_weight}"
            )
        super().__post_init__()
