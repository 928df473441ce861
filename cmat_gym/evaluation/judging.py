"""How good a judge is: explained variance, AUROC and calibration of success prediction, and the checker gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cmat_gym.core.errors import UsageError

__all__ = ["JudgeReport", "auroc", "expected_calibration_error", "fit_logistic", "judge_report"]

Floats: TypeAlias = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class JudgeReport:
    """What a Checker's judgements are worth, on turns it did not learn from.

    Attributes:
        explained_variance: 1 - Var(return - V) / Var(return): 1 is perfect, 0 no better than a constant.
        auroc: Probability that a turn of a success is valued above a turn of a failure; 0.5 is chance, nan where all
            episodes went the same way.
        ece: Expected calibration error of the predicted probability of success, in [0, 1]; 0 is perfect.
        brier: Mean squared error of that probability; a constant guess of 1/2 has 0.25.
        gap: Mean over episodes of the Checker's reward for the last action minus the official score. Above 0: it is
            content with more than was achieved, and a policy that learns from it will find out.
        turns: Turns judged.
        episodes: Episodes judged.
    """

    explained_variance: float
    auroc: float
    ece: float
    brier: float
    gap: float
    turns: int
    episodes: int

    def metrics(self, prefix: str = "checker/") -> dict[str, float]:
        """The numbers by their names in the log."""
        return {f"{prefix}{name}": float(value) for name, value in asdict(self).items()}


def auroc(scores: Floats, outcomes: Sequence[bool] | npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: P(score of a success > score of a failure), ties counted half. nan with one class."""
    values, successes = _columns(scores, outcomes)
    positives = int(successes.sum())
    negatives = len(successes) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    # Mean ranks, from 1 on; equal scores share theirs.
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    assert len(unique) == len(ends)
    wins = ranks[successes].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def expected_calibration_error(
    probabilities: Floats, outcomes: Sequence[bool] | npt.NDArray[np.bool_], bins: int = 10
) -> float:
    """Mean over bins of equal width of |share of successes - mean probability|, weighted by size (Guo et al., 2017).

    Raises:
        UsageError: A probability outside of [0, 1], or no bins.
    """
    values, successes = _columns(probabilities, outcomes)
    if bins < 1 or not ((values >= 0) & (values <= 1)).all():
        raise UsageError("Probabilities in [0, 1] and at least one bin are expected")
    if not len(values):
        return float("nan")
    places = np.minimum((values * bins).astype(int), bins - 1)
    error = 0.0
    for place in np.unique(places):
        members = places == place
        error += members.mean() * abs(successes[members].mean() - values[members].mean())
    return float(error)


def fit_logistic(
    scores: Floats, outcomes: Sequence[bool] | npt.NDArray[np.bool_], ridge: float = 1e-3
) -> tuple[float, float]:
    """Slope and offset of σ(slope · score + offset), fitted by Newton's method (Platt, 1999).

    Targets are Platt's, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that separable outcomes have a finite answer; the
    little ridge on the slope gives constant scores one, too.
    """
    values, successes = _columns(scores, outcomes)
    positives = int(successes.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (len(values) - positives + 2)
    targets = np.where(successes, high, low)
    # Standardised scores keep Newton's steps well scaled, whatever the critic's unit.
    centre, scale = (float(values.mean()), float(values.std()) or 1.0) if len(values) else (0.0, 1.0)
    inputs = np.stack([(values - centre) / scale, np.ones_like(values)], axis=1)  # [turn, 2]
    penalty = np.diag([ridge, 1e-9])
    weights = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        gradient = inputs.T @ (p - targets) / max(1, len(values)) + penalty @ weights
        hessian = (inputs.T * (p * (1 - p))) @ inputs / max(1, len(values)) + penalty
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    slope = float(weights[0] / scale)
    return slope, float(weights[1] - slope * centre)


def judge_report(
    values: Floats,
    returns: Floats,
    probabilities: Floats,
    successes: Sequence[bool] | npt.NDArray[np.bool_],
    last_rewards: Floats,
    scores: Floats,
) -> JudgeReport:
    """All figures at once.

    Args:
        values: V(s_t). [turn]
        returns: What followed: the discounted rewards. [turn]
        probabilities: Predicted probability of success. [turn]
        successes: Whether the turn's episode ended in success. [turn]
        last_rewards: The Checker's reward for the last action. [episode]
        scores: Official score at the end. [episode]

    Raises:
        UsageError: Columns of different lengths.
    """
    v, r = np.asarray(values, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    p, outcomes = _columns(probabilities, successes)
    if not len(v) == len(r) == len(p) or len(last_rewards) != len(scores):
        raise UsageError(
            f"One value, return and probability per turn, and one reward and score per episode are expected, got "
            f"{len(v)}, {len(r)}, {len(p)}, {len(last_rewards)} and {len(scores)}"
        )
    variance = float(r.var()) if len(r) else 0.0
    gaps = np.asarray(last_rewards, dtype=np.float64) - np.asarray(scores, dtype=np.float64)
    return JudgeReport(
        explained_variance=0.0 if variance == 0.0 else 1.0 - float((r - v).var()) / variance,
        auroc=auroc(v, outcomes),
        ece=expected_calibration_error(p, outcomes),
        brier=float(np.square(p - outcomes).mean()) if len(p) else float("nan"),
        gap=float(gaps.mean()) if len(gaps) else float("nan"),
        turns=len(v),
        episodes=len(gaps),
    )


def _columns(
    scores: Floats, outcomes: Sequence[bool] | npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    values, successes = np.asarray(scores, dtype=np.float64), np.asarray(outcomes, dtype=np.bool_)
    if values.shape != successes.shape or values.ndim != 1 or not np.isfinite(values).all():
        raise UsageError(
            f"One finite score for each outcome is expected, got shapes {values.shape} and {successes.shape}"
        )
    return values, successes
