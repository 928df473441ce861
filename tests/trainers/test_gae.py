"""Advantages against episodes worked out by hand, and against a process whose values are known in closed form.

Each check is a function that runs on the real estimator, where it must pass, and on planted bugs, where it must fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cmat_gym.trainers import gae
from cmat_gym.trainers.gae import Estimate, explained_variance, group_advantages, normalise, token_gae, turn_gae


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def flags(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.bool_)[:, None]


def estimate(
    rewards: np.ndarray,
    values: np.ndarray,
    end_values: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    lam: float,
) -> Estimate:
    following = gae.following_values(values, ended, end_values)
    return gae.turn_gae(rewards, values, following, terminated, ended, gamma=gamma, lam=lam)


def check_terminated() -> None:
    # γ = 1/2, λ = 1/2. δ_2 = 1 - 0.6 = 0.4;  δ_1 = 0 + 0.5·0.6 - 0.4 = -0.1;  δ_0 = 0.2 + 0.5·0.4 - 0.5 = -0.1.
    # A_2 = 0.4;  A_1 = -0.1 + 0.25·0.4 = 0;  A_0 = -0.1 + 0.25·0 = -0.1.  The value after the end, 9, must not matter.
    result = estimate(
        column(0.2, 0, 1), column(0.5, 0.4, 0.6), column(9, 9, 9), flags(0, 0, 1), flags(0, 0, 1), 0.5, 0.5
    )
    np.testing.assert_allclose(result.advantages, column(-0.1, 0.0, 0.4), atol=1e-12)
    np.testing.assert_allclose(result.returns, column(0.4, 0.4, 1.0), atol=1e-12)


def check_truncated() -> None:
    # Cut off after two turns in a state worth 0.8: δ_1 = 0 + 0.5·0.8 - 0.4 = 0;  δ_0 = 0 + 0.5·0.4 - 0.5 = -0.3.
    result = estimate(column(0, 0), column(0.5, 0.4), column(9, 0.8), flags(0, 0), flags(0, 1), 0.5, 0.5)
    np.testing.assert_allclose(result.advantages, column(-0.3, 0.0), atol=1e-12)


def check_autoreset() -> None:
    # Row 1 truncates the first episode in a state worth 0.6; rows 2 and 3 are another one, which the rollout's end cuts
    # in a state worth 0.2. Neither its first value (0.9) nor its advantages may reach rows 0 and 1.
    # δ_3 = 0 + 0.5·0.2 - 0.3 = -0.2;  δ_2 = 0.1 + 0.5·0.3 - 0.9 = -0.65;  A_2 = -0.65 + 0.5·(-0.2) = -0.75
    # δ_1 = 0.4 + 0.5·0.6 - 0.2 = 0.5;  δ_0 = 0 + 0.5·0.2 - 0.1 = 0;  A_0 = 0 + 0.5·0.5 = 0.25
    result = estimate(
        column(0, 0.4, 0.1, 0),
        column(0.1, 0.2, 0.9, 0.3),
        column(9, 0.6, 9, 0.2),
        flags(0, 0, 0, 0),
        flags(0, 1, 0, 0),
        0.5,
        1.0,
    )
    np.testing.assert_allclose(result.advantages, column(0.25, 0.5, -0.75, -0.2), atol=1e-12)


def check_two_state_process() -> None:
    # left pays 1 and leads to right, right pays 0 and leads to left, for ever:
    # V(left) = 1 / (1 - γ²) and V(right) = γ V(left). The true values leave nothing to be surprised by, wherever
    # episodes are cut.
    gamma = 0.9
    worth = {"left": 1 / (1 - gamma**2), "right": gamma / (1 - gamma**2)}
    episodes = [["left", "right", "left", "right", "left"], ["left", "right", "left"], ["right", "left", "right"]]
    states = [state for episode in episodes for state in episode]
    rewards = column(*[float(state == "left") for state in states])
    values = column(*[worth[state] for state in states])
    after = column(*[worth["right" if state == "left" else "left"] for state in states])
    ended = flags(*[i == len(episode) - 1 for episode in episodes for i in range(len(episode))])
    for lam in (0.0, 0.5, 1.0):
        result = estimate(rewards, values, after, np.zeros_like(ended), ended, gamma, lam)
        np.testing.assert_allclose(result.advantages, np.zeros_like(rewards), atol=1e-12)
        np.testing.assert_allclose(result.returns, values, atol=1e-12)


CHECKS = [check_terminated, check_truncated, check_autoreset, check_two_state_process]


@pytest.mark.parametrize("check", CHECKS)
def test_estimator(check: Callable[[], None]) -> None:
    check()


def wrong_sign(*args: Any, **kwargs: Any) -> Estimate:
    right = turn_gae(*args, **kwargs)
    return Estimate(-right.advantages, right.returns)


def bootstraps_terminated(r: Any, v: Any, n: Any, terminated: Any, ended: Any, **kwargs: Any) -> Estimate:
    return turn_gae(r, v, n, np.zeros_like(terminated), ended, **kwargs)


def forgets_truncated(r: Any, v: Any, n: Any, terminated: Any, ended: Any, **kwargs: Any) -> Estimate:
    return turn_gae(r, v, n, terminated | ended, ended, **kwargs)


def leaks_over_resets(r: Any, v: Any, n: Any, terminated: Any, ended: Any, **kwargs: Any) -> Estimate:
    return turn_gae(r, v, n, terminated, terminated, **kwargs)


def stale_values(values: Any, ended: Any, end_values: Any) -> Any:
    return np.array(values)  # V(s_t) where V(s_{t+1}) belongs


def values_of_the_next_episode(values: Any, ended: Any, end_values: Any) -> Any:
    return gae_following(values, np.zeros_like(ended), end_values)


gae_following = gae.following_values


@pytest.mark.parametrize(
    ("name", "bug", "caught_by"),
    [
        ("turn_gae", wrong_sign, check_terminated),
        ("turn_gae", bootstraps_terminated, check_terminated),
        ("turn_gae", forgets_truncated, check_truncated),
        ("turn_gae", leaks_over_resets, check_autoreset),
        ("following_values", stale_values, check_autoreset),
        ("following_values", stale_values, check_two_state_process),
        ("following_values", values_of_the_next_episode, check_autoreset),
        ("turn_gae", forgets_truncated, check_two_state_process),
    ],
)
def test_planted_bugs_are_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, bug: Callable[..., Any], caught_by: Callable[[], None]
) -> None:
    monkeypatch.setattr(gae, name, bug)
    with pytest.raises(AssertionError):
        caught_by()


def test_a_failed_turn_says_nothing() -> None:
    # The environment broke in row 1: its own advantage is 0, and row 0 only looks as far as V of the state it led to.
    result = turn_gae(
        column(0, 0, 1),
        column(0.5, 0.4, 0.6),
        column(0.4, 9, 9),
        flags(0, 0, 1),
        flags(0, 1, 1),
        gamma=0.5,
        lam=1.0,
        valid=flags(1, 0, 1),
    )
    np.testing.assert_allclose(result.advantages, column(-0.3, 0.0, 0.4), atol=1e-12)


def test_environments_do_not_mix() -> None:
    generator = np.random.default_rng(0)
    shape = (7, 3)
    rewards, values, following = (generator.normal(size=shape) for _ in range(3))
    terminated = generator.random(shape) < 0.2
    ended = terminated | (generator.random(shape) < 0.2)

    def advantages(n: slice) -> np.ndarray:
        parts = rewards[:, n], values[:, n], following[:, n], terminated[:, n], ended[:, n]
        return turn_gae(*parts, gamma=0.9, lam=0.8).advantages

    alone = [advantages(slice(n, n + 1)) for n in range(3)]
    np.testing.assert_array_equal(advantages(slice(None)), np.concatenate(alone, axis=1))


def test_lambda_zero_is_the_delta_and_lambda_one_the_return() -> None:
    rewards, values = column(0.3, -0.2, 1.0), column(0.1, 0.2, 0.3)
    following = column(0.2, 0.3, 0.0)
    terminated = flags(0, 0, 1)
    delta = rewards + 0.9 * following * ~terminated - values
    zero = turn_gae(rewards, values, following, terminated, terminated, gamma=0.9, lam=0.0)
    np.testing.assert_allclose(zero.advantages, delta)
    one = turn_gae(rewards, values, following, terminated, terminated, gamma=0.9, lam=1.0)
    np.testing.assert_allclose(one.returns[0, 0], 0.3 + 0.9 * (-0.2) + 0.81 * 1.0)


def test_tokens_share_their_turns_return() -> None:
    # λ = 1: A_i = return - V_i. λ = 0: A_i = V_{i+1} - V_i, and the last one meets the return.
    values = np.array([0.2, 0.5, 0.1])
    np.testing.assert_allclose(token_gae(values, 0.7, lam=1.0).advantages, [0.5, 0.2, 0.6])
    np.testing.assert_allclose(token_gae(values, 0.7, lam=0.0).advantages, [0.3, -0.4, 0.6])


def test_groups_compare_within_themselves() -> None:
    advantages = group_advantages(np.array([1.0, 0.0, 5.0, 5.0, 1.0, 0.0]), [0, 0, 1, 1, 0, 0])
    np.testing.assert_allclose(advantages, [1, -1, 0, 0, 1, -1])


def test_normalisation_stays_within_domains() -> None:
    scaled = normalise(np.array([1.0, 3.0, 100.0, 300.0, 7.0]), ["a", "a", "b", "b", "c"])
    np.testing.assert_allclose(scaled, [-1, 1, -1, 1, 7], atol=1e-6)


def test_explained_variance() -> None:
    returns = np.array([0.0, 1.0, 2.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(np.ones(3), returns) == 0.0
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, np.ones(3)) == 0.0
