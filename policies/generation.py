"""Batched sampling with a key-value cache: exact tokens, exact log-probabilities, nothing else.

A small loop instead of `model.generate`: a small model spends more time in `generate`'s bookkeeping than in its layers.
The part of the prompt that all rows share (the system prompt) is computed once, rows that are done leave the batch, and
the hidden state the critic reads falls out of the same pass.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cmat_gym.core.errors import UsageError
from cmat_gym.policies.backbone import Backbone

__all__ = ["Completion", "Sampling", "generate", "pad_left", "pad_turns"]

_MIN_PREFIX = 16  # tokens; sharing less than this does not pay for a second pass
_COMPACT_SHARE = 0.75  # rows leave the batch once this share of them is left: each removal copies the cache


@dataclass(frozen=True)
class Sampling:
    """How actions are drawn.

    Attributes:
        max_new_tokens: Tokens of one action at most.
        temperature: Divides the logits; 0 takes the likeliest token (greedy).
        top_p: Draw from the smallest set of tokens that has this much probability.
    """

    max_new_tokens: int = 48
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be sampled with."""
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise UsageError(f"max_new_tokens >= 1, temperature >= 0 and 0 < top_p <= 1 are expected, got {self}")


class Completion(NamedTuple):
    """What was sampled for one prompt.

    Attributes:
        token_ids: The tokens, the stop token included where it came.
        logprobs: Their log-probabilities at temperature 1 over the whole vocabulary.
        hidden: Hidden state of the last prompt token. [hidden]
    """

    token_ids: list[int]
    logprobs: list[float]
    hidden: Tensor


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_ids: Collection[int],
    pad_id: int,
    generator: torch.Generator,
) -> list[Completion]:
    """Sample one completion for each prompt with the backbone's active adapter."""
    if not prompts:
        return []
    logits, hidden, cache, mask = _prefill(backbone, prompts, pad_id)
    stops = torch.tensor(sorted(stop_ids), device=backbone.device)
    tokens = torch.full((len(prompts), sampling.max_new_tokens), pad_id)  # [batch, action]
    logprobs = torch.zeros(len(prompts), sampling.max_new_tokens)
    lengths = torch.full((len(prompts),), sampling.max_new_tokens)
    rows = torch.arange(len(prompts))  # which prompt each row of the batch belongs to
    running = torch.ones(len(prompts), dtype=torch.bool, device=backbone.device)
    for position in range(sampling.max_new_tokens):
        scores = torch.log_softmax(logits, dim=-1)  # [live, vocabulary]
        chosen = _draw(logits, sampling, generator)  # [live]
        tokens[rows, position] = chosen.cpu()
        logprobs[rows, position] = scores.gather(1, chosen[:, None]).squeeze(1).cpu()
        stopped = running & torch.isin(chosen, stops)
        lengths[rows[stopped.cpu()]] = position + 1
        running = running & ~stopped
        live = int(running.sum())
        if live == 0 or position + 1 == sampling.max_new_tokens:
            break
        if live <= _COMPACT_SHARE * len(rows):
            keep = running.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            rows, chosen, mask, running = rows[keep.cpu()], chosen[keep], mask[keep], running[keep]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        step = backbone(chosen[:, None], mask, keep=1, cache=cache, use_cache=True)
        logits = step.logits[:, -1]
    # Rows that were done but still in the batch went on past their end; `lengths` cuts that off.
    return [
        Completion(ids[:length], lps[:length], state)
        for ids, lps, length, state in zip(tokens.tolist(), logprobs.tolist(), lengths.tolist(), hidden, strict=True)
    ]


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, padded on the left. [batch, time] each."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids.to(device), mask.to(device)


def pad_turns(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts padded on the left, answers on the right, so that all answers start in one column.

    Returns token ids and attention mask [batch, prompt + answer], and the answers' part of the mask [batch, answer].
    """
    ids, mask = pad_left(prompts, pad_id, device)
    width = max(len(answer) for answer in answers)
    answer_ids = torch.tensor([[*answer, *[pad_id] * (width - len(answer))] for answer in answers], device=device)
    answer_mask = torch.tensor([[1] * len(answer) + [0] * (width - len(answer)) for answer in answers], device=device)
    return torch.cat([ids, answer_ids], dim=1), torch.cat([mask, answer_mask], dim=1), answer_mask


def _prefill(backbone: Backbone, prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor, Any, Tensor]:
    """Read the prompts; returns last logits [batch, vocabulary], last hidden states, cache and mask."""
    shared = _common_prefix(prompts, leave=backbone.settings.tail or 1)
    # What is shared comes before the rest, and with it the padding of the shorter rests comes to stand in between.
    if shared < _MIN_PREFIX or len(prompts) == 1 or not backbone.takes_positions:
        ids, mask = pad_left(prompts, pad_id, backbone.device)
        cache = None
    else:
        prefix, prefix_mask = pad_left([prompts[0][:shared]], pad_id, backbone.device)
        cache = backbone.read(prefix, prefix_mask)
        cache.batch_repeat_interleave(len(prompts))
        ids, rest_mask = pad_left([prompt[shared:] for prompt in prompts], pad_id, backbone.device)
        mask = torch.cat([prefix_mask.expand(len(prompts), -1), rest_mask], dim=1)
    passed = backbone(ids, mask, keep=1, cache=cache, use_cache=True)
    return passed.logits[:, -1], passed.hidden[:, -1], passed.cache, mask


def _common_prefix(prompts: Sequence[Sequence[int]], leave: int) -> int:
    """Tokens all prompts start with; so many of each are left over."""
    # Whatever the first and the last in sorted order share, all share.
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    limit = min(len(prompt) for prompt in prompts) - leave
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def _draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token for each row. [batch, vocabulary] -> [batch]"""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        outside = ordered.cumsum(dim=-1) - ordered >= sampling.top_p  # never true for the likeliest token
        probabilities = torch.zeros_like(probabilities).scatter(1, order, ordered.masked_fill(outside, 0.0))
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
