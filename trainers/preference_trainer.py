"""`PreferenceTrainer`: the Checker learns from pairs which of two actions is the better one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor, nn

from cmat_gym.core.errors import UsageError
from cmat_gym.policies.backbone import CHECKER
from cmat_gym.policies.checker import Checker
from cmat_gym.policies.generation import pad_turns
from cmat_gym.trainers.checker_config import PreferenceConfig
from cmat_gym.trainers.judged import Preference
from cmat_gym.trainers.trl_bridge import QuietRewardTrainer

__all__ = ["PreferenceTrainer"]


class _Scores(NamedTuple):
    """What TRL's RewardTrainer reads of a model's output."""

    logits: Tensor


class _ActionJudge(nn.Module):
    """The Checker's Q(s, a) in the shape of a sequence classifier with one label."""

    def __init__(self, checker: Checker) -> None:
        super().__init__()
        self.backbone = checker.policy.backbone
        self.adapter = checker.adapter
        self.config = copy.deepcopy(self.backbone.config)
        self.config.num_labels = 1

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, answer_mask: Tensor, use_cache: bool = False
    ) -> _Scores:
        """Q of each row. [batch, time] -> [batch, 1]"""
        learns = self.adapter == CHECKER and torch.is_grad_enabled()
        with self.backbone.use(self.adapter), torch.set_grad_enabled(learns):
            hidden = self.backbone(input_ids, attention_mask, keep=answer_mask.shape[1] + 1).hidden
        ends = answer_mask.sum(dim=1)  # position 0 is the last prompt token
        head = self.backbone.value_head
        assert head is not None
        return _Scores(head.judge(hidden[torch.arange(len(hidden), device=hidden.device), ends])[:, None])

    def add_model_tags(self, tags: Any) -> None:
        """TRL's trainers label what they train."""
        self.backbone.add_model_tags(tags)


class PreferenceTrainer(QuietRewardTrainer):
    """Q(s, a) from preferences on TRL's RewardTrainer: -log σ(Q(s, chosen) - Q(s, rejected)) (Bradley and Terry, 1952).

    Pairs fix differences only, so Q has no scale afterwards that could be compared with V: use it before
    `CheckerTrainer` (as a start) or where only the order of actions counts. The value of states is not touched, and
    neither is the actor: with a shared Checker only the head learns.

    Args:
        checker: Who learns, in place.
        preferences: The pairs; `preferences_of` makes them from branches.
        args: The settings.
        callbacks: Callbacks of transformers.

    Raises:
        UsageError: There are no pairs.
    """

    def __init__(
        self,
        checker: Checker,
        preferences: Sequence[Preference],
        args: PreferenceConfig | None = None,
        *,
        callbacks: list[Any] | None = None,
    ) -> None:
        args = args or PreferenceConfig()
        if not preferences:
            raise UsageError("There is nothing to learn from: no preferences were given")
        self.checker = checker
        super().__init__(
            model=_ActionJudge(checker),
            args=args,
            train_dataset=self._tokenise(preferences),
            processing_class=checker.policy.tokenizer,
            data_collator=self._collate,
            callbacks=callbacks,
        )
        checker.policy.to(args.device)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Learn; afterwards nothing but the Checker has changed."""
        backbone, head = self.checker.policy.backbone, self.checker.head
        learns = {id(parameter) for parameter in head.action.parameters()}
        if self.checker.adapter == CHECKER:
            learns |= {id(parameter) for parameter in backbone.adapter_parameters(CHECKER)}
        try:
            with backbone.use(self.checker.adapter):
                for parameter in backbone.parameters():
                    parameter.requires_grad_(id(parameter) in learns)
                return super().train(*args, **kwargs)
        finally:
            for parameter in head.parameters():
                parameter.requires_grad_(True)
            backbone.zero_grad()
            backbone.eval()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write adapters and value head as `LoRAPolicy.save` does."""
        if self.args.should_save:
            self.checker.policy.save(output_dir or self.args.output_dir)

    def _tokenise(self, preferences: Sequence[Preference]) -> Dataset:
        policy = self.checker.policy
        rows: dict[str, list[Any]] = {"chosen_ids": [], "rejected_ids": [], "prompt_length": []}
        for observation, chosen, rejected, task_id in preferences:
            prompt = policy.prompt_ids(observation, {"task_id": task_id})
            rows["chosen_ids"].append(prompt + policy.answer_ids(chosen))
            rows["rejected_ids"].append(prompt + policy.answer_ids(rejected))
            rows["prompt_length"].append(len(prompt))
        return Dataset.from_dict(rows)

    def _collate(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """The layout of `pad_turns`: all chosen rows, then all rejected ones, as RewardTrainer takes them apart."""
        rows = [(e["chosen_ids"], e["prompt_length"]) for e in examples]
        rows += [(e["rejected_ids"], e["prompt_length"]) for e in examples]
        ids, mask, answer_mask = pad_turns(
            [row[:start] for row, start in rows],
            [row[start:] for row, start in rows],
            self.checker.policy.pad_id,
            torch.device("cpu"),
        )
        return {"input_ids": ids, "attention_mask": mask, "answer_mask": answer_mask}
