"""A judge's figures against values worked out by hand, against scikit-free definitions, and on planted cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.judging import auroc, expected_calibration_error, fit_logistic, judge_report

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30)


@given(PAIRS)
def test_auroc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    """Fails when ties do not count half, or when ranks are off by one."""
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, up in pairs if up for b, other in pairs if not other]
    found = auroc([float(score) for score, _ in pairs], [outcome for _, outcome in pairs])
    assert math.isnan(found) if not wins else found == pytest.approx(sum(wins) / len(wins))


def test_ece_by_hand() -> None:
    """Fails when bins are not weighted by their size, or 1.0 falls out of the last one."""
    # Bin [0.2, 0.3): mean 0.25, half succeed: 0.25. Bin [0.9, 1]: mean 0.975, all succeed: 0.025. Weights 2/4 and 2/4.
    found = expected_calibration_error([0.22, 0.28, 0.95, 1.0], [True, False, True, True])
    assert found == pytest.approx(0.5 * 0.25 + 0.5 * 0.025)
    assert expected_calibration_error([0.5] * 4, [True, False] * 2) == 0.0
    # Three of four in one bin.
    assert expected_calibration_error([0.1, 0.1, 0.1, 0.9], [False] * 4) == pytest.approx(0.75 * 0.1 + 0.25 * 0.9)
    assert math.isnan(expected_calibration_error([], []))
    for wrong in ([1.5], [-0.1]):
        with pytest.raises(UsageError, match="Probabilities in"):
            expected_calibration_error(wrong, [True])


def test_logistic_regression_finds_the_curve_that_made_the_data() -> None:
    """Fails when slope and offset are swapped, not scaled back, or of the wrong sign."""
    np_random = np.random.default_rng(0)
    scores = np_random.normal(30.0, 5.0, size=20_000)
    outcomes = np_random.random(len(scores)) < 1 / (1 + np.exp(-(0.4 * scores - 12.0)))
    slope, offset = fit_logistic(scores, outcomes)
    assert slope == pytest.approx(0.4, rel=0.05)
    assert offset == pytest.approx(-12.0, rel=0.05)
    calibrated = 1 / (1 + np.exp(-(slope * scores + offset)))
    assert expected_calibration_error(calibrated, outcomes) < 0.02


def test_logistic_regression_survives_extremes() -> None:
    """Fails when separable, constant or single-class data gives infinities."""
    for scores, outcomes in (
        ([0.0, 1.0], [False, True]),
        ([2.0, 2.0, 2.0], [True, False, True]),
        ([1.0, 2.0], [True, True]),
        ([], []),
    ):
        slope, offset = fit_logistic(scores, outcomes)
        assert math.isfinite(slope)
        assert math.isfinite(offset)
    slope, offset = fit_logistic([2.0] * 100, [True] * 75 + [False] * 25)
    assert 1 / (1 + math.exp(-(2 * slope + offset))) == pytest.approx(0.75, abs=0.02)


def test_the_report_by_hand() -> None:
    """Fails when the gap is turned around, or when a figure is computed from another column."""
    report = judge_report(
        values=[0.0, 1.0, 0.0, 2.0],
        returns=[0.0, 2.0, 0.0, 2.0],
        probabilities=[0.0, 1.0, 0.0, 1.0],
        successes=[False, True, True, True],
        last_rewards=[0.9, 0.5],
        scores=[0.0, 1.0],
    )
    # Residuals 0, 1, 0, 0: variance 3/16; returns 0, 2, 0, 2: variance 1.
    assert report.explained_variance == pytest.approx(1 - 3 / 16)
    assert report.auroc == pytest.approx((1 + 0.5 + 1) / 3)
    assert report.ece == pytest.approx(0.5 * 0.5)
    assert report.brier == pytest.approx(0.25)
    assert report.gap == pytest.approx((0.9 - 0.5) / 2)
    assert (report.turns, report.episodes) == (4, 2)
    assert report.metrics()["checker/gap"] == report.gap
    with pytest.raises(UsageError, match="one reward and score per episode"):
        judge_report([0.0], [0.0], [0.0], [True], [], [1.0])
    with pytest.raises(UsageError, match="One finite score"):
        auroc([float("nan")], [True])


def test_a_hacked_judge_shows_in_the_gap() -> None:
    """Fails when a critic that loves everything looks as good as one that tells the truth."""
    scores = [0.0, 0.2, 1.0]
    honest = judge_report([], [], [], [], scores, scores)
    fond = judge_report([], [], [], [], [1.0, 1.0, 1.0], scores)
    assert honest.gap == 0.0
    assert fond.gap == pytest.approx(0.6)
