"""Metrics against hand-worked numbers."""

from __future__ import annotations

import pytest

from cmat_gym.envs.mind2web.records import Goal, facts
from cmat_gym.envs.mind2web.scorer import (
    StepResult,
    action_f1,
    goal_reached,
    score_mind2web,
    score_step,
    score_steps,
)


@pytest.mark.parametrize(
    ("predicted", "gold", "expected"),
    [
        ("CLICK", "CLICK", 1.0),
        ("CLICK ", "CLICK", 1.0),
        ("", "", 1.0),
        (" ", "", 1.0),
        ("", "CLICK", 0.0),
        ("CLICK", "", 0.0),
        ("TYPE a a", "TYPE a", 1.0),  # sets: repeats do not count
        ("TYPE A", "TYPE a", 0.5),  # case does
        ("SELECT Queen bed", "SELECT Queen", 0.8),  # 2 shared of 3 and 2
        ("TYPE x y", "SELECT x y", 2 / 3),
        ("CLICK x", "CLICK", 2 / 3),
        ("click", "CLICK", 0.0),
    ],
)
def test_action_f1(predicted: str, gold: str, expected: float) -> None:
    assert action_f1(predicted, gold) == pytest.approx(expected)
    assert action_f1(gold, predicted) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("element", "action", "positives", "expected", "success"),
    [
        ("7", "CLICK", {"7"}, (True, 1.0), True),
        ("8", "CLICK", {"7", "8"}, (True, 1.0), True),
        ("8", "CLICK", {"7"}, (False, 1.0), False),
        ("7", "TYPE", {"7"}, (True, 0.0), False),
        ("", "", {"7"}, (False, 0.0), False),
        ("7", "CLICK", set(), (False, 0.0), False),  # no positive among the first ten: wrong in all three
    ],
)
def test_steps(element: str, action: str, positives: set[str], expected: tuple[bool, float], success: bool) -> None:
    result = score_step(element, action, positives, "CLICK")
    assert (result.element, result.f1) == expected
    assert result.success is success


def test_a_task_is_the_mean_over_its_steps_and_success_is_all_of_them() -> None:
    score = score_steps([StepResult(True, 1.0), StepResult(True, 0.5), StepResult(False, 1.0)], 4)
    assert score.value == 0.25
    assert score.details == {"element_acc": 0.5, "action_f1": 0.625, "step_sr": 0.25, "steps": 4}
    assert score.success is False
    assert score_steps([StepResult(True, 1.0)] * 2, 2).success is True


START = facts({"cart": {}, "mails": {"1": {"read": False}}, "_note": "x"})


@pytest.mark.parametrize(
    ("end", "answer", "value"),
    [
        ({"cart": {"mug": 2, "lamp": 1}}, "", 1.0),
        ({"cart": {"mug": 2, "lamp": 1}}, None, 2 / 3),  # right, but not declared done
        ({"cart": {"mug": 2}}, "", 1 / 3),
        ({"cart": {"mug": 3, "lamp": 1}}, "", 1 / 3),
        ({"cart": {"mug": 2, "lamp": 1, "hat": 1}}, "", 1 / 3),  # one thing too many
        ({"cart": {"mug": 2, "hat": 1}}, "", 0.0),
        ({"cart": {}}, "", 0.0),
    ],
)
def test_live_tasks_pay_sub_goals_and_charge_for_what_was_not_asked(
    end: dict, answer: str | None, value: float
) -> None:
    goal = Goal({"cart/mug": 2, "cart/lamp": 1})
    now = {**end, "mails": {"1": {"read": False}}, "_note": "y"}
    score = score_mind2web(START, facts(now), goal, answer)
    assert score.value == pytest.approx(value)
    assert score.success is (value == 1.0)


def test_questions_need_the_answer_and_an_untouched_site() -> None:
    goal = Goal(answer="$12.50")
    assert score_mind2web(START, START, goal, " $12.50. ").success
    for answer in ("", "12.50", "$12.5", "$12.50 or $13.50", None):
        assert score_mind2web(START, START, goal, answer).value == 0.0
    assert score_mind2web(START, {**START, "cart/mug": 1}, goal, "$12.50").value == 0.0


def test_deleting_is_a_goal_too_and_types_are_not_mixed_up() -> None:
    start = {"events": {"1": {"title": "Yoga"}, "2": {"title": "Choir"}}}
    goal = Goal({"events/1/title": None})
    assert goal_reached(start, {"events": {"2": {"title": "Choir"}}}, goal)
    assert not goal_reached(start, {"events": {}}, goal)
    assert not goal_reached({"x": False}, {"x": "True"}, Goal({"x": True}))
