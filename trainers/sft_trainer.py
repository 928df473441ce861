"""`SFTStage`: imitation on TRL's SFTTrainer, with the policy's own tokens and its own forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers.trainer_utils import TrainOutput

from cmat_gym.core.errors import UsageError
from cmat_gym.policies.backbone import ACTOR
from cmat_gym.policies.generation import pad_turns
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers.demonstrations import Demonstration
from cmat_gym.trainers.losses import log_probabilities
from cmat_gym.trainers.sft_config import SFTStageConfig
from cmat_gym.trainers.trl_bridge import QuietSFTTrainer

__all__ = ["NO_LOSS", "SFTStage"]

NO_LOSS = -100  # transformers' mark for tokens that are not predicted


class SFTStage(QuietSFTTrainer):
    """Supervised fine-tuning: L_sup(θ) = E[ℓ(M_θ(x), y)], with loss on the answers' tokens only.

    Prompts and answers become tokens exactly as the policy makes them when it acts, and logits are computed for the
    answers only, which on long pages saves most of the head's work.

    Args:
        policy: Who learns, in place: the actor, or the role of a `RolePolicy`.
        demonstrations: What it imitates.
        args: The settings.
        callbacks: Callbacks of transformers.
    """

    def __init__(
        self,
        policy: LoRAPolicy,
        demonstrations: Sequence[Demonstration],
        args: SFTStageConfig | None = None,
        *,
        callbacks: list[Any] | None = None,
    ) -> None:
        args = args or SFTStageConfig()
        if not demonstrations:
            raise UsageError("There is nothing to imitate: no demonstrations were given")
        if args.method != "lora" and policy.adapter != ACTOR:
            raise UsageError(f"Virtual tokens belong to the actor; {policy.adapter!r} learns by method='lora'")
        if args.method != "lora" and not policy.backbone.settings.virtual_tokens:
            raise UsageError(f"method={args.method!r} needs virtual tokens: AdapterSettings(virtual_tokens=…)")
        self.policy = policy
        args.dataset_kwargs = {"skip_prepare_dataset": True}
        super().__init__(
            model=policy.backbone,
            args=args,
            train_dataset=self._tokenise(demonstrations),
            processing_class=policy.tokenizer,
            data_collator=self._collate,
            callbacks=callbacks,
        )
        policy.to(args.device)

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Imitate; afterwards nothing but the chosen parameters has changed."""
        backbone, method, adapter = self.policy.backbone, self.args.method, self.policy.adapter
        learns = {id(p) for p in backbone.adapter_parameters(adapter)} if method != "p-tuning" else set()
        learns |= {id(p) for p in backbone.prompt_parameters()} if method != "lora" else set()
        before = [(parameter, parameter.requires_grad) for parameter in backbone.parameters()]
        try:
            with backbone.use(adapter):
                for parameter, _ in before:  # after the switch, which decides anew what needs a gradient
                    parameter.requires_grad_(id(parameter) in learns)
                output: TrainOutput = super().train(*args, **kwargs)
        finally:
            for parameter, required in before:
                parameter.requires_grad_(required)
            backbone.zero_grad()
            backbone.eval()
            vars(backbone).pop("forward", None)  # SFTTrainer's fused head is not needed any more
        return output

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Mean negative log-likelihood of the answers' tokens."""
        labels = inputs["labels"]
        width = int((labels != NO_LOSS).any(dim=0).sum())  # answers start in one column and end the batch
        answers, mask = labels[:, -width:].clamp(min=0), labels[:, -width:] != NO_LOSS
        logits = model(inputs["input_ids"], inputs["attention_mask"], keep=width + 1).logits[:, :-1]
        logprobs = log_probabilities(logits, answers)
        with torch.no_grad():
            right = (logits.argmax(dim=-1) == answers)[mask].float().mean()
            self._metrics["train"]["mean_token_accuracy"].append(float(right))
        count = mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss: Tensor = -(logprobs * mask).sum() / count
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write adapters and virtual tokens as `LoRAPolicy.save` does."""
        if self.args.should_save:
            self.policy.save(output_dir or self.args.output_dir)

    def _tokenise(self, demonstrations: Sequence[Demonstration]) -> Dataset:
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        for observation, answer, task_id in demonstrations:
            prompt = self.policy.prompt_ids(observation, {"task_id": task_id})
            tokens = self.policy.answer_ids(answer)
            ids.append([*prompt, *tokens])
            labels.append([NO_LOSS] * len(prompt) + tokens)
        return Dataset.from_dict({"input_ids": ids, "labels": labels})

    def _collate(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """The layout of `pad_turns`, with the answers' tokens as labels."""
        starts = [sum(label == NO_LOSS for label in example["labels"]) for example in examples]
        pairs = list(zip(examples, starts, strict=True))
        prompts = [example["input_ids"][:start] for example, start in pairs]
        answers = [example["input_ids"][start:] for example, start in pairs]
        ids, mask, answer_mask = pad_turns(prompts, answers, self.policy.pad_id, torch.device("cpu"))
        labels = torch.full_like(ids, NO_LOSS)
        labels[:, -answer_mask.shape[1] :] = ids[:, -answer_mask.shape[1] :].masked_fill(answer_mask == 0, NO_LOSS)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
