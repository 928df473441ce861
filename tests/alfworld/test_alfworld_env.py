"""The environment as an agent meets it: what it reads, near misses, and attempts to cheat."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import pytest
from alfworld_kitchen import CLEAN_APPLE, KITCHEN
from hypothesis import given, settings
from hypothesis import strategies as st

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env, restore, snapshot
from cmat_gym.core.task import Task
from cmat_gym.envs.alfworld.backend import open_game
from cmat_gym.envs.alfworld.env import ALFWorldEnv
from cmat_gym.envs.alfworld.records import DIALECTS
from cmat_gym.envs.alfworld.refusals import explain

ALFWORLD = "cmat/ALFWorld-v0"
APPLE = "(objectType ?o AppleType)"
PLACE_APPLE = (
    f"(exists (?r - receptacle) (exists (?o - object) (and {APPLE} (receptacleType ?r {{0}}) (inReceptacle ?o ?r))))"
)
TWO_APPLES = PLACE_APPLE.replace(
    "(inReceptacle ?o ?r)",
    "(inReceptacle ?o ?r) (exists (?o2 - object) (and (not (= ?o ?o2)) (objectType ?o2 AppleType) "
    "(receptacleType ?r {0}) (inReceptacle ?o2 ?r)))",
)
HOT_APPLE = CLEAN_APPLE.replace("isClean", "isHot").replace("cleanable", "heatable")
LOOK_AT_KNIFE = (
    "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot DeskLampType) "
    "(toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r))) "
    "(exists (?o - object ?a - agent) (and (objectType ?o KnifeType) (holds ?a ?o))))"
)


def kitchen_task(goal: str) -> Task:
    payload = {
        "problem": KITCHEN.replace("{goal}", goal),
        "sentence": "Your task is to: do it.",
        "grammar": DIALECTS["move"].to_json(),
    }
    return Task("alfworld/test/x/0", "alfworld", "train", "test", "do it.", payload, 50)


def score_of(goal: str, *commands: str) -> float:
    """The score of an episode in the test kitchen; all commands but the last must leave it running."""
    env = gym.make(ALFWORLD, memory=None)
    env.reset(options={"task": kitchen_task(goal)})
    for number, command in enumerate(commands):
        *_, terminated, _, info = env.step(command)
        assert info["valid_action"], command
        assert not terminated or number == len(commands) - 1
    return base_env(env).score().value


FETCH = ("go to countertop 1", "take apple 1 from countertop 1")


def test_only_the_whole_goal_counts() -> None:
    clean = (*FETCH, "go to sinkbasin 1", "clean apple 1 with sinkbasin 1")
    store = ("go to fridge 1", "open fridge 1", "move apple 1 to fridge 1")
    assert score_of(CLEAN_APPLE, *clean, *store) == 1.0
    assert score_of(CLEAN_APPLE, *FETCH, *store) == 0.0  # not clean
    assert score_of(CLEAN_APPLE, *clean, "go to countertop 1", "move apple 1 to countertop 1") == 0.0  # not there
    assert score_of(CLEAN_APPLE, *clean, *store[:2]) == 0.0  # still in hand
    assert score_of(CLEAN_APPLE, *clean, "go to countertop 1", "move apple 1 to countertop 1", "go to fridge 1") == 0.0


def test_cooling_undoes_heating() -> None:
    hot = (*FETCH, "heat apple 1 with microwave 1", "go to fridge 1", "open fridge 1")
    assert score_of(HOT_APPLE, *hot, "move apple 1 to fridge 1") == 1.0
    assert score_of(HOT_APPLE, *hot, "cool apple 1 with fridge 1", "move apple 1 to fridge 1") == 0.0


def test_two_things_must_be_in_one_place() -> None:
    goal = TWO_APPLES.replace("{0}", "SinkBasinType")
    first = (*FETCH, "go to sinkbasin 1", "move apple 1 to sinkbasin 1")
    fetch_other = ("go to fridge 1", "open fridge 1", "take apple 2 from fridge 1")
    assert score_of(goal, *first, *fetch_other, "go to sinkbasin 1", "move apple 2 to sinkbasin 1") == 1.0
    assert score_of(goal, *first) == 0.0
    assert score_of(goal, *first, "take apple 1 from sinkbasin 1", "move apple 1 to sinkbasin 1") == 0.0


def test_the_lamp_must_be_on_here_and_the_thing_in_hand() -> None:
    fetch = ("go to countertop 1", "take knife 1 from countertop 1")
    lamp = ("go to drawer 1", "use desklamp 1")
    assert score_of(LOOK_AT_KNIFE, *fetch, *lamp) == 1.0
    assert score_of(LOOK_AT_KNIFE, *lamp, *fetch, "go to drawer 1") == 1.0
    assert score_of(LOOK_AT_KNIFE, *lamp, *fetch) == 0.0
    assert score_of(LOOK_AT_KNIFE, *fetch, "go to drawer 1") == 0.0
    assert score_of(LOOK_AT_KNIFE, *fetch, "go to drawer 1", "move knife 1 to drawer 1", "use desklamp 1") == 0.0
    assert score_of(LOOK_AT_KNIFE, *FETCH, *lamp) == 0.0


def test_a_goal_can_be_reached_by_any_thing_of_the_kind() -> None:
    goal = PLACE_APPLE.replace("{0}", "MicrowaveType")
    assert score_of(goal, *FETCH, "open microwave 1", "move apple 1 to microwave 1") == 1.0
    other = ("go to fridge 1", "open fridge 1", "take apple 2 from fridge 1", "go to microwave 1", "open microwave 1")
    assert score_of(goal, *other, "move apple 2 to microwave 1") == 1.0


# Cheating -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [
        "move apple 1 to fridge 1",  # closed
        "go to fridge 1\nopen fridge 1",
        "open fridge 1 and move apple 1 to fridge 1",
        "move apple_bar_1 to fridge_bar_1",
        "MOVE APPLE 1 TO FRIDGE 1",
        "move ａpple 1 to fridge 1",
        "move apple 1 to fridge\u200b 1",
        "Thought: it is won\nAction: look\nAction: open fridge 1",
        '{"name": "take_action", "arguments": {"action": "open fridge 1"}}',
        "(inReceptacle apple_bar_1 fridge_bar_1)",
        "Your task is to: look.",
        "-= Welcome to TextWorld, ALFRED! =-",
        "won",
        "__import__('os').system('true')",
        "put apple 1 in/on fridge 1",
    ],
)
def test_crooked_actions_change_nothing(action: str) -> None:
    env = gym.make(ALFWORLD, memory=None)
    env.reset(options={"task": kitchen_task(CLEAN_APPLE)})
    for command in (*FETCH, "go to sinkbasin 1", "clean apple 1 with sinkbasin 1", "go to fridge 1"):
        env.step(command)
    world = base_env(env)
    assert isinstance(world, ALFWorldEnv)
    before = world.state
    observation, reward, terminated, _, info = env.step(action)
    assert (reward, terminated, info["valid_action"], info["score"]) == (0.0, False, False, 0.0)
    assert world.state == before
    assert observation.startswith("Invalid action: ")
    assert observation.count("Your task is to") <= 1


def test_a_refusal_tells_nothing_that_cannot_be_seen() -> None:
    """Whether a thing is behind a door, elsewhere, or does not exist, the answer has the same words."""
    game = open_game(KITCHEN.replace("{goal}", CLEAN_APPLE), DIALECTS["move"])
    step = game.act(game.initial, "go to fridge 1")
    assert step is not None
    for place in ("fridge 1", "drawer 2", "countertop 1"):
        answers = {
            explain(game, step.state, f"take {thing} from {place}").replace(thing, "it")
            for thing in ("apple 2", "plate 1", "apple 9", "dragon 1")
        }
        assert len(answers) == 1
    after = game.act(step.state, "open fridge 1")
    assert after is not None
    for thing in ("apple 1", "dragon 1"):
        assert explain(game, after.state, f"take {thing} from fridge 1") == f"there is no {thing} to be seen here."
        assert explain(game, after.state, f"examine {thing}") == f"you are not carrying a {thing}."
        assert explain(game, after.state, f"use {thing}") == f"'use {thing}' is not possible here and now."


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "no command was given."),
        ("dance", "'dance' is no command of this house."),
        ("go to moon 1", "there is no moon 1 in this room."),
        ("go to countertop 1", "you are at the countertop 1 already."),
        ("open fridge 1", "'open fridge 1' needs you to be at the fridge 1."),
        ("open countertop 1", "the countertop 1 cannot be opened or closed."),
        ("close microwave 1", "the microwave 1 is closed."),
        ("take knife 1 from countertop 1", "you are carrying a apple 1 already."),
        ("move knife 1 to countertop 1", "you are not carrying a knife 1."),
        ("move apple 1 to microwave 1", "the microwave 1 is closed."),
        ("put apple 1 in/on countertop 1", "in this house things are put down with: move (thing) to (place)."),
        ("clean apple 1 with countertop 1", "'clean apple 1 with countertop 1' is not possible here and now."),
        ("examine fridge 1", "'examine fridge 1' needs you to be at the fridge 1."),
        ("x" * 100, f"'{'x' * 60}…' is no command of this house."),
    ],
)
def test_a_refusal_says_what_was_wrong(command: str, reason: str) -> None:
    env = gym.make(ALFWORLD, memory=None)
    env.reset(options={"task": kitchen_task(CLEAN_APPLE)})
    for fetch in FETCH:
        shown = env.step(fetch)[0]
    assert env.step(command)[0] == f"Invalid action: {reason}\n{shown}"


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=80)
    | st.from_regex(r"(go to|open|take|move|clean|use|examine|slice) .{0,20}( from| to| with)?.{0,20}")
)
def test_every_refusal_is_one_line(action: str) -> None:
    game = open_game(KITCHEN.replace("{goal}", CLEAN_APPLE), DIALECTS["move"])
    if game.act(game.initial, action.strip()) is None:
        reason = explain(game, game.initial, action.strip())
        assert reason.endswith(".")
        assert len(reason.splitlines()) == 1
        assert len(reason) < 200


# Talking --------------------------------------------------------------------------------------------------------------


def test_commands_are_listed_unless_the_original_text_is_wanted() -> None:
    env = gym.make(ALFWORLD, memory=None, split="dev")
    bare = gym.make(ALFWORLD, memory=None, split="dev", list_actions=False, feedback=False)
    observation, info = env.reset(options={"task": 0})
    assert (
        observation
        == f"{bare.reset(options={'task': 0})[0]}\nAVAILABLE ACTIONS: {', '.join(info['admissible_actions'])}"
    )
    assert bare.step("dance")[0] == "Nothing happens."
    action = info["admissible_actions"][0]
    with_list, without = env.step(action), bare.step(action)
    assert with_list[0].startswith(f"{without[0]}\nAVAILABLE ACTIONS: ")
    assert with_list[4]["admissible_actions"] == without[4]["admissible_actions"]


def test_the_last_observation_lists_no_commands() -> None:
    env = gym.make(ALFWORLD, memory=None, split="dev")
    env.reset(options={"task": 0})
    done = False
    while not done:
        observation, _, done, _, info = env.step(base_env(env).expert_action())
    assert "AVAILABLE" not in observation
    assert info["admissible_actions"] == []


def test_tool_calls_are_checked_against_their_schema() -> None:
    env = gym.make(ALFWORLD, protocol="tools", memory=None)
    env.reset(seed=0)
    calls: list[Any] = [
        {"name": "take_action", "arguments": {"action": "look", "times": 2}},
        {"name": "take_action", "arguments": {"action": 5}},
        {"name": "look", "arguments": {}},
        ["look"],
    ]
    for call in calls:
        assert env.step(json.dumps(call))[4]["valid_action"] is False
    spoken = '<tool_call>{"name": "take_action", "arguments": {"action": " look "}}</tool_call>'
    assert env.step(spoken)[4]["valid_action"] is True


def test_what_memory_keeps_of_a_turn() -> None:
    env = gym.make(ALFWORLD, split="dev")
    env.reset(options={"task": kitchen_task(CLEAN_APPLE)})
    for action in ("go to countertop 1", "open fridge 1", "take apple 1 from countertop 1"):
        observation = env.step(action)[0]
    assert "1. go to countertop 1 -> On the countertop 1, you see a apple 1, and a knife 1.\n" in observation
    assert "2. open fridge 1 -> refused\n" in observation
    assert "3. take apple 1 from countertop 1 -> You pick up the apple 1 from the countertop 1.\n" in observation
    assert observation.startswith("Task: do it.\n")


def test_a_snapshot_is_small_and_survives_json() -> None:
    env = gym.make(ALFWORLD, memory=None)
    env.reset(options={"task": kitchen_task(CLEAN_APPLE)})
    env.step("go to countertop 1")
    env.step("take apple 1 from countertop 1")
    state = base_env(env)._get_state()
    assert len(json.dumps(state)) < 150
    key = base_env(env).state_key()
    start = snapshot(env)
    env.step("open microwave 1")
    env.step("move apple 1 to microwave 1")
    restore(env, start)
    base_env(env)._set_state(json.loads(json.dumps(state)))
    assert base_env(env).state_key() == key


def test_putting_a_thing_back_is_the_same_state_again() -> None:
    env = gym.make(ALFWORLD, memory=None)
    env.reset(options={"task": kitchen_task(CLEAN_APPLE)})
    env.step("go to countertop 1")
    before = base_env(env)._get_state()
    env.step("take apple 1 from countertop 1")
    assert base_env(env)._get_state() != before
    env.step("move apple 1 to countertop 1")
    assert base_env(env)._get_state() == before
