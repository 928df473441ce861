"""Grouped advantages, GRPO's and GiGPO's, against groups worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cmat_gym.core.roles import TokenSample
from cmat_gym.trainers.advantages import group_rows
from cmat_gym.trainers.gae import same_state_advantages
from cmat_gym.trainers.rollouts import GroupPlay


def play(group: int, rewards: list[float], states: str) -> GroupPlay:
    """An episode; each turn has as many tokens as its number."""
    samples = [TokenSample((1,), (2,) * (t + 1), (0.0,) * (t + 1)) for t in range(len(rewards))]
    return GroupPlay(group, "toy", samples=samples, rewards=rewards, state_keys=list(states))


def turn_advantages(plays: list[GroupPlay], gamma: float, step_weight: float) -> list[float]:
    rows = group_rows(plays, gamma, step_weight)
    for row in rows:
        assert row.advantages.shape == (len(row.sample.token_ids),)
        assert len(set(row.advantages.tolist())) == 1
    return [float(row.advantages[0]) for row in rows]


def test_group_relative_by_hand() -> None:
    """Fails without the discount, across groups, without the deviation, or when turns of an episode differ."""
    # γ = 1/2. Group 0: returns 0.5·1 = 0.5 and 1.5: mean 1, deviation 0.5. Group 1: equal returns say nothing.
    plays = [play(0, [0.0, 1.0], "ab"), play(0, [1.5], "a"), play(1, [9.0], "a"), play(1, [9.0], "a")]
    assert turn_advantages(plays, 0.5, 0.0) == pytest.approx([-1.0, -1.0, 1.0, 0.0, 0.0])
    rows = group_rows(plays, 0.5)
    assert [float(row.returns[0]) for row in rows] == [0.5, 1.0, 1.5, 9.0, 9.0]


def test_same_state_group_by_hand() -> None:
    """Fails when states are compared across groups, by the reward instead of the return, or without the weight."""
    # γ = 1/2, group 0. Returns from each turn: play A 0.5, 1.0 in states a, b; play B 2.0, 0 in a, c; play C 1.0, 2.0
    # in d, b. State a: 0.5 and 2.0: ∓1. State b: 1.0 and 2.0: ∓1. States c and d stand alone: 0.
    plays = [play(0, [0.0, 1.0], "ab"), play(0, [2.0, 0.0], "ac"), play(0, [0.0, 2.0], "db"), play(1, [7.0], "a")]
    returns = [0.5, 2.0, 1.0]
    episode = [(r - np.mean(returns)) / np.std(returns) for r in returns]
    step = [-1.0, -1.0, 1.0, 0.0, 0.0, 1.0]
    expected = [episode[i // 2] + 0.5 * step[i] for i in range(6)] + [0.0]
    assert turn_advantages(plays, 0.5, 0.5) == pytest.approx(expected)


def test_equal_states_with_equal_returns_say_nothing() -> None:
    """Fails when a deviation of zero divides."""
    assert same_state_advantages(np.array([1.0, 1.0, 3.0]), [0, 0, 0], ["a", "a", "b"]).tolist() == [0.0, 0.0, 0.0]
    assert same_state_advantages(np.zeros(0), [], []).tolist() == []


def test_a_good_turn_in_a_failed_episode_is_told_apart() -> None:
    """Fails when GiGPO degenerates to GRPO: all turns of an episode alike, whatever was done where."""
    # Both episodes pass through s; one acts well there and errs later, the other the other way round.
    plays = [play(0, [1.0, 0.0], "st"), play(0, [0.0, 1.0], "st")]
    assert turn_advantages(plays, 1.0, 0.0) == [0.0, 0.0, 0.0, 0.0]
    assert turn_advantages(plays, 1.0, 1.0) == [0.0, -1.0, 0.0, 1.0]
