"""The template's own steps that single worlds rely on."""

from __future__ import annotations

import pytest

from cmat_gym.core.env import Outcome
from cmat_gym.core.protocol import Call
from cmat_gym.core.task import Task
from cmat_gym.core.testing import CounterEnv


class StrictCounter(CounterEnv):
    """Counting down is a mistake that ends the task."""

    def _apply(self, call: Call) -> Outcome:
        if call.name == "down":
            return Outcome("wrong way", terminated=True, valid=False)
        return super()._apply(call)


def test_a_mistake_can_end_the_task() -> None:
    env = StrictCounter()
    env.reset(seed=0)
    assert env.step("up")[4]["valid_action"] is True
    observation, _, terminated, truncated, info = env.step("down")
    assert (observation, terminated, truncated, info["valid_action"]) == ("wrong way", True, False, False)


def test_going_back_within_a_task_hashes_it_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    original = Task.content_hash
    monkeypatch.setattr(Task, "content_hash", lambda task: hashed.append(task.id) or original(task))
    env = CounterEnv()
    env.reset(options={"task": 0})
    start = env.snapshot()
    key = env.state_key()
    env.step("up")
    env.restore(start)
    assert env.state_key() == key
    assert len(hashed) == 1
    env.reset(options={"task": 1})
    env.restore(start)
    assert env.state_key() == key
    assert len(hashed) == 3
