"""From turns to tensors: rows, minibatches of random turns, and micro-batches of turns of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cmat_gym.core.roles import TokenSample
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
        state_mask: Where there is a state. [batch, state]
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
    state_mask: Tensor


def collate(rows: Sequence[Row], pad_id: int, device: torch.device) -> Batch:
    """Build the tensors of some rows."""
    prompt = max(len(row.sample.prompt_ids) for row in rows)
    action = max(len(row.sample.token_ids) for row in rows)
    states = max(len(row.values) for row in rows)
    ids = np.full((len(rows), prompt + action), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), prompt + action), dtype=np.int64)
    action_mask, logprobs, advantages, reference = np.zeros((4, len(rows), action), dtype=np.float32)
    state_mask, values, returns = np.zeros((3, len(rows), states), dtype=np.float32)
    for i, row in enumerate(rows):
        start, end, count = prompt - len(row.sample.prompt_ids), len(row.sample.token_ids), len(row.values)
        ids[i, start : prompt + end] = [*row.sample.prompt_ids, *row.sample.token_ids]
        mask[i, start : prompt + end] = 1
        action_mask[i, :end] = 1
        logprobs[i, :end] = row.sample.logprobs
        advantages[i, :end] = row.advantages
        if row.reference is not None:
            reference[i, :end] = row.reference
        state_mask[i, :count] = 1
        values[i, :count] = row.values
        returns[i, :count] = row.returns
    arrays = (ids, mask, ids[:, prompt:], action_mask, logprobs, advantages, reference, values, returns, state_mask)
    return Batch(*(torch.from_numpy(array).to(device) for array in arrays))


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


def micro_batches(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """The rows, longest first, in batches of at most `tokens` tokens with their padding (at least one row each)."""
    waiting = sorted(rows, key=lambda row: -row.length)
    while waiting:
        size = max(1, tokens // waiting[0].length)
        yield waiting[:size]
        waiting = waiting[size:]
