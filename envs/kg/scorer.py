"""The score of an answer: F1 of two sets of ids, as AgentBench defines it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

__all__ = ["KGScore", "score_kg"]


class KGScore(NamedTuple):
    """F1 and what it is made of.

    `f1` is AgentBench's main score, `exact` (EM) whether the sets are equal, `executable` whether anything was found.
    """

    f1: float
    exact: bool
    executable: bool
    precision: float
    recall: float


def score_kg(predicted: AbstractSet[str], gold: AbstractSet[str]) -> KGScore:
    """Compare the ids that were answered with the right ones.

    Args:
        predicted: What the answered variable stands for; empty where nothing was answered.
        gold: The right ids or values.
    """
    shared = len(predicted & gold)
    precision = shared / len(predicted) if predicted else 0.0
    recall = shared / len(gold) if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if shared else 0.0
    return KGScore(f1, predicted == gold, bool(predicted), precision, recall)
