"""A world may write its list of admissible actions itself; going back to a snapshot keeps the task's hash."""

from __future__ import annotations

import pickle

import pytest

from cmat_gym.core.task import Task
from cmat_gym.core.testing import CounterEnv


class ShortList(CounterEnv):
    """A world that lists one action only."""

    def _list_actions(self) -> list[str] | None:
        return ["up"]


class NoList(CounterEnv):
    """A world that cannot list its actions."""

    def _list_actions(self) -> list[str] | None:
        return None


def test_the_worlds_own_list_is_shown_until_the_end() -> None:
    env = ShortList()
    assert env.reset(seed=0)[1]["admissible_actions"] == ["up"]
    assert env.step("up")[4]["admissible_actions"] == ["up"]
    assert env.step("stop")[4]["admissible_actions"] == []


def test_a_world_without_a_list_shows_none() -> None:
    assert "admissible_actions" not in NoList().reset(seed=0)[1]


def test_a_restore_hashes_a_task_only_where_it_is_another_object(monkeypatch: pytest.MonkeyPatch) -> None:
    env, other = CounterEnv(), CounterEnv()
    env.reset(seed=0)
    env.step("up")
    state, key = env.snapshot(), env.state_key()
    other.reset(seed=1)
    hashed: list[str] = []
    content_hash = Task.content_hash
    monkeypatch.setattr(Task, "content_hash", lambda task: hashed.append(task.id) or content_hash(task))
    assert env.restore(state)[1]["state_key"] == key
    assert hashed == []
    assert other.restore(pickle.loads(pickle.dumps(state)))[1]["state_key"] == key
    assert hashed == [state.task.id]
