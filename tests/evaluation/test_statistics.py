"""Intervals against closed forms and against their promise of coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Solutions p of (rate - p)^2 = z^2 p (1 - p) / n with z = 1.959964, worked by hand.
        (0, 10, 0.0, 0.277533),  # z^2 / (n + z^2) = 3.841459 / 13.841459
        (10, 10, 0.722467, 1.0),
        (5, 10, 0.236593, 0.763407),
        (81, 263, 0.255289, 0.366190),  # Newcombe (1998), table I: 0.2553 to 0.3662
    ],
)
def test_wilson_against_its_closed_form(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson(successes, trials)
    assert interval.estimate == successes / trials
    assert interval.low == pytest.approx(low, abs=2e-5)
    assert interval.high == pytest.approx(high, abs=2e-5)


def test_wilson_bounds_solve_the_score_equation() -> None:
    _, low, high = wilson(17, 60, confidence=0.9)
    for bound in (low, high):
        z = (17 / 60 - bound) / math.sqrt(bound * (1 - bound) / 60)
        assert abs(z) == pytest.approx(1.6448536, abs=1e-6)


def test_bootstrap_of_a_mean_is_seeded_and_near_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(0.4, 0.2, size=400).tolist()
    interval = bootstrap_mean(values)
    assert interval == bootstrap_mean(values)
    assert interval != bootstrap_mean(values, seed=1)
    half = 1.959964 * float(np.std(values)) / 20
    assert interval.estimate == pytest.approx(sum(values) / 400)
    assert interval.low == pytest.approx(interval.estimate - half, abs=0.002)
    assert interval.high == pytest.approx(interval.estimate + half, abs=0.002)


def test_bootstrap_of_two_values_against_enumeration() -> None:
    # Resamples of (0, 1) have means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert bootstrap_mean([0.0, 1.0]) == (0.5, 0.0, 1.0)
    assert bootstrap_mean([0.0, 1.0], confidence=0.4) == (0.5, 0.5, 0.5)


def test_bootstrap_covers_the_truth_about_as_often_as_promised() -> None:
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(300):
        _, low, high = bootstrap_mean(generator.random(60).tolist(), resamples=400, seed=generator)
        hits += low <= 0.5 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_ratio_weights_episodes_by_their_turns() -> None:
    interval = bootstrap_ratio([1, 0, 3], [10, 10, 5])
    assert interval.estimate == 4 / 25
    assert interval.low == 0.0
    assert interval.high == pytest.approx(3 / 5)  # three times the last episode: 9 / 15


def test_pairing_takes_out_how_hard_the_tasks_are() -> None:
    hardness = np.random.default_rng(0).random(50)
    first, second = hardness.tolist(), (hardness + 0.05).tolist()
    paired = bootstrap_difference(first, second)
    assert paired.low == pytest.approx(0.05)
    assert paired.high == pytest.approx(0.05)
    assert bootstrap_mean(first).overlaps(bootstrap_mean(second)), "unpaired, the same gain is lost in the noise"


def test_intervals_overlap_when_they_share_a_point() -> None:
    assert Interval(0.2, 0.1, 0.3).overlaps(Interval(0.4, 0.3, 0.5))
    assert not Interval(0.2, 0.1, 0.3).overlaps(Interval(0.4, 0.31, 0.5))


def test_large_panels_are_resampled_in_chunks_with_the_same_meaning() -> None:
    values = np.random.default_rng(1).random(3000).tolist()  # 3000 x 1000 indices take three chunks
    interval = bootstrap_mean(values, resamples=1000)
    assert interval.low < interval.estimate < interval.high < interval.low + 0.03


@pytest.mark.parametrize("call", [
    lambda: wilson(3, 2),
    lambda: wilson(0, 0),
    lambda: wilson(1, 2, confidence=1.0),
    lambda: bootstrap_mean([]),
    lambda: bootstrap_mean([1.0], confidence=0.0),
    lambda: bootstrap_mean([1.0], resamples=0),
    lambda: bootstrap_ratio([1.0], [0.0]),
    lambda: bootstrap_difference([1.0], [1.0, 2.0]),
])  # fmt: skip
def test_impossible_figures_are_refused(call: object) -> None:
    with pytest.raises(UsageError):
        call()  # type: ignore[operator]
