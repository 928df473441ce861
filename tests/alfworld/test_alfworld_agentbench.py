"""AgentBench's evaluation: how answers are read, and how episodes end."""

from __future__ import annotations

import json
import random

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import play, play_expert
from cmat_gym.core.env import base_env, restore, snapshot
from cmat_gym.envs.alfworld.agentbench import match_command, read_answer, sentence_bleu

COMMANDS = ("examine shelf 1", "go to drawer 1", "go to drawer 2", "inventory", "look", "take mug 1 from shelf 1")


def make(protocol: str = "text", **keywords: object) -> gym.Env[str, str]:
    return gym.make(
        "cmat/ALFWorld-v0", protocol=protocol, evaluation="agentbench", memory=None, split="dev", **keywords
    )


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "action"),
    [
        ("THOUGHT: I look.\nACTION: Go to Drawer 1", "go to drawer 1"),
        ("I say ACTION:look", "look"),
        ("ACTION: look\nACTION: inventory", "look"),
        ("ACTION:", ""),
        ("Action: look", None),
        ("look", None),
        ("", None),
    ],
)
def test_the_action_line(output: str, action: str | None) -> None:
    assert read_answer(output) == action


def test_bleu_by_hand() -> None:
    """Four words of five, in order: 4/4, 3/3, 2/2, 1/1 and a brevity penalty of e^(1 - 5/4)."""
    assert sentence_bleu("take mug 1 from shelf", "take mug 1 from") == pytest.approx(0.7788007830714049)
    assert sentence_bleu("look", "dance") == 0.0
    assert sentence_bleu("look", "") == 0.0
    assert sentence_bleu("go to drawer 1", "go to drawer 1") == pytest.approx(1.0)


def test_bleu_is_that_of_nltk() -> None:
    bleu = pytest.importorskip("nltk.translate.bleu_score", reason="compares with NLTK, which is not installed")
    rng = random.Random(0)
    words = ["go", "to", "take", "mug", "1", "2", "from", "shelf", "drawer", "with", "clean", "put", "in/on", "examine"]
    for _ in range(2000):
        one, other = (" ".join(rng.choices(words, k=rng.randint(1, 7))) for _ in range(2))
        smoothing = bleu.SmoothingFunction().method4
        expected = bleu.sentence_bleu([one.split()], other.split(), smoothing_function=smoothing)
        assert sentence_bleu(one, other) == pytest.approx(expected, abs=1e-12), (one, other)


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("go to drawer 2", "go to drawer 2"),
        ("go to the drawer 2", "go to drawer 2"),
        ("pick up mug 1 from shelf 1", "take mug 1 from shelf 1"),
        ("dance", "dance"),
        ("go to drawer", "go to drawer 1"),  # of equals the first
    ],
)
def test_the_nearest_command(action: str, command: str) -> None:
    assert match_command(action, COMMANDS) == command


# Playing --------------------------------------------------------------------------------------------------------------


def test_the_opening_has_the_form_of_agentbench() -> None:
    env = make()
    observation, info = env.reset(options={"task": 0})
    assert observation.startswith("Here is your task. You are in the middle of a room. ")
    assert "\nYour task is to: " in observation
    assert observation.endswith("\n")
    commands = [action.removeprefix("ACTION: ") for action in info["admissible_actions"]]
    assert observation.split(" AVAILABLE ACTIONS: ")[1] == "\n".join(commands) + "\n"


@pytest.mark.parametrize(("protocol", "rounds"), [("text", 35), ("tools", 20)])
def test_rounds_and_the_expert(protocol: str, rounds: int) -> None:
    env = make(protocol)
    for index in range(5):
        env.reset(options={"task": index})
        assert base_env(env).turn_limit == rounds
        assert play_expert(env)[-1].info["score"] == 1.0
    env.reset(options={"task": 0})
    say = (
        json.dumps({"name": "take_action", "arguments": {"action": "look"}}) if protocol == "tools" else "ACTION: look"
    )
    # Never the same answer twice in a row, so that only the limit ends it.
    steps = play(env, [f"{'' if turn % 2 else ' '}{say}" for turn in range(rounds)])
    assert (len(steps), steps[-1].truncated, steps[-1].terminated) == (rounds, True, False)
    assert make(protocol, max_turns=7).unwrapped is not None
    env = make(protocol, max_turns=7)
    env.reset(seed=0)
    assert base_env(env).turn_limit == 7


