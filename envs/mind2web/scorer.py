"""Scores of the world: a live task's final state, and answers to recorded steps. Pure functions.

Live: every fact that should have changed and every page the task asks about is a sub-goal, declaring the task done at
the right moment is the last one, and a fact that changed although it should not have costs one:
score = max(0, reached - spoilt) / number of sub-goals.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from cmat_gym.core.task import Score
from cmat_gym.envs.mind2web.records import Db, Facts, Goal, facts

__all__ = ["LiveScore", "StepResult", "action_f1", "goal_reached", "score_mind2web", "score_step", "score_steps"]


class LiveScore(NamedTuple):
    """Sub-goals of a live task: how many there are, how many are reached, and how much was spoilt on the way."""

    value: float
    reached: int
    wanted: int
    spoilt: int

    @property
    def success(self) -> bool:
        """Whether the site is exactly as it should be, and the agent said so."""
        return self.value == 1.0


def score_mind2web(start: Facts, end: Facts, goal: Goal, answer: str | None) -> LiveScore:
    """Score a visit.

    Args:
        start: Facts of the site before the visit.
        end: Facts of the site now.
        goal: What should have changed, or been answered.
        answer: What the agent said when it declared the task done; None before that.
    """
    reached = sum(_is(end, name, value) for name, value in goal.changes.items())
    spoilt = sum(start.get(name) != end.get(name) for name in start.keys() | end.keys() if name not in goal.changes)
    all_well = reached == len(goal.changes) and not spoilt
    done = answer is not None and all_well and (not goal.answer or same_text(answer, goal.answer))
    wanted = len(goal.changes) + 1
    return LiveScore(max(0, reached + done - spoilt) / wanted, reached + done, wanted, spoilt)


def goal_reached(start: Db, now: Db, goal: Goal) -> bool:
    """Whether nothing is left to do on the site."""
    before, after = facts(start), facts(now)
    if not all(_is(after, name, value) for name, value in goal.changes.items()):
        return False
    return all(before.get(name) == after.get(name) for name in before.keys() | after.keys() if name not in goal.changes)


def _is(end: Facts, name: str, value: str | int | bool | None) -> bool:
    found = end.get(name)
    if isinstance(value, str) and isinstance(found, str):
        return same_text(found, value)
    return found == value


def same_text(left: str, right: str) -> bool:
    """Equal but for case, white space and a final full stop."""
    return _normal(left) == _normal(right)


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".").rstrip()


# Recorded steps -------------------------------------------------------------------------------------------------------


class StepResult(NamedTuple):
    """How one recorded step was answered."""

    element: bool
    f1: float

    @property
    def success(self) -> bool:
        """The right element, and the action to the word."""
        return self.element and self.f1 >= 1.0


def action_f1(predicted: str, gold: str) -> float:
    """F1 of the sets of words of two actions; case counts, repeats do not."""
    left, right = set(predicted.split()), set(gold.split())
    if not left and not right:
        return 1.0
    shared = len(left & right)
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


def score_step(element: str, action: str, positives: Collection[str], gold: str) -> StepResult:
    """One answer: the chosen element's id and the action's text. Without a positive candidate everything is wrong."""
    if not positives:
        return StepResult(False, 0.0)
    return StepResult(element in positives, action_f1(action, gold))


def score_steps(results: Sequence[StepResult], count: int) -> Score:
    """Means over the `count` steps of a task (micro), unanswered ones counted as wrong; success = all right."""
    step_sr = sum(result.success for result in results) / count
    details = {
        "element_acc": sum(result.element for result in results) / count,
        "action_f1": sum(result.f1 for result in results) / count,
        "step_sr": step_sr,
        "steps": count,
    }
    return Score(step_sr, step_sr == 1.0, details)
