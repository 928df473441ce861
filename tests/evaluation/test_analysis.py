"""What the report says about how episodes went."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import pytest

from cmat_gym.core import prompts
from cmat_gym.core.memory import DualMemory, LessonStore
from cmat_gym.core.rollout import rollout
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.analysis import MemoryParts, circles, ending, endings, lengths, refusals, split_memory
from cmat_gym.evaluation.evaluate import TaskRecord
from cmat_gym.evaluation.recorded import evaluations_of


class Lines:
    """Plays the same lines in every episode, then stops."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def act(self, observations: list[str], infos: list[dict[str, int]]) -> list[str]:
        """The line of the turn."""
        return [self.lines[info["turn"]] if info["turn"] < len(self.lines) else "stop" for info in infos]


def play(counter_id: str, *lines: str, tasks: int = 1, **options: object) -> list[Trajectory]:
    env = gym.make(counter_id, split="dev", **options)
    try:
        return rollout([env], Lines(*lines), range(tasks), policy_name="lines")
    finally:
        env.close()


RECORD = TaskRecord("x", score=0.0, success=False, turns=3, invalid_actions=0, truncated=False)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "no score"),
        ({"score": 0.5}, "partial score"),
        ({"score": 0.5, "truncated": True}, "turn limit"),
        ({"score": 1.0, "success": True, "truncated": True}, "success"),
        ({"error": "BackendError: gone"}, "error"),
    ],
)
def test_an_ending_has_one_name(change: dict[str, object], name: str) -> None:
    assert ending(replace(RECORD, **change)) == name
    assert endings([replace(RECORD, **change)])[name] == 1


def test_lengths_count_successes_apart() -> None:
    records = [RECORD, replace(RECORD, turns=1, success=True), replace(RECORD, turns=1)]
    assert lengths(records) == [(0, 0), (1, 1), (0, 0), (0, 1)]
    assert lengths([]) == [(0, 0)]


@pytest.mark.parametrize("memory", ["dual", None])
def test_refusals_and_circles_are_found_through_the_memory(counter_id: str, memory: str | None) -> None:
    found = play(counter_id, "left", "left", "up", "Thought: only this", memory=memory)
    assert refusals(found) == [("say up, down or stop.", 2), (prompts.NO_ACTION_LINE, 1)]
    assert not circles(found[0])
    assert circles(play(counter_id, "up", "down", "up", "down", "up", "down", "up", memory=memory)[0])


def test_an_observation_with_memory_is_taken_apart_as_it_was_put_together(counter_id: str) -> None:
    store = LessonStore()
    store.add("Mind the counter: Observation: nothing.", "counter")
    env = DualMemory(gym.make(counter_id, memory=None), store=store)
    text, _ = env.reset(seed=0)
    assert split_memory(text).lessons == (store.lessons[0].text,)
    text = env.step("up")[0]
    parts = split_memory(text)
    assert parts.task == env.unwrapped.task.instruction
    assert parts.turns[0].startswith("1. up -> It shows")
    assert text == "\n".join(
        [f"Task: {parts.task}", "Lessons:", f"- {parts.lessons[0]}", "Recent turns:", *parts.turns]
    ) + f"\nObservation: {parts.observation}"  # fmt: skip
    assert split_memory("a page\nObservation: of its own") == MemoryParts("a page\nObservation: of its own")


def test_episodes_become_evaluations_by_policy_and_world(counter_id: str) -> None:
    mine, other = play(counter_id, "up", tasks=2), play(counter_id, tasks=2)
    for episode in other:
        episode.policy = "human"
    found = evaluations_of([mine[0], other[0], mine[1], other[1]])
    assert [(run.name, len(run.records)) for run in found] == [("lines", 2), ("human", 2)]
    assert found[0].panel == found[1].panel
    assert "no fixed panel" in found[0].panel.describe()
    assert not found[0].panel.official
