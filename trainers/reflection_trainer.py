"""`ReflectionStage`: what hindsight brought becomes what the policy does at first sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cmat_gym.core.errors import UsageError
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers.demonstrations import Demonstration
from cmat_gym.trainers.losses import log_probabilities
from cmat_gym.trainers.reflection_config import ReflectionConfig
from cmat_gym.trainers.reflections import Reflection
from cmat_gym.trainers.sft_trainer import NO_LOSS, SFTStage

__all__ = ["ReflectionStage"]


class ReflectionStage(SFTStage):
    """The third formula of the method, θ_actor -= α ∇L(f_t, a_t) and + γ ∇G(s_t).

        L = -log π(a'|s)     a' chosen under feedback and lessons, distilled into the policy without them
        G = A log π(a|s)     turns on the way to a success that reflection brought about, A their advantage

    A minibatch's loss is the sum of w_L L - γ G over its turns, divided by their number: each turn's log-likelihood is
    summed over its tokens, so long answers weigh as much as the policy gradient says.

    Args:
        policy: Who learns, in place.
        reflections: The rows of `collect_reflections`.
        args: The settings.
        callbacks: Callbacks of transformers.

    Raises:
        UsageError: There are no rows, or none with a weight.
    """

    def __init__(
        self,
        policy: LoRAPolicy,
        reflections: Sequence[Reflection],
        args: ReflectionConfig | None = None,
        *,
        callbacks: list[Any] | None = None,
    ) -> None:
        args = args or ReflectionConfig()
        weighted = [(row, weight) for row in reflections if (weight := _weight(row, args)) > 0]
        if not weighted:
            raise UsageError("There is nothing to learn from: no reflection with a weight above 0 was given")
        demonstrations = [Demonstration(row.observation, row.answer, row.task_id) for row, _ in weighted]
        super().__init__(policy, demonstrations, args, callbacks=callbacks)
        rows: Any = self.train_dataset
        self.train_dataset: Any = rows.add_column("weight", [weight for _, weight in weighted])

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Mean over turns of weight times negative log-likelihood."""
        labels, weights = inputs["labels"], inputs["weights"]
        width = int((labels != NO_LOSS).any(dim=0).sum())  # answers start in one column and end the batch
        answers, mask = labels[:, -width:].clamp(min=0), labels[:, -width:] != NO_LOSS
        logits = model(inputs["input_ids"], inputs["attention_mask"], keep=width + 1).logits[:, :-1]
        likelihoods = (log_probabilities(logits, answers) * mask).sum(dim=1)  # [batch]
        with torch.no_grad():
            right = (logits.argmax(dim=-1) == answers)[mask].float().mean()
            self._metrics["train"]["mean_token_accuracy"].append(float(right))
        # transformers leaves the division by the accumulated steps to us where it counts the items itself.
        steps = 1 if num_items_in_batch is None else self.args.gradient_accumulation_steps
        loss: Tensor = -(weights * likelihoods).mean() / steps
        return loss

    def _collate(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = super()._collate(examples)
        return {**batch, "weights": torch.tensor([example.get("weight", 1.0) for example in examples])}


def _weight(row: Reflection, args: ReflectionConfig) -> float:
    return args.distil_weight if row.advantage is None else args.success_weight * row.advantage
