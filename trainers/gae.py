"""Advantages: what a turn brought beyond what was expected. Pure numpy, checked against episodes worked out by hand.

A transition is a turn. Arrays are [time, env]; an environment's episodes follow each other in one column (autoreset).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Estimate",
    "explained_variance",
    "following_values",
    "group_advantages",
    "normalise",
    "same_state_advantages",
    "token_gae",
    "turn_gae",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]


class Estimate(NamedTuple):
    """Advantages, and the returns the critic should have predicted; same shape as the rewards."""

    advantages: Floats
    returns: Floats


def following_values(values: Floats, ended: Flags, end_values: Floats) -> Floats:
    """V(s_{t+1}) of the same episode, for each turn. [time, env]

    Args:
        values: V(s_t). [time, env]
        ended: The episode ended with this turn, for whatever reason. [time, env]
        end_values: V of the state the turn led to; read where the episode ended and in the last row. [time, env]
    """
    following = np.array(end_values, dtype=np.float64)
    # Where the episode goes on, the next row is its next state. Where it ended, the next row is another episode.
    goes_on = ~ended[:-1]
    following[:-1][goes_on] = values[1:][goes_on]
    return following


def turn_gae(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    terminated: Flags,
    ended: Flags,
    *,
    gamma: float,
    lam: float,
    valid: Flags | None = None,
) -> Estimate:
    """Generalised advantage estimation over turns (Schulman et al., 2016).

        δ_t = r_t + γ V(s_{t+1}) (1 - terminated_t) - V(s_t)
        A_t = δ_t + γ λ (1 - ended_t) A_{t+1}

    A turn that ended by truncation still looks ahead to V of the state it led to; a terminated one does not.

    Args:
        rewards: r_t. [time, env]
        values: V(s_t). [time, env]
        next_values: V(s_{t+1}) of the same episode, see `following_values`. [time, env]
        terminated: The task ended with this turn. [time, env]
        ended: Terminated or truncated. [time, env]
        gamma: Discount γ.
        lam: λ: 0 trusts the critic, 1 trusts the rewards.
        valid: False where the turn did not come about (its environment failed); such a turn says nothing. [time, env]
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    if valid is not None:
        deltas = np.where(valid, deltas, 0.0)
    advantages = np.zeros_like(deltas)
    following = np.zeros(deltas.shape[1:])
    for t in reversed(range(len(deltas))):
        following = deltas[t] + gamma * lam * ~ended[t] * following
        advantages[t] = following
    return Estimate(advantages, advantages + values)


def token_gae(values: Floats, turn_return: float, *, lam: float) -> Estimate:
    """GAE over the tokens of one turn, without discount inside it: all of its reward comes with the last token.

    Args:
        values: V before each token. [action]
        turn_return: The turn's return, A_t + V(s_t): what the last token leads to.
        lam: λ inside the turn.
    """
    after = np.append(values[1:], turn_return)
    advantages = np.zeros_like(values)
    following = 0.0
    for i in reversed(range(len(values))):
        following = after[i] - values[i] + lam * following
        advantages[i] = following
    return Estimate(advantages, advantages + values)


def group_advantages(returns: Floats, groups: Sequence[Hashable]) -> Floats:
    """How much better each episode went than the others of its group, in standard deviations. [episode]

    A group whose episodes all went the same says nothing.
    """
    advantages = np.zeros_like(returns)
    labels = np.array([hash(group) for group in groups])
    for label in np.unique(labels):
        members = labels == label
        deviation = returns[members].std()
        if deviation > 1e-8:
            advantages[members] = (returns[members] - returns[members].mean()) / deviation
    return advantages


def same_state_advantages(returns: Floats, groups: Sequence[Hashable], states: Sequence[Hashable]) -> Floats:
    """How much better each turn's action did than others taken in the same state of the same task. [turn]

    The step-level half of GiGPO (Feng et al., 2025): turns of a group that stand in equal states are compared by the
    return from there on. A state that only one turn stood in says nothing.

    Args:
        returns: Discounted reward from each turn on. [turn]
        groups: The group of each turn's episode: its task and round. [turn]
        states: Where the turn was taken, such as its `state_key`. [turn]
    """
    advantages = np.zeros_like(returns)
    members: dict[tuple[Hashable, Hashable], list[int]] = {}
    for index, label in enumerate(zip(groups, states, strict=True)):
        members.setdefault(label, []).append(index)
    for places in members.values():
        part = returns[places]
        deviation = part.std()
        if deviation > 1e-8:
            advantages[places] = (part - part.mean()) / deviation
    return advantages


def normalise(advantages: Floats, domains: Sequence[str]) -> Floats:
    """Zero mean and unit deviation within each domain, so that no domain's reward scale drowns another's. [turn]"""
    normalised = np.array(advantages, dtype=np.float64)
    labels = np.array(domains)
    for domain in np.unique(labels):
        members = labels == domain
        if members.sum() > 1:
            part = normalised[members]
            normalised[members] = (part - part.mean()) / (part.std() + 1e-8)
    return normalised


def explained_variance(values: Floats, returns: Floats) -> float:
    """1 - Var(returns - values) / Var(returns): 1 is perfect, 0 no better than a constant, below 0 worse than one."""
    variance = float(np.var(returns))
    return 0.0 if variance == 0.0 else 1.0 - float(np.var(returns - values)) / variance
