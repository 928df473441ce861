"""Records, critics as reward, critics as filter: what each does, and that its state travels in snapshots."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.core.env import restore, snapshot
from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Info, Review, SampledAction, TokenSample
from cmat_gym.core.testing import CounterEnv
from cmat_gym.core.trajectory import read_trajectories, replay
from cmat_gym.core.wrappers import CheckerPotential, CheckerReview, CheckerReward, RecordTrajectory

COUNTER_ID = "cmat-test/Counter-v0"


def dislikes_down(observation: str, action: str, info: Info) -> float:
    """A critic of one line."""
    return -1.0 if action == "down" else 0.5


class Teacher:
    """A full critic: rejects whatever is not the word it waits for, and says so."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.seen: list[tuple[str, str, int]] = []

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        self.seen += [(o, a, i["turn"]) for o, a, i in zip(observations, actions, infos, strict=True)]
        return [Review(a == self.word, float(a == self.word), 0.25, f"say {self.word}") for a in actions]


def solve(env: Any, task: int = 4) -> None:
    """Play the expert to the end."""
    env.reset(seed=0, options={"task": task})
    ended = False
    while not ended:
        _, _, terminated, truncated, _ = env.step(env.unwrapped.expert_action())
        ended = terminated or truncated


# RecordTrajectory ---------------------------------------------------------------------------------------------------


