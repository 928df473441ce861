"""Scores of the world: a live task's final state, and answers to recorded steps. Pure functions.

Live: every fact that should have changed and every page the task asks about is a sub-goal, declaring the task done at
the right moment is the last one, and a fact that changed although it should not have costs one:
score = max(0, reached - spoilt) / number of sub-goals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cmat_gym.envs.mind2web.records import Db, Facts, Goal, facts

__all__ = ["LiveScore", "goal_reached", "score_mind2web"]


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


def check_goal(start: Mapping[str, object], goal: Goal) -> bool:
    """Whether a goal asks for something: an answer, or at least one fact that is not so already."""
    return bool(goal.answer) or any(start.get(name) != value for name, value in goal.changes.items())
