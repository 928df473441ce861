"""From turns to tensors: rows, minibatches of random turns, and micro-batches of turns of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cmat_gym.core.roles import TokenSample
from cmat_gym.policies.generation import pad_turns
from cmat_gym.trainers.gae import Floats

__all__ = ["Batch", "Row", "collate", "count_drift", "micro_batches", "minibatches"]


@dataclass
class Row:
    """One turn to learn from.

    Critic's arrays have one entry per state it values: the turn (1), or with `advantage="token"` each token. [state]

    Attributes:
        sample: The tokens as they were sampled.
        advantages: For each token. [action]
        values: The critic's, at the time of the rollout. [state]
        returns: What it should have said. [state]
        domain: The task's domain.
        hidden: What a shared checker read. [state, hidden]
        reference: Log-probabilities of the tokens under the reference. [action]
    """

    sample: TokenSample
    advantages: Floats
    values: Floats
    returns: Floats
    domain: str
    hidden: Tensor | None = None
    reference: Floats | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and action."""
        return len(self.sample.prompt_ids) + len(self.sample.token_ids)


class Batch(NamedTuple):
    """Rows as tensors: prompts padded on the left, actions on the right, so that all actions start in one column.

    Attributes:
        ids: Prompt and action. [batch, prompt + action]
        mask: 1 where there is a token. [batch, prompt + action]
        actions: The sampled tokens. [batch, action]
        action_mask: Where they are; only these carry loss. [batch, action]
        old_logprobs: As sampled. [batch, action]
        advantages: [batch, action]
        reference: Log-probabilities under the reference, 0 without one. [batch, action]
        values: The critic's at the time of the rollout. [batch, state]
        returns: Its targets. [batch, state]
    """

    ids: Tensor
    mask: Tensor
    actions: Tensor
    action_mask: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    reference: Tensor
    values: Tensor
    returns: Tensor


def collate(rows: Sequence[Row], pad_id: int, device: torch.device) -> Batch:
    """Build the tensors of some rows."""
    prompts, answers = [row.sample.prompt_ids for row in rows], [row.sample.token_ids for row in rows]
    ids, mask, action_mask = pad_turns(prompts, answers, pad_id, device)

    def per_token(values: Sequence[Sequence[float] | Floats]) -> Tensor:
        return _pad_right(values, action_mask.shape[1], device)

    def per_state(values: Sequence[Floats]) -> Tensor:
        return _pad_right(values, max(len(row.values) for row in rows), device)

    return Batch(
        ids=ids,
        mask=mask,
        actions=ids[:, -action_mask.shape[1] :],
        action_mask=action_mask.float(),
        old_logprobs=per_token([row.sample.logprobs for row in rows]),
        advantages=per_token([row.advantages for row in rows]),
        reference=per_token([[] if row.reference is None else row.reference for row in rows]),
        values=per_state([row.values for row in rows]),
        returns=per_state([row.returns for row in rows]),
    )


def _pad_right(values: Sequence[Sequence[float] | Floats], width: int, device: torch.device) -> Tensor:
    padded = np.zeros((len(values), width), dtype=np.float32)
    for i, row in enumerate(values):
        padded[i, : len(row)] = row
    return torch.from_numpy(padded).to(device)


def count_drift(batch: Batch, rows: Sequence[Row]) -> int:
    """Rows whose tensors are not exactly the tokens that were sampled: 0, or something is broken."""
    drifted = 0
    tensors = zip(rows, batch.ids, batch.mask.bool(), batch.actions, batch.action_mask.bool(), strict=True)
    for row, ids, mask, actions, action_mask in tensors:
        whole = [*row.sample.prompt_ids, *row.sample.token_ids]
        drifted += ids[mask].tolist() != whole or actions[action_mask].tolist() != list(row.sample.token_ids)
    return drifted


def minibatches(count: int, batches: int, np_random: np.random.Generator) -> Iterator[list[int]]:
    """All indices once, in random order, in so many batches of nearly equal size."""
    for part in np.array_split(np_random.permutation(count), min(batches, count)):
        yield part.tolist()


def micro_batches(rows: Sequence[Row], tokens: int, most: int | None = None) -> Iterator[list[Row]]:
    """The rows, longest first, in batches of at most `tokens` tokens with their padding, and of `most` rows."""
    waiting = sorted(rows, key=lambda row: -row.length)
    while waiting:
        size = max(1, min(tokens // waiting[0].length, most or len(waiting)))
        yield waiting[:size]
        waiting = waiting[size:]