def test_each_episode_is_one_line_that_replays(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "episodes.jsonl"
    env = RecordTrajectory(gym.make(COUNTER_ID), path, policy="expert")
    for task in (1, 2, 3):
        solve(env, task)
    records = list(read_trajectories(path))
    assert [record.task_id[-1] for record in records] == ["1", "2", "3"]
    assert all(record.success and record.policy == "expert" and record.env_id == COUNTER_ID for record in records)
    for record in records:
        replay(record, gym.make(record.env_id, **record.env_kwargs))


def test_tokens_are_kept_as_sampled(tmp_path: Path) -> None:
    env = RecordTrajectory(CounterEnv(), tmp_path / "e.jsonl")
    env.reset(seed=0)
    sample = TokenSample((5, 6), (7, 8, 9), (-0.1, -1e-17, -3.0), 0.125)
    env.step(SampledAction("stop", sample))
    [record] = read_trajectories(tmp_path / "e.jsonl")
    assert record.turns[0].sample == sample


def test_unfinished_and_failed_episodes_are_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = RecordTrajectory(CounterEnv(), tmp_path / "e.jsonl")
    env.reset(seed=0)  # nothing happens in it: no line
    env.reset(seed=0, options={"task": 1})
    env.step("up")
    env.reset(seed=0, options={"task": 2})
    monkeypatch.setattr(env.unwrapped, "_apply", lambda call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        env.step("up")
    monkeypatch.undo()
    env.reset(seed=0, options={"task": 3})
    env.step("down")
    env.close()
    given_up, failed, closed = read_trajectories(tmp_path / "e.jsonl")
    assert (len(given_up.turns), given_up.finished, given_up.error) == (1, False, None)
    assert (failed.turns, failed.error) == ([], "ZeroDivisionError: division by zero")
    assert (closed.task_id[-1], len(closed.turns)) == ("3", 1)


def test_a_record_goes_back_with_a_snapshot(tmp_path: Path) -> None:
    env = RecordTrajectory(gym.make(COUNTER_ID), tmp_path / "e.jsonl")
    env.reset(seed=0, options={"task": 5})
    env.step("up")
    state = pickle.loads(pickle.dumps(snapshot(env)))
    env.step("down")
    env.step("stop")
    restore(env, state)
    env.step("stop")
    first, second = read_trajectories(tmp_path / "e.jsonl")
    assert [turn.action for turn in first.turns] == ["up", "down", "stop"]
    assert [turn.action for turn in second.turns] == ["up", "stop"]
    replay(second, gym.make(COUNTER_ID))


def test_a_step_without_an_episode_is_the_callers_mistake(tmp_path: Path) -> None:
    env = RecordTrajectory(CounterEnv(), tmp_path / "e.jsonl")
    with pytest.raises(UsageError, match="reset"):
        env.step("up")


# CheckerPotential ---------------------------------------------------------------------------------------------------


def shown(observation: str, action: str, info: Info) -> float:
    """The number on the page as the value of a state; sees no action."""
    assert action == ""
    return float(observation.rpartition("It shows ")[2].rstrip(".")) if "It shows" in observation else 50.0


def test_shaping_is_the_difference_of_potentials() -> None:
    """Fails without the discount, with the potentials swapped, or with a value after the end of a task."""
    env = CheckerPotential(CounterEnv(), shown, discount=0.5, weight=2.0)
    env.reset(options={"task": 0})
    steps = [env.step(action) for action in ("up", "up", "down", "nonsense", "stop")]
    # V: 0, 1, 2, 1, 1, then the end. 2·(γ V' - V): 2·(.5 - 0), 2·(1 - 1), 2·(.5 - 2), 2·(.5 - 1), 2·(0 - 1).
    assert [step[1] for step in steps] == [1.0, 0.0, -3.0, -1.0, -2.0]
    assert [step[4]["critic_reward"] for step in steps] == [1.0, 0.0, -3.0, -1.0, -2.0]
    assert [step[4]["env_reward"] for step in steps] == [0.0] * 5
    # The discounted sum telescopes to -V(s_0), whatever the critic says: shaping changes no optimal policy.
    assert sum(0.5**t * step[1] for t, step in enumerate(steps)) == 0.0


def test_shaping_bootstraps_where_the_turn_limit_struck() -> None:
    """Fails when a truncated episode is shaped as if its last state were worth nothing."""
    env = CheckerPotential(CounterEnv(max_turns=1), shown, discount=0.5)
    env.reset(options={"task": 0})
    assert env.step("up")[1] == 0.5


def test_shaping_goes_on_from_a_snapshot_and_refuses_nonsense() -> None:
    """Fails when the potential of the abandoned state is carried over."""
    env = CheckerPotential(gym.make(COUNTER_ID), shown, discount=1.0)
    env.reset(options={"task": 0})
    env.step("up")
    state = snapshot(env)
    env.step("up")
    env.step("up")
    restore(env, state)
    assert env.step("down")[1] == -1.0
    with pytest.raises(UsageError, match="discount must lie in"):
        CheckerPotential(CounterEnv(), shown, discount=0.0)
    broken = CheckerPotential(CounterEnv(), lambda o, a, i: float("nan"))
    with pytest.raises(UsageError, match="one finite number each"):
        broken.reset(seed=0)


# CheckerReward ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "expected"), [(1.0, 0.5), (0.0, 1.0), (0.25, 0.75 * 1.0 + 0.25 * 0.5)])
def test_the_critics_reward_is_blended(weight: float, expected: float) -> None:
    env = CheckerReward(CounterEnv(), dislikes_down, weight)
    env.reset(seed=0, options={"task": next(i for i in range(99) if CounterEnv().split[i].payload["start"] == 0)})
    env.unwrapped.set_wrapper_attr("count", env.unwrapped.get_wrapper_attr("target"))
    _, reward, terminated, _, info = env.step("stop")
    assert terminated
    assert (info["env_reward"], info["critic_reward"]) == (1.0, 0.5)
    assert reward == pytest.approx(expected)


def test_a_full_critic_sees_the_page_the_action_was_chosen_on() -> None:
    teacher = Teacher("up")
    env = CheckerReward(CounterEnv(), teacher)
    page, _ = env.reset(seed=0)
    rewards = []
    seen: list[tuple[str, str, int]] = []
    for action in ("up", "down", "up"):
        seen.append((page, action, len(seen)))
        page, reward, *_ = env.step(action)
        rewards.append(reward)
    assert rewards == [1.0, 0.0, 1.0]
    assert teacher.seen == seen


def test_rewards_that_are_no_numbers_are_refused() -> None:
    env = CheckerReward(CounterEnv(), lambda observation, action, info: float("nan"))
    env.reset(seed=0)
    with pytest.raises(UsageError, match="nan"):
        env.step("up")
    with pytest.raises(UsageError, match=r"weight must lie in \[0, 1\]"):
        CheckerReward(CounterEnv(), dislikes_down, 1.5)
    with pytest.raises(UsageError, match="A critic is a function"):
        CheckerReward(CounterEnv(), "nice")  # type: ignore[arg-type]


# CheckerReview ------------------------------------------------------------------------------------------------------


def test_a_rejected_action_is_not_carried_out() -> None:
    env: Any = CheckerReview(CounterEnv(), Teacher("up"), max_revisions=2)
    page, before = env.reset(seed=0)
    for _ in range(2):
        shown, reward, terminated, truncated, info = env.step("down")
        assert shown.endswith(page)
        assert "say up" in shown
        assert (reward, terminated, truncated, info["executed"]) == (0.0, False, False, False)
        assert info["review"] == Review(False, 0.0, 0.25, "say up")
        assert info["state_key"] == before["state_key"]
        assert env.unwrapped.count == env.unwrapped.task.payload["start"]
    # Bounded: the third is carried out whatever the verdict, and the next turn has its own revisions.
    _, _, _, _, info = env.step("down")
    assert (info["executed"], info["review"].accept, info["turn"]) == (True, False, 1)
    assert env.step("down")[4]["executed"] is False
    _, _, _, _, info = env.step("up")
    assert (info["executed"], info["review"].accept, info["turn"]) == (True, True, 2)


def test_reviews_are_noted_in_records(tmp_path: Path) -> None:
    env = RecordTrajectory(CheckerReward(CheckerReview(CounterEnv(), dislikes_down), dislikes_down), tmp_path / "e")
    env.reset(seed=0)
    for action in ("down", "up", "stop"):
        env.step(action)
    [record] = read_trajectories(tmp_path / "e")
    review = {"accept": False, "reward": -1.0, "value": None, "feedback": ""}
    assert record.turns[0].notes == {"env_reward": 0.0, "critic_reward": -1.0, "review": review, "executed": False}
    assert record.turns[1].notes["executed"] is True
    assert record.turns[1].notes["review"]["accept"] is True


def test_revisions_travel_in_snapshots() -> None:
    env = CheckerReview(gym.make(COUNTER_ID), Teacher("up"))
    env.reset(seed=0)
    env.step("down")
    state = pickle.loads(pickle.dumps(snapshot(env)))
    other = CheckerReview(gym.make(COUNTER_ID), Teacher("up"))
    restore(other, state)
    assert other.step("down")[4]["executed"] is True
    assert other.step("down")[4]["executed"] is False
    restore(env, state)
    assert env.step("down")[4]["executed"] is True


# All of them --------------------------------------------------------------------------------------------------------


def test_a_stack_of_wrappers_is_rebuilt_from_its_spec(tmp_path: Path) -> None:
    teacher = Teacher("up")
    env = RecordTrajectory(
        CheckerReward(CheckerReview(gym.make(COUNTER_ID), teacher, max_revisions=3), dislikes_down, weight=0.5),
        tmp_path / "e.jsonl",
        policy="me",
    )
    again: Any = gym.make(env.spec)  # type: ignore[arg-type]
    assert str(again) == str(env)
    assert again.policy == "me"
    assert again.env.weight == 0.5
    assert again.env.env.max_revisions == 3
    assert env.get_wrapper_attr("spec").additional_wrappers[0].kwargs["critic"] is teacher
    again.reset(seed=0)
    assert again.step("down")[4]["executed"] is False


def test_one_snapshot_for_the_whole_stack(tmp_path: Path) -> None:
    def build() -> Any:
        inner = CheckerReview(gym.make(COUNTER_ID), dislikes_down)
        return CheckerReward(RecordTrajectory(inner, tmp_path / "e.jsonl"), dislikes_down)

    env, copy = build(), build()
    env.reset(seed=3)
    actions = ["up", "down", "up", "down", "down", "nonsense", "up", "stop"]
    for action in actions[:4]:
        env.step(action)
    restore(copy, pickle.loads(pickle.dumps(snapshot(env))))
    for action in actions[4:]:
        assert env.step(action) == copy.step(action)
