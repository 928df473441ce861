"""The two memories: what the agent sees of them, and how lessons are found, strengthened and forgotten."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.core.env import restore, snapshot
from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.memory import DualMemory, Lesson, LessonStore, MemoryConfig
from cmat_gym.core.testing import CounterEnv

COUNTER_ID = "cmat-test/Counter-v0"


def counter(**sizes: int) -> Any:
    """A counter with memory."""
    return DualMemory(CounterEnv(), MemoryConfig(**sizes))


# Short-term memory ---------------------------------------------------------------------------------------------------


def test_the_observation_is_one_text_with_labelled_parts() -> None:
    env = counter()
    first, _ = env.reset(seed=0, options={"task": 0})
    assert first == "Observation: Bring the counter to -5. It shows 0."  # the page says the task itself
    env.step("Thought: why not\nAction: down")
    env.remember("Count down to reach a counter below zero.")
    shown = env.step("nonsense\nsecond line")[0]
    assert shown == (
        "Task: Bring the counter to -5.\n"
        "Lessons:\n- Count down to reach a counter below zero.\n"
        "Recent turns:\n"
        "1. down -> It shows -1.\n"
        "2. nonsense second line -> refused\n"
        "Observation: Invalid action: say up, down or stop.\nIt shows -1."
    )


def test_the_window_slides() -> None:
    env = counter(window=2)
    env.reset(seed=0)
    for _ in range(4):
        shown = env.step("up")[0]
    assert [line[0] for line in shown.splitlines() if " -> " in line] == ["3", "4"]
    assert "->" not in env.reset(seed=0)[0]


def test_budgets_are_kept() -> None:
    env = counter(window=9, window_budget=60, turn_length=12)
    env.reset(seed=0)
    for action in ["up"] * 5 + ["x" * 500]:
        shown = env.step(action)[0]
    turns = [line for line in shown.splitlines() if " -> " in line]
    assert sum(len(line) + 1 for line in turns) <= 60
    assert turns[-1] == "6. xxxxxxxxxxx… -> refused"
    # The last turn is always shown, however tight the budget.
    tight = counter(window=3, window_budget=1)
    tight.reset(seed=0)
    tight.step("up")
    assert "2. up" in tight.step("up")[0]


def test_sizes_of_zero_turn_the_memories_off() -> None:
    env = counter(window=0, lessons=0)
    env.reset(seed=0)
    env.remember("Count to the target.")
    shown = env.step("up")[0]
    assert "Recent turns" not in shown
    assert "Lessons" not in shown
    with pytest.raises(UsageError, match=r"MemoryConfig\.window must be >= 0, got -1"):
        MemoryConfig(window=-1)


# Long-term memory ----------------------------------------------------------------------------------------------------


def test_lessons_are_found_by_rare_shared_words() -> None:
    store = LessonStore()
    store.add("Compare the price of shoes.")
    store.add("Compare the size of shoes.")
    store.add("Open the fridge before you put milk in.")
    assert store.find("what size do the shoes have", 1, 999)[0].text == "Compare the size of shoes."
    assert [lesson.text[:4] for lesson in store.find("milk", 3, 999)] == ["Open"]
    assert store.find("nothing in common xyz", 3, 999) == [] or store.find("xyz", 3, 999) == []
    assert store.find("shoes", 0, 999) == []


def test_the_context_of_a_lesson_counts() -> None:
    store = LessonStore()
    store.add("Check the label.", context="buy vegan soap")
    assert [lesson.text for lesson in store.find("a soap", 3, 999)] == ["Check the label."]


def test_the_character_budget_of_lessons() -> None:
    store = LessonStore()
    for number in range(4):
        store.add(f"shoes number {number} " + "x" * 50)
    assert len(store.find("shoes", 4, 10_000)) == 4
    assert len(store.find("shoes", 4, 140)) == 2


def test_use_strengthens_and_time_forgets() -> None:
    lesson = Lesson("a", strength=2.0, last_used=10)
    assert lesson.retention(10) == 1.0
    assert lesson.retention(12) == 0.5
    assert lesson.retention(16) == 0.125
    store = LessonStore(episodes=5)
    store.add("wash the apple")
    store.strengthen(store.lessons[0])
    assert store.lessons[0].strength == 1.0  # learned in this episode: counted already
    store.episodes = 6
    store.strengthen(store.lessons[0])
    store.strengthen(store.lessons[0])
    assert (store.lessons[0].strength, store.lessons[0].last_used) == (2.0, 6)
    # Of two equally relevant lessons the fresher comes first.
    store.episodes = 9
    store.add("peel the apple")
    assert [found.text for found in store.find("apple", 2, 99)] == ["peel the apple", "wash the apple"]


def test_a_full_store_forgets_the_weakest() -> None:
    store = LessonStore(capacity=2)
    store.add("old and weak")
    store.episodes = 5
    store.add("newer")
    store.episodes = 6
    store.add("newest")
    assert [lesson.text for lesson in store.lessons] == ["newer", "newest"]
    store.add("NEWER!")  # the same words: strengthened, not stored twice
    assert [(lesson.text, lesson.strength) for lesson in store.lessons] == [("newer", 2.0), ("newest", 1.0)]
    store.add("   ")
    LessonStore(capacity=0).add("nowhere to go")
    assert len(store.lessons) == 2


def test_lessons_outlive_episodes_and_are_shared() -> None:
    store = LessonStore()
    envs = [DualMemory(CounterEnv(), store=store) for _ in range(2)]
    envs[0].reset(seed=0)
    envs[0].remember("Bring the counter to its target by counting.")
    assert "by counting" in envs[1].reset(seed=1)[0]
    assert store.episodes == 2


def test_a_store_is_a_file(tmp_path: Path) -> None:
    store = LessonStore(capacity=7, episodes=3)
    store.add("Öffne die Tür 🙂", context="zuhause")
    store.save(tmp_path / "lessons.json")
    assert LessonStore.load(tmp_path / "lessons.json") == store
    for damage in (
        "",
        "[]",
        '{"capacity": 1}',
        json.dumps({"capacity": 1, "episodes": 0, "lessons": [{"words": "x"}]}),
    ):
        (tmp_path / "bad.json").write_text(damage, encoding="utf-8")
        with pytest.raises(TaskError, match=r"bad\.json is not a lesson store"):
            LessonStore.load(tmp_path / "bad.json")


# As a wrapper --------------------------------------------------------------------------------------------------------


def test_both_memories_travel_in_snapshots() -> None:
    env, other = gym.make(COUNTER_ID), gym.make(COUNTER_ID)
    env.reset(seed=0)
    env.step("up")
    env.get_wrapper_attr("remember")("Bring the counter home.")
    state = pickle.loads(pickle.dumps(snapshot(env)))
    expected = env.step("down")
    env.get_wrapper_attr("remember")("Something else about the counter.")
    for again in (env, other):
        restore(again, state)
        assert again.step("down") == expected
        assert len(again.get_wrapper_attr("store").lessons) == 1


def test_the_memory_keyword() -> None:
    assert not gym.make(COUNTER_ID, memory=None).has_wrapper_attr("store")
    assert gym.make(COUNTER_ID).get_wrapper_attr("config") == MemoryConfig()
    assert gym.make(COUNTER_ID, memory=MemoryConfig(window=1)).get_wrapper_attr("config").window == 1
    with pytest.raises(UnknownNameError, match="None, dual"):
        gym.make(COUNTER_ID, memory="triple")
