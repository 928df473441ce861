"""The household against recordings of the original engine: every word, command list and verdict, without a difference.

A residual difference would be listed here, with its reason. There is none; the counts of what was compared are part of
the assertions, so that an empty comparison fails too. benchmarks/alfworld_differential.py compares with the engine
itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, open_game
from cmat_gym.envs.alfworld.env import ALFWorldEnv
from cmat_gym.envs.alfworld.expert import ALFWorldExpert
from cmat_gym.envs.alfworld.official import OfficialHouseTasks
from cmat_gym.envs.alfworld.records import TASK_TYPES, Dialect
from cmat_gym.envs.alfworld.scorer import Wish, goal_holds

GAMES = {"valid_seen": 140, "valid_train": 200}


def game_index(published: OfficialHouseTasks, name: str) -> tuple[str, int]:
    split = name.split("/")[1]
    [index] = [i for i, path in enumerate(published.games[split]) if str(path).endswith(name)]
    return split, index


def test_every_recorded_step_through_the_environment(
    recordings: list[dict[str, Any]], published: OfficialHouseTasks, archive: Path
) -> None:
    """Observation, commands in their order, score, end and `won`, with nothing of our own around the text."""
    envs = {
        split: gym.make(
            "cmat/ALFWorld-v0", source=archive, split=split, feedback=False, list_actions=False, memory=None
        )
        for split in GAMES
    }
    differences: list[object] = []
    steps = 0
    for episode in recordings:
        split, index = game_index(published, episode["game"])
        env = envs[split]
        observation, info = env.reset(options={"task": index})
        world = base_env(env)
        assert isinstance(world, ALFWorldEnv)
        initial = episode["initial"]
        if (observation, info["admissible_actions"]) != (initial["observation"], initial["admissible_commands"]):
            differences.append((episode["game"], "opening"))
        for step in episode["steps"]:
            observation, reward, terminated, _, info = env.step(step["action"])
            # A finished episode lists no actions any more, where the original still does: ask the engine.
            listed = list(world.game.situation(world.state).commands)
            ours = (observation, listed, info["score"], terminated, info["success"])
            its = (step["observation"], step["admissible_commands"], step["score"], step["done"], step["won"])
            if ours != its or reward != step["score"] or info["admissible_actions"] != ([] if step["done"] else listed):
                differences.append((episode["game"], step["action"], ours, its))
            steps += 1
    assert differences == []
    assert (len(recordings), steps) == (103, 758)


def opened(published: OfficialHouseTasks, split: str, index: int) -> tuple[ALFWorldBackend, dict[str, Any]]:
    payload = published.make(split, index).payload
    return open_game(payload["problem"], Dialect.from_json(payload["grammar"])), dict(payload)


def wins(game: ALFWorldBackend, commands: list[str]) -> bool:
    """Whether commands reach the goal, with the last of them and not before, and every one of them possible."""
    state, wish = game.initial, Wish.of(game)
    for command in commands:
        step = game.act(state, command)
        if step is None or goal_holds(wish, game, state):
            return False
        state = step.state
    return goal_holds(wish, game, state)


def mangled(game: ALFWorldBackend, command: str) -> str:
    """A command with raw ids in capitals, as some releases have their walkthroughs."""
    raw = {name: number for number, name in game.names.items()}
    for name in sorted(raw, key=len, reverse=True):
        command = command.replace(name, raw[name].title())
    return command


def test_published_walkthroughs_win(published: OfficialHouseTasks) -> None:
    """As published, and with raw ids instead of names, which say nothing to the game until they are translated."""
    for index in range(GAMES["valid_seen"]):
        game, payload = opened(published, "valid_seen", index)
        assert wins(game, payload["walkthrough"])
        raw = [mangled(game, command) for command in payload["walkthrough"]]
        assert not wins(game, raw)
        assert wins(game, [game.translate(command) for command in raw])


def test_a_walkthrough_with_raw_ids_is_played_through_the_environment(published: OfficialHouseTasks) -> None:
    env = ALFWorldEnv()
    for index in range(0, GAMES["valid_seen"], 20):
        task = published.make("valid_seen", index)
        game, payload = opened(published, "valid_seen", index)
        raw = [mangled(game, command) for command in payload["walkthrough"]]
        env.reset(options={"task": replace(task, payload={**payload, "walkthrough": raw})})
        for command in env.walkthrough():
            _, reward, terminated, *_ = env.step(command)
        assert (reward, terminated) == (1.0, True)
    env.reset(seed=0)
    assert env.walkthrough() == []


@pytest.mark.parametrize("split", GAMES)
def test_the_expert_wins_every_published_game(published: OfficialHouseTasks, split: str) -> None:
    """And never needs more actions than a published walkthrough."""
    assert published.sizes()[split] == GAMES[split]
    types = set()
    for index in range(GAMES[split]):
        game, payload = opened(published, split, index)
        plan = ALFWorldExpert(game).plan(game.initial)
        assert plan is not None
        assert wins(game, list(plan.commands))
        assert len(plan.commands) <= len(payload["walkthrough"] or plan.commands)
        assert payload["grammar"] == {
            "place": "move",
            "arrive_at_location": False,
            "help": True,
            "sinks": ["sinktype", "sinkbasintype"],
        }
        types.add(payload["task_type"])
    assert types == set(TASK_TYPES)
