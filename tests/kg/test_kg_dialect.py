"""AgentBench's dialect: how loosely it reads, and every string it answers with, in both of its protocols."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import BAD_ACTIONS, play_expert
from cmat_gym.core.env import base_env
from cmat_gym.core.task import Task

LIVED = "people.person.places_lived"
TASK = Task(
    id="kg/towns/dev/0",
    domain="kg",
    split="dev",
    source="towns",
    instruction="which towns did both ada and ben live in?",
    payload={
        "entities": {"Ada": "m.ada", "Ben": "m.ben"},
        "program": f"(AND (JOIN {LIVED}_inv m.ada) (JOIN {LIVED}_inv m.ben))",
        "answer": ["m.wren"],
    },
    max_turns=15,
)


def make(path: Path, protocol: str) -> gym.Env[str, str]:
    env = gym.make("cmat/KG-v0", graph=path, dialect="agentbench", protocol=protocol, memory=None)
    env.reset(options={"task": TASK})
    return env


@pytest.fixture
def text(towns_path: Path) -> gym.Env[str, str]:
    return make(towns_path, "text")


@pytest.fixture
def calls(towns_path: Path) -> gym.Env[str, str]:
    return make(towns_path, "tools")


def say(env: gym.Env[str, str], *messages: str) -> list[str]:
    return [env.step(message)[0] for message in messages]


def act(line: str) -> str:
    return f"Thought: I act.\nAction: {line}"


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


# Text ----------------------------------------------------------------------------------------------------------------


def test_a_text_episode(text: gym.Env[str, str]) -> None:
    observation, info = text.reset(options={"task": TASK})
    assert observation == "A new question: which towns did both ada and ben live in?\nEntities: [Ada, Ben]"
    assert text.get_wrapper_attr("turn_limit") == 15
    said = say(
        text,
        act("get_relations(Ada)"),
        act(f"get_neighbors(Ada, {LIVED})"),
        act("get_relations(Ben)"),
        act(f"get_neighbors(variable Ben, {LIVED.replace('_', chr(92) + '_')})"),  # `\\_` is an underscore
        act("intersection(variable #0, Variable #1)"),
    )
    assert said == [
        f"Observation: [{LIVED}, people.person.siblings, people.person.works..people.job.town]",
        "Observation: variable #0, which are instances of location.town",
        f"Observation: [{LIVED}, people.person.siblings]",
        "Observation: variable #1, which are instances of location.town",
        "Observation: variable #2, which are instances of location.town",
    ]
    _, reward, terminated, _, info = text.step("Thought: done\nFinal Answer: #2")
    assert (reward, terminated, info["success"]) == (1.0, True, True)


START = [
    act("get_relations(Ada)"),
    act(f"get_neighbors(Ada, {LIVED})"),
    act("get_neighbors(Ada, people.person.siblings)"),
]

SYNTAX = (
    "I may make a syntax error when calling count (e.g., unmatched parenthesis). I need to fix it and reuse the tool"
)
TEXT_REPLIES = [
    ("I do not know.", "No executable function found! Need to recheck the action."),
    ("Thought: get_relations(Ada)", "No executable function found! Need to recheck the action."),
    ("Action: none", "Function is not executed!"),
    ("Action: get_relations Ada", "Function is not executed!"),
    (
        "Action: get_relations(Cy)",
        "get_relations(Cy) cannot be executed. You may make a mistake and need to fix it.",
    ),
    (
        "Action: get_neighbors(#0, location.town.size)",
        "get_neighbors(#0, location.town.size) cannot be executed. You may make a mistake and need to fix it.",
    ),
    (
        "Action: intersection(#0, #1)",
        "intersection(#0, #1) cannot be executed. The two variables are not of the same type. "
        "You may further explore them by call get_relations",
    ),
    ("Action: count(#0", SYNTAX),
    ("Action: count(#0, #1)", SYNTAX),
    ("Action: jump(#0)", "jump(#0) cannot be executed. You may make a mistake and need to fix it."),
    ("Action: count(#7)", "Invalid variable id! Need to recheck the action."),
    ("Final Answer: #7", "Invalid variable id! Need to recheck the action."),
    (
        "Action: get_relations(g.ada)",
        "get_relations(g.ada) cannot be executed. You may make a mistake and need to fix it.",
    ),
]


@pytest.mark.parametrize(("message", "reply"), TEXT_REPLIES)
def test_what_the_text_protocol_says(text: gym.Env[str, str], message: str, reply: str) -> None:
    """A refusal costs a round and nothing else."""
    say(text, *START)
    observation, reward, terminated, truncated, info = text.step(message)
    assert observation == reply
    assert (reward, terminated, truncated, info["valid_action"], info["turn"]) == (0.0, False, False, False, 4)
    assert say(text, "Action: count(#0)") == ["Observation: variable #2, which is a number"]


def test_the_first_call_that_succeeds_is_the_one(text: gym.Env[str, str]) -> None:
    """At most one runs a turn; only the first line of actions counts, and nothing behind `Observation:`."""
    say(text, *START)
    assert say(text, "Action: jump(#0) or count(Ada) or count(#0) or count(#1)")[0].endswith("#2, which is a number")
    assert say(text, "Action: nothing\nAction: count(#0)") == ["Function is not executed!"]
    assert say(text, "Observation: x\nAction: count(#0)")[0].startswith("No executable function")
    assert say(text, "Action 4: count(#0)")[0].endswith("#3, which is a number")


@pytest.mark.parametrize(
    "words", ["Final Answer: #0", "Action: count(#1)\nFind Answer: #0", "Action: Final Answer:  #0"]
)
def test_an_answer_anywhere_wins(text: gym.Env[str, str], words: str) -> None:
    say(text, *START)
    _, reward, terminated, _, info = text.step(words)
    assert terminated
    assert reward == info["score"] == pytest.approx(2 / 3)  # two towns, one of them right
    assert not info["success"]


def test_listings_are_not_shared_between_episodes(text: gym.Env[str, str]) -> None:
    """The original keeps them module-wide, so that one episode profits from another."""
    say(text, *START)
    text.reset(options={"task": TASK})
    assert say(text, act(f"get_neighbors(Ada, {LIVED})"))[0].endswith("You may make a mistake and need to fix it.")


# Function calls ------------------------------------------------------------------------------------------------------


def test_an_episode_of_function_calls(calls: gym.Env[str, str]) -> None:
    """Several calls in one message are carried out in order; relations are listed when they are needed."""
    observation, _ = calls.reset(options={"task": TASK})
    assert observation == "which towns did both ada and ben live in?\nEntities: [Ada, Ben]"
    both = call("get_neighbors", variable="Ada", relation=LIVED) + call(
        "get_neighbors", relation=LIVED, variable="m.ben"
    )
    assert say(calls, both, call("intersection", variable1="#0", variable2="#1")) == [
        "Observation: variable #0, which are instances of location.town\n"
        "Observation: variable #1, which are instances of location.town",
        "Observation: variable #2, which are instances of location.town",
    ]
    _, reward, terminated, _, _ = calls.step("The towns are there. Final Answer: #2")
    assert (reward, terminated) == (1.0, True)


CALL_REPLIES = [
    ("I do not know.", "No valid function calls found! Need to recheck the function calls."),
    (
        call("count", variable="Ada"),
        "Error processing tool call: count: variable must be a variable",
    ),
    (
        call("intersection", variable1="#0", variable2="#1"),
        "Error processing tool call: intersection: two variables must have the same type",
    ),
    (
        call("count", wrong="#0"),
        "Arguments do not match the function signature. Error processing arguments for count",
    ),
    (
        call("count", variable=0),
        "Arguments do not match the function signature. Error processing arguments for count",
    ),
    (call("jump", variable="#0"), "Provide an invalid function name. Function jump does not exist"),
]


@pytest.mark.parametrize(("message", "reply"), CALL_REPLIES)
def test_what_the_function_calls_say(calls: gym.Env[str, str], message: str, reply: str) -> None:
    say(calls, call("get_neighbors", variable="Ada", relation=LIVED))
    say(calls, call("get_neighbors", variable="Ada", relation="people.person.siblings"))
    observation, _, terminated, _, info = calls.step(message)
    assert (observation, terminated, info["valid_action"]) == (reply, False, False)


def test_one_good_call_among_bad_ones_counts(calls: gym.Env[str, str]) -> None:
    message = call("jump") + call("get_neighbors", variable="Ada", relation=LIVED) + call("count", variable="Ada")
    observation, *_, info = calls.step(message)
    assert info["valid_action"]
    assert [line.split(":")[0] for line in observation.splitlines()] == [
        "Provide an invalid function name. Function jump does not exist",
        "Observation",
        "Error processing tool call",
    ]


@pytest.mark.parametrize("message", [call("count", variable="#4"), "Final Answer: #4"])
def test_a_wrong_index_ends_an_episode_of_function_calls(calls: gym.Env[str, str], message: str) -> None:
    say(calls, call("get_neighbors", variable="Ada", relation=LIVED))
    observation, reward, terminated, _, info = calls.step(message)
    assert observation == "Invalid variable id! Need to recheck the action."
    assert (reward, terminated, info["score"], info["success"]) == (0.0, True, 0.0, False)


# Both ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["text", "tools"])
def test_the_expert_speaks_the_dialect(protocol: str) -> None:
    env = gym.make("cmat/KG-v0", split="dev", dialect="agentbench", protocol=protocol, memory=None)
    for index in range(20):
        env.reset(seed=0, options={"task": index})
        transcript = play_expert(env)
        assert all(step.info["valid_action"] for step in transcript)
        assert (transcript[-1].info["score"], transcript[-1].reward) == (1.0, 1.0)
    assert "Ada" in base_env(make_prompt(protocol)).system_prompt or protocol == "tools"


def make_prompt(protocol: str) -> gym.Env[str, str]:
    return gym.make("cmat/KG-v0", dialect="agentbench", protocol=protocol, memory=None)


def test_the_expert_writes_ids_where_a_name_would_be_cut(towns_path: Path) -> None:
    env = make(towns_path, "text")
    entities = {"Ada, the (first)": "m.ada", "Ben": "m.ben"}
    env.reset(options={"task": replace(TASK, payload={**TASK.payload, "entities": entities})})
    assert base_env(env).expert_action() == "Action: get_relations(m.ada)"
    assert play_expert(env)[-1].info["score"] == 1.0


PIECES = st.sampled_from(
    ["Action:", "Thought:", "Observation:", "Final Answer: #0", "Find Answer: #99", "get_relations(", "Ada", ")", "#0",
     ",", LIVED, "\n", "(", "count(", "intersection(#0, #0)", "<tool_call>", "</tool_call>", "}", "[", "]", "\\_",
     '{"name": "count", "arguments": ', '{"variable": "#0"}']
)  # fmt: skip


@pytest.mark.parametrize("protocol", ["text", "tools"])
def test_no_message_raises(towns_path: Path, protocol: str) -> None:
    env = make(towns_path, protocol)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(PIECES, max_size=12).map(" ".join) | st.sampled_from(BAD_ACTIONS), min_size=1, max_size=5))
    def attack(messages: list[str]) -> None:
        env.reset(options={"task": TASK})
        for message in messages:
            observation, _, terminated, truncated, info = env.step(message)
            assert observation in env.observation_space
            assert isinstance(info["valid_action"], bool)
            if terminated or truncated:
                break

    attack()
