"""`ClassifierCritic`: a sequence-classification model, from a folder or the hub, as the Checker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Info, Review
from cmat_gym.policies.base_models import default_device

__all__ = ["ClassifierCritic"]


class ClassifierCritic:
    """A reward model or text classifier of your own in any of the Checker's uses.

    It reads the observation and the action: as a conversation where its tokenizer has a chat template, as reward models
    are trained, else as a pair of texts. A model with one output gives its logit as the reward (`sigmoid=True` squeezes
    it into (0, 1)); one with several gives the probability of the class `label`. As potential or value baseline it
    reads the observation with an empty action; see `cmat_gym.core.critics.state_values`.

    Args:
        model: A folder written by `save_pretrained`, or a hub id.
        label: The class whose probability is the reward, by number or by name in the model's configuration; the last
            one by default.
        threshold: Rewards below it reject.
        sigmoid: Squeeze the logit of a model with one output.
        max_tokens: Longer texts lose their beginning.
        batch_size: Texts read at once.
        device: Where it runs; CUDA where there is one by default.

    Raises:
        UsageError: The model cannot be loaded, or has no such class.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        label: int | str | None = None,
        threshold: float = 0.0,
        sigmoid: bool = False,
        max_tokens: int = 1024,
        batch_size: int = 32,
        device: str | torch.device | None = None,
    ) -> None:
        try:
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(model)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"The classifier {str(model)!r} cannot be loaded ({str(error).splitlines()[0]}); a folder written by "
                "save_pretrained with its tokenizer, or a hub id and a network, is expected"
            ) from error
        self.device = torch.device(device) if device is not None else default_device()
        self.model = loaded.to(self.device).eval()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if self.model.config.pad_token_id is None:
            self.model.config.pad_token_id = self.tokenizer.pad_token_id
        self.label = _find_label(self.model.config, label)
        self.threshold = threshold
        self.sigmoid = sigmoid
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """The model's opinion on each action."""
        rewards: list[float] = []
        pairs = list(zip(observations, map(str, actions), strict=True))
        for start in range(0, len(pairs), self.batch_size):
            rewards += self._judge(pairs[start : start + self.batch_size])
        return [Review(accept=reward >= self.threshold, reward=reward) for reward in rewards]

    @torch.no_grad()
    def _judge(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        ids = [self._encode(observation, action)[-self.max_tokens :] for observation, action in pairs]
        batch = self.tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt")
        logits: Tensor = self.model(
            input_ids=batch["input_ids"].to(self.device), attention_mask=batch["attention_mask"].to(self.device)
        ).logits.float()  # [batch, class]
        if logits.shape[1] > 1:
            scores = torch.softmax(logits, dim=-1)[:, self.label]
        else:
            scores = torch.sigmoid(logits[:, 0]) if self.sigmoid else logits[:, 0]
        judged: list[float] = scores.tolist()
        return judged

    def _encode(self, observation: str, action: str) -> list[int]:
        if self.tokenizer.chat_template is None:
            ids: list[int] = self.tokenizer(observation, action)["input_ids"]
            return ids
        messages = [{"role": "user", "content": observation}, {"role": "assistant", "content": action}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _find_label(config: Any, label: int | str | None) -> int:
    """The number of a class."""
    count = int(config.num_labels)
    names = {str(name): int(number) for name, number in (config.label2id or {}).items()}
    found = count - 1 if label is None else names.get(label) if isinstance(label, str) else label
    if found is None or not 0 <= found < count:
        raise UsageError(f"The classifier has no class {label!r}; its classes are {names or list(range(count))}")
    return found
