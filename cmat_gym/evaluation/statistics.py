"""Intervals: how far a figure of a finite panel can be trusted.

Means are resampled over tasks (Efron's percentile bootstrap), rates of tasks get Wilson's score interval, and two runs
on the same tasks are compared task by task, which takes out how hard the tasks are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmat_gym.core.errors import UsageError

__all__ = ["Interval", "bootstrap_difference", "bootstrap_mean", "bootstrap_ratio", "bootstrap_strata", "wilson"]

RESAMPLES = 10_000
_CHUNK = 1 << 20  # indices drawn at a time, so that memory does not grow with the panel


class Interval(NamedTuple):
    """An estimate with the bounds of its interval."""

    estimate: float
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """A rate of independent trials with Wilson's score interval (Wilson, 1927); honest at 0 and at 1 too.

    Raises:
        UsageError: No trials, more successes than trials, or a confidence outside (0, 1).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise UsageError(f"A rate needs 0 <= successes <= trials and a trial, got {successes} of {trials}")
    z = NormalDist().inv_cdf(0.5 + _check(confidence) / 2)
    rate = successes / trials
    shrink = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At 0 and at 1 the bound is the rate itself; rounding must not put it on the far side.
    return Interval(rate, min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half)))


def bootstrap_mean(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """A mean with its percentile bootstrap interval.

    Raises:
        UsageError: No values, or a confidence outside (0, 1).
    """
    return bootstrap_ratio(values, [1] * len(values), confidence=confidence, resamples=resamples, seed=seed)


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Sum over sum, resampled in pairs: a rate over turns, whose turns hang together within an episode.

    Raises:
        UsageError: No values, lengths that differ, a sum of denominators of 0, or a confidence outside (0, 1).
    """
    over, under = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if len(over) == 0 or len(over) != len(under):
        raise UsageError(f"Resampling needs as many numerators as denominators, got {len(over)} and {len(under)}")
    if under.sum() <= 0:
        raise UsageError("A ratio needs a positive sum of denominators")
    generator = np.random.default_rng(seed)
    ratios: list[NDArray[np.float64]] = []
    for count in _chunks(resamples, len(over)):
        picks = generator.integers(0, len(over), size=(count, len(over)))
        below = under[picks].sum(axis=1)
        ratios.append(over[picks].sum(axis=1)[below > 0] / below[below > 0])
    tail = (1 - _check(confidence)) / 2
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail])
    return Interval(float(over.sum() / under.sum()), float(low), float(high))


def bootstrap_strata(
    groups: Sequence[Sequence[float]],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Mean of the groups' means, each group resampled by itself: every group weighs the same, whatever its size.

    Raises:
        UsageError: No groups, an empty one, or a confidence outside (0, 1).
    """
    if not groups or not all(len(group) for group in groups):
        raise UsageError(f"Every group needs a value, got groups of {[len(group) for group in groups]}")
    generator = np.random.default_rng(seed)
    values = [np.asarray(group, dtype=float) for group in groups]
    longest = max(map(len, values))
    means = [
        np.mean(
            [group[generator.integers(0, len(group), size=(count, len(group)))].mean(axis=1) for group in values],
            axis=0,
        )
        for count in _chunks(resamples, longest)
    ]
    tail = (1 - _check(confidence)) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(np.mean([group.mean() for group in values])), float(low), float(high))


def bootstrap_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Mean of `second[i] - first[i]` with its bootstrap interval; the two runs must have met the same tasks in order.

    Raises:
        UsageError: Lengths that differ, no values, or a confidence outside (0, 1).
    """
    if len(first) != len(second):
        raise UsageError(f"A paired comparison needs equally many values, got {len(first)} and {len(second)}")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    return bootstrap_mean(differences, confidence=confidence, resamples=resamples, seed=seed)


def _chunks(resamples: int, length: int) -> list[int]:
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1, got {resamples}")
    step = max(1, _CHUNK // length)
    full, rest = divmod(resamples, step)
    return [step] * full + ([rest] if rest else [])


def _check(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise UsageError(f"confidence must lie in (0, 1), got {confidence}")
    return confidence
