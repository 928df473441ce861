"""Batched play: order, live batches, and environments that fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import cmat_gym
from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.memory import DualMemory
from cmat_gym.core.protocol import Call
from cmat_gym.core.roles import Info, SampledAction, TokenSample
from cmat_gym.core.rollout import rollout
from cmat_gym.core.testing import CounterEnv
from cmat_gym.core.trajectory import Trajectory, replay


class StopPolicy:
    """Says `stop` and remembers the tokens it was sampled as."""

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        return [SampledAction("stop", TokenSample((1,), (2, 3), (-0.5, -0.25))) for _ in infos]


class ExpertPolicy:
    """Plays the expert's actions of the environments it was given; remembers how large its batches were."""

    def __init__(self, envs: Sequence[Any]) -> None:
        self.envs = envs
        self.batches: list[int] = []

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        self.batches.append(len(observations))
        assert not any("Stopped" in text for text in observations), "a finished episode was shown to the policy"
        running = {env.unwrapped.task.id: env for env in self.envs}
        return [running[info["task_id"]].unwrapped.expert_action() for info in infos]


class FragileEnv(CounterEnv):
    """Fails where it is told to: in the reset of one start value, in a step of another."""

    def __init__(self, reset_at: int = -1, step_at: int = -1) -> None:
        super().__init__()
        self.reset_at, self.step_at = reset_at, step_at

    def _begin(self, task: Any) -> str:
        if task.payload["start"] == self.reset_at:
            raise RuntimeError("no power")
        return super()._begin(task)

    def _apply(self, call: Call) -> Any:
        if self.task.payload["start"] == self.step_at:
            raise OSError
        return super()._apply(call)


@pytest.mark.parametrize("wrap", [lambda env: env, DualMemory], ids=["bare", "memory"])
def test_every_task_is_played_once_in_order(wrap: Any) -> None:
    envs = [wrap(CounterEnv()) for _ in range(3)]
    policy = ExpertPolicy(envs)
    seen: list[tuple[int, int]] = []
    records = rollout(envs, policy, range(7), on_turn=lambda index, record: seen.append((index, len(record.turns))))

    source = CounterEnv().tasks
    assert [record.task_id for record in records] == [source.task_id("train", index) for index in range(7)]
    assert all(record.success and record.finished and record.error is None for record in records)
    # Lock-step: a batch never exceeds the environments, and no turn is spent on a finished episode.
    assert max(policy.batches) == 3
    assert sum(policy.batches) == sum(len(record.turns) for record in records) == len(seen)
    assert policy.batches == sorted(policy.batches, reverse=True)
    assert sorted(seen) == [(i, t) for i, record in enumerate(records) for t in range(1, len(record.turns) + 1)]


def test_records_do_not_depend_on_the_number_of_environments_and_replay() -> None:
    played = [
        rollout(envs, ExpertPolicy(envs), range(9)) for envs in ([CounterEnv()], [CounterEnv() for _ in range(4)])
    ]
    assert played[0] == played[1]
    for record in played[0]:
        replay(record, CounterEnv())


def test_tokens_are_kept() -> None:
    [record] = rollout([CounterEnv()], StopPolicy(), [5], policy_name="stopper")
    assert record.policy == "stopper"
    assert record.turns[0].sample == TokenSample((1,), (2, 3), (-0.5, -0.25))
    assert type(record.turns[0].action) is str
    assert Trajectory.from_json(record.to_json()) == record


def test_a_failing_environment_ends_its_own_episode(caplog: pytest.LogCaptureFixture) -> None:
    reported: list[int] = []
    envs = [FragileEnv(reset_at=300, step_at=600) for _ in range(2)]

    def on_turn(index: int, record: Trajectory) -> None:
        if record.error:
            reported.append(index)

    records = rollout(envs, ExpertPolicy(envs), range(5), on_turn=on_turn)
    assert [record.error for record in records] == [None, "RuntimeError: no power", "OSError", None, None]
    assert sorted(reported) == [1, 2]
    assert records[1].turns == []
    assert records[1].task_id.endswith("/000001")
    assert [record.score for record in records] == [1.0, 0.0, 0.0, 1.0, 1.0]
    assert "no power" in caplog.text


def test_callers_mistakes_are_raised() -> None:
    class Mute:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            return []

    with pytest.raises(UsageError, match="at least one environment"):
        rollout([], StopPolicy(), [0])
    with pytest.raises(UsageError, match="0 actions for 1 observations"):
        rollout([CounterEnv()], Mute(), [0])
    with pytest.raises(TaskError, match="Unknown task id 'nonsense'"):
        rollout([CounterEnv()], StopPolicy(), ["nonsense"])
    assert rollout([CounterEnv()], StopPolicy(), []) == []
    assert cmat_gym.rollout is rollout
