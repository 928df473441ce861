"""Records of episodes: nothing is lost on the way to disk and back, and a replay is exact to the bit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.conformance import walk
from cmat_gym.core.errors import ReplayError, TaskError, UsageError
from cmat_gym.core.registry import WORLDS
from cmat_gym.core.roles import Review, SampledAction, TokenSample
from cmat_gym.core.testing import CounterEnv
from cmat_gym.core.trajectory import (
    Trajectory,
    Turn,
    make_turn,
    new_trajectory,
    read_trajectories,
    replay,
    write_trajectories,
)

IDS = [world.id for world in WORLDS] + ["cmat-test/Counter-v0"]

TEXT = st.text(st.characters(exclude_categories=()))
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
IDS_OF_TOKENS = st.lists(st.integers(0, 2**20)).map(tuple)
SAMPLE = st.none() | st.builds(
    TokenSample, IDS_OF_TOKENS, IDS_OF_TOKENS, st.lists(NUMBER).map(tuple), st.none() | NUMBER
)
TURN = st.builds(
    Turn,
    observation=TEXT, action=TEXT, reward=NUMBER, terminated=st.booleans(), truncated=st.booleans(), score=NUMBER,
    success=st.booleans(), valid_action=st.booleans(), state_key=TEXT, sample=SAMPLE,
    notes=st.dictionaries(TEXT, NUMBER | TEXT),
)  # fmt: skip
TRAJECTORY = st.builds(
    Trajectory,
    env_id=TEXT, env_kwargs=st.dictionaries(TEXT, TEXT), task_id=TEXT, protocol=TEXT, instruction=TEXT,
    turns=st.lists(TURN, max_size=3), final_observation=TEXT, policy=TEXT, error=st.none() | TEXT,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(TRAJECTORY, max_size=3))
def test_reading_is_the_inverse_of_writing(tmp_path_factory: Any, trajectories: list[Trajectory]) -> None:
    """Every character, token id and bit of every float survives; so do lone surrogates and line separators."""
    path = tmp_path_factory.mktemp("records") / "episodes.jsonl"
    assert write_trajectories(path, trajectories) == len(trajectories)
    assert list(read_trajectories(path)) == trajectories
    assert write_trajectories(path, trajectories, append=True) == len(trajectories)
    assert list(read_trajectories(path)) == trajectories * 2


def record(env: Any, seed: int, turns: int = 30) -> Trajectory:
    """An episode of random play."""
    observation, _ = env.reset(seed=seed)
    trajectory = new_trajectory(env)
    for action in walk_plan(env, seed, turns):
        following, reward, terminated, truncated, info = env.step(action)
        trajectory.turns.append(make_turn(observation, action, reward, terminated, truncated, info))
        observation = trajectory.final_observation = following
    return trajectory


def walk_plan(env: Any, seed: int, turns: int) -> list[str]:
    """Random actions; the environment is back at the start of the episode afterwards."""
    actions = walk(env, turns, np.random.default_rng(seed))
    env.reset(seed=seed)
    return actions


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("keywords", [{}, {"memory": None, "reward": "progress"}, {"protocol": "tools"}], ids=str)
def test_a_record_replays_to_the_bit(env_id: str, keywords: dict[str, Any], tmp_path: Path) -> None:
    records = [record(gym.make(env_id, **keywords), seed) for seed in range(5)]
    write_trajectories(tmp_path / "e.jsonl", records)
    for again in read_trajectories(tmp_path / "e.jsonl"):
        assert (again.env_id, again.env_kwargs) == (env_id, keywords)
        replay(again, gym.make(again.env_id, **again.env_kwargs))


@pytest.mark.parametrize(
    ("number", "name", "value"),
    [
        (1, "observation", "another page"),
        (2, "reward", math.nextafter(0.0, 1.0)),
        (2, "terminated", True),
        (2, "truncated", True),
        (1, "score", 0.5),
        (1, "success", True),
        (2, "valid_action", False),
        (2, "state_key", "0"),
        (1, "action", "down"),
    ],
)
def test_the_least_difference_is_found(number: int, name: str, value: object) -> None:
    env = CounterEnv()
    trajectory = record_actions(env, ["up", "up", "stop"])
    replay(trajectory, env)
    trajectory.turns[number - 1] = replace(trajectory.turns[number - 1], **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ReplayError, match=f"Turn {number}: recorded"):
        replay(trajectory, env)


def test_the_end_is_compared_too() -> None:
    trajectory = record_actions(CounterEnv(), ["up", "stop"])
    trajectory.final_observation = "Stopped!"
    with pytest.raises(ReplayError, match="End: recorded observation 'Stopped!'"):
        replay(trajectory, CounterEnv())
    with pytest.raises(UsageError, match="text-v1"):
        replay(trajectory, CounterEnv(protocol="tools"))


def record_actions(env: Any, actions: list[str]) -> Trajectory:
    """An episode of given actions."""
    observation, _ = env.reset(seed=0, options={"task": 0})
    trajectory = new_trajectory(env)
    for action in actions:
        following, reward, terminated, truncated, info = env.step(action)
        trajectory.turns.append(make_turn(observation, action, reward, terminated, truncated, info))
        observation = trajectory.final_observation = following
    return trajectory


def test_what_a_record_sums_up() -> None:
    solved = record_actions(CounterEnv(), ["down"] * 5 + ["stop"])
    assert (solved.score, solved.success, solved.finished, solved.episode_return) == (1.0, True, True, 1.0)
    unfinished = record_actions(CounterEnv(), ["up"])
    assert (unfinished.score, unfinished.success, unfinished.finished) == (0.0, False, False)
    empty = record_actions(CounterEnv(), [])
    assert (empty.score, empty.success, empty.finished, empty.episode_return) == (0.0, False, False, 0)
    solved.error = "the service went down"
    assert (solved.score, solved.success) == (0.0, False)


def test_a_turn_keeps_tokens_and_wrappers_notes() -> None:
    env = CounterEnv()
    _, info = env.reset(seed=0)
    sample = TokenSample((1,), (2,), (-0.5,), None)
    noted = {**info, "review": Review(False, 0.5, None, "no"), "env_reward": 0.25, "unknown": 3}
    turn = make_turn("page", SampledAction("up", sample), 1, False, False, noted, colour="red")
    review = {"accept": False, "reward": 0.5, "value": None, "feedback": "no"}
    assert turn.notes == {"review": review, "env_reward": 0.25, "colour": "red"}
    assert turn.sample is sample
    assert type(turn.action) is str


def test_env_kwargs_keep_what_json_can_say() -> None:
    env = gym.make("cmat-test/Counter-v0", split="dev", max_turns=7, render_mode=None)
    env.reset(seed=0)
    assert new_trajectory(env).env_kwargs["split"] == "dev"
    json.dumps(new_trajectory(env).to_json())
    bare = CounterEnv()
    bare.reset(seed=0)
    assert new_trajectory(bare).env_id == "CounterEnv"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2"),
        ("[]", "line 2"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "incomplete"),
        ('{"format": 1, "turns": [{}]}', "incomplete"),
        ('{"format": 1, "turns": [], "colour": "red"}', "unknown fields"),
    ],
)
def test_damaged_lines_are_named(line: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write_trajectories(path, [record_actions(CounterEnv(), ["stop"])])
    with path.open("a") as file:
        file.write(line + "\n")
    reader = read_trajectories(path)
    next(reader)
    with pytest.raises(TaskError, match=says):
        next(reader)