def test_the_old_grammar_hides_the_number_of_the_location() -> None:
    env = make(grammar="put")
    _, info = env.reset(options={"task": 0})
    observation = env.step(next(a for a in info["admissible_actions"] if "go to" in a))[0]
    assert not observation.startswith("You arrive")
    assert observation.startswith(("On the ", "The "))


def test_answers_are_mapped_to_the_nearest_command() -> None:
    env = make()
    _, info = env.reset(options={"task": 0})
    place = next(a for a in info["admissible_actions"] if "go to" in a).removeprefix("ACTION: go to ")
    observation, *_, info = env.step(f"THOUGHT: hm\nACTION: go to the {place.upper()}")
    assert observation.startswith(f"You arrive at {place}.")
    assert info["valid_action"] is True
    observation, _, terminated, _, info = env.step("ACTION: dance")
    assert (observation.split(" AVAILABLE")[0], terminated, info["valid_action"]) == ("Nothing happens.", False, False)


@pytest.mark.parametrize("output", ["look", "THOUGHT: nothing to do", "ACTION:", ""])
def test_an_answer_without_action_ends_the_text_version(output: str) -> None:
    env = make()
    env.reset(options={"task": 0})
    _, reward, terminated, truncated, info = env.step(output)
    assert (reward, terminated, truncated, info["score"], info["valid_action"]) == (0.0, True, False, 0.0, False)


def test_an_answer_without_call_costs_a_round_with_tools() -> None:
    env = make("tools")
    env.reset(options={"task": 0})
    observation, reward, terminated, _, info = env.step("I would look around.")
    assert observation == "No executable tool calls found. Please call a tool instead"
    assert (reward, terminated, info["valid_action"], info["turn"]) == (0.0, False, False, 1)


@pytest.mark.parametrize("protocol", ["text", "tools"])
def test_three_equal_answers_fail_from_the_fourth_round_on(protocol: str) -> None:
    def say(command: str) -> str:
        call = json.dumps({"name": "take_action", "arguments": {"action": command}})
        return call if protocol == "tools" else f"ACTION: {command}"

    env = make(protocol)
    env.reset(options={"task": 0})
    flags = [step.terminated for step in play(env, [say("look")] * 5)]
    assert flags == [
        False,
        False,
        False,
        True,
    ]  # three equal ones are in a row after the third round, but it is too early

    env.reset(options={"task": 0})
    said = [say(c) for c in ("look", "look", "inventory", "look", "look", "inventory", "inventory", "inventory")]
    steps = play(env, said)
    assert [step.terminated for step in steps] == [False] * 7 + [True]
    assert (steps[-1].reward, steps[-1].info["score"]) == (0.0, 0.0)


def test_a_goal_that_is_reached_by_the_third_equal_answer_fails_all_the_same() -> None:
    """As in the original, which looks for repetition first."""
    env = make()
    env.reset(options={"task": 0})
    world = base_env(env)
    while world.cost_to_go() > 1:
        env.step(world.expert_action())
    final = world.expert_action()
    state = snapshot(env)
    assert env.step(final)[1] == 1.0
    restore(env, state)
    world._answers = (world._answers[-1],) * 3  # type: ignore[attr-defined]
    world._turn = 3
    digest_of_final = _digest(final)
    world._answers = (digest_of_final, digest_of_final)  # type: ignore[attr-defined]
    _, reward, terminated, _, info = env.step(final)
    assert (reward, terminated, info["success"]) == (0.0, True, False)


def _digest(text: str) -> str:
    env = make()
    env.reset(options={"task": 0})
    env.step(text)
    answers: tuple[str, ...] = base_env(env)._answers  # type: ignore[attr-defined]
    return answers[-1]


def test_the_answers_are_part_of_the_state() -> None:
    """Two episodes in the same room with other answers behind them have other futures, so other keys."""
    one, other = make(), make()
    for env, answers in ((one, ["ACTION: look"] * 3), (other, ["ACTION: look", "ACTION: look", "ACTION: inventory"])):
        env.reset(options={"task": 0})
        play(env, answers)
    assert base_env(one).state_key() != base_env(other).state_key()
    fresh = make()
    restore(fresh, snapshot(one))
    assert fresh.step("ACTION: look")[2] is True
    restore(fresh, snapshot(other))
    assert fresh.step("ACTION: look")[2] is False
