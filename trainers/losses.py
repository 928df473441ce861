"""The terms of the loss, as pure functions of tensors.

All sum over a turn's tokens and divide by the number of turns of the minibatch, a constant: a mean over each turn's own
tokens would weigh the tokens of short actions more, which is no policy gradient any more.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PolicyTerms", "entropy_of", "kl_to_reference", "log_probabilities", "policy_terms", "value_loss"]

_FAR = 3.0  # nats


def log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each token. [batch, action, vocabulary], [batch, action] -> [batch, action]"""
    chosen = logits.gather(-1, tokens[..., None]).squeeze(-1)
    return chosen - logits.logsumexp(dim=-1)


def entropy_of(logits: Tensor) -> Tensor:
    """Entropy of the next-token distribution. [..., vocabulary] -> [...]"""
    log_p = torch.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


def kl_to_reference(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || reference) from the policy's own samples; never negative. Per token.

    Where the reference finds a token more than e^3 times as likely as the policy does, the exponential goes on as its
    tangent: one such token, and a sharp model has them, would otherwise outweigh all others of a minibatch.
    """
    gap = reference - logprobs
    near = gap.clamp(max=_FAR)
    return near.exp() * (1 + gap - near) - gap - 1


class PolicyTerms(NamedTuple):
    """PPO's surrogate for each token, to be maximised, and whether the clip holds it."""

    surrogate: Tensor
    clipped: Tensor


def policy_terms(logprobs: Tensor, old: Tensor, advantages: Tensor, clip_range: float) -> PolicyTerms:
    """PPO's clipped surrogate min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) with the token ratio ρ (Schulman et al., 2017).

    At ρ = 1 its gradient is A ∇log π, so one step on fresh samples is plain actor-critic.
    """
    ratio = (logprobs - old).exp()
    plain = ratio * advantages
    limited = ratio.clamp(1 - clip_range, 1 + clip_range) * advantages
    return PolicyTerms(torch.minimum(plain, limited), limited < plain)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip_range: float | None) -> Tensor:
    """½ (V - R)²; with a clip range, moving V further than that from its old value earns nothing. Element-wise."""
    loss = (values - returns).square()
    if clip_range is not None:
        limited = old + (values - old).clamp(-clip_range, clip_range)
        loss = torch.maximum(loss, (limited - returns).square())
    return 0.5 * loss
