"""Long-term memory: ranking against hand-computed BM25, forgetting, families, embeddings, files, sharing."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.env import restore, snapshot
from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.lessons import BM25, LessonStore
from cmat_gym.core.memory import DualMemory, MemoryConfig, memories
from cmat_gym.core.testing import CounterEnv

COUNTER_ID = "cmat-test/Counter-v0"


# Relevance -----------------------------------------------------------------------------------------------------------


def test_bm25_is_the_published_formula() -> None:
    """Fails when idf, saturation (k1) or length normalisation (b) is changed, left out or applied to the query."""
    documents = [["red", "shoes", "red"], ["blue", "shoes"], ["open", "the", "old", "fridge"]]
    # N = 3, mean length 3. "red": n = 1, idf = ln(1 + 2.5 / 1.5); tf = 2 at the mean length: 2·2.2 / (2 + 1.2).
    red = math.log(1 + 2.5 / 1.5) * 4.4 / 3.2
    # "shoes": n = 2, idf = ln(1 + 1.5 / 2.5); tf = 1; lengths 3 and 2: floors 1.2 and 1.2·(0.25 + 0.75·2/3) = 0.9.
    idf = math.log(1 + 1.5 / 2.5)
    scores = BM25(documents).scores(["red", "shoes", "red", "unknown"])
    assert scores == pytest.approx([red + idf * 2.2 / 2.2, idf * 2.2 / 1.9, 0.0])
    assert BM25([]).scores(["red"]) == []
    assert BM25([[], []]).scores(["red"]) == [0.0, 0.0]


def test_a_word_of_many_occurrences_saturates_and_long_lessons_do_not_win_by_length() -> None:
    """Fails when relevance is a mere overlap of sets: then both lessons would rank alike."""
    store = LessonStore()
    store.add("milk belongs there and the door is closed behind it, walls lights floors doors windows tables chairs")
    store.add("milk belongs in fridge")
    assert [lesson.text[-6:] for lesson in store.find("milk", 2, 999)] == ["fridge", "chairs"]


def test_function_words_find_nothing() -> None:
    """Fails when function words count as relevance: a lesson would be shown with every task that says "the"."""
    store = LessonStore()
    store.add("The door is to be closed.")
    assert store.find("where is the cat", 3, 999) == []


def test_rank_is_relevance_times_retention() -> None:
    """Fails when rank ignores either factor, or when a half-life is not what halves."""
    store = LessonStore(half_life=4.0)
    store.add("fridge milk")
    store.episodes = 8
    store.add("fridge eggs")
    old, new = store.lessons
    assert (store.retention(old), store.retention(new)) == (0.25, 1.0)
    # Alone "milk" is worth ln(1 + 1.5/1.5) = 0.69, "fridge" ln(1 + 0.5/2.5) = 0.18, all at the mean length.
    milk, fridge = math.log(2.0), math.log(1.2)
    rows = store.rows("fridge milk")
    assert {row.lesson.text: row.relevance for row in rows} == pytest.approx(
        {"fridge milk": milk + fridge, "fridge eggs": fridge}
    )
    assert [row.lesson for row in rows] == [old, new]  # 0.87 / 4 = 0.22 beats 0.18
    store.episodes = 12
    # 2^-3 · 0.87 = 0.11 against 2^-1 · 0.18 = 0.09, and four episodes on still: the ratio of two fading lessons stays.
    store.strengthen(new)
    assert [row.lesson for row in store.rows("fridge milk")] == [new, old]
    assert store.find("fridge milk", 2, 999) == [new, old]
    assert [row.lesson for row in store.rows()] == [new, old]
    assert [(row.age, row.relevance) for row in store.rows()] == [(0, 0.0), (12, 0.0)]


def test_a_lesson_that_does_not_fit_the_budget_is_passed_over() -> None:
    """Fails when the first lesson that is too long ends the search, or when budgets count something else."""
    store = LessonStore()
    store.add("milk " * 3 + "milk and a very long text about all sorts of other things " * 3)
    store.add("eggs and milk in the fridge")
    assert [lesson.text[:4] for lesson in store.find("milk", 3, 40)] == ["eggs"]
    assert store.find("milk", 3, 5, count=lambda text: len(text.split())) == []
    assert [x.text[:4] for x in store.find("milk", 3, 6, count=lambda text: len(text.split()))] == ["eggs"]


def letters(texts: Sequence[str]) -> np.ndarray:
    """A stand-in for a sentence encoder: how often each letter occurs."""
    return np.array([[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])


def test_embeddings_take_the_place_of_words() -> None:
    """Fails when the embedding function is not used, is asked again for what it has embedded, or is saved."""
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return letters(texts)

    store = LessonStore(embed=embed)
    store.add("zzzz")
    store.add("milkmilk")
    assert [lesson.text for lesson in store.find("klim", 3, 999)] == ["milkmilk"]  # no word in common
    assert store.rows("klim")[0].relevance == pytest.approx(1.0)
    assert store.find("klim", 3, 999)
    assert asked.count("milkmilk ") == 1
    assert pickle.loads(pickle.dumps(store.copy())) == store
    assert store.copy().embed is None
    store.embed = lambda texts: np.zeros((1, 3))
    store.add("new")
    with pytest.raises(UsageError, match=r"shape \(1, 3\) for"):
        store.find("anything", 1, 99)


# Families, doubles, forgetting ---------------------------------------------------------------------------------------


def test_lessons_of_another_family_stay_out() -> None:
    """Fails when `scope="family"` shows all lessons, or hides those that belong to no family."""
    store = LessonStore()
    store.add("wash the apple", family="kitchen")
    store.add("peel the apple", family="shop")
    store.add("eat the apple")
    assert {lesson.text[:4] for lesson in store.find("apple", 9, 999, "shop")} == {"peel", "eat "}
    assert len(store.find("apple", 9, 999)) == 3
    store.add("wash the apple", family="shop")  # known in another family: a lesson of its own
    assert len(store.lessons) == 4


def test_the_wrapper_remembers_by_family() -> None:
    """Fails when `remember` does not note the family, or the observation does not ask for it."""
    store = LessonStore()
    signs = [DualMemory(CounterEnv(), MemoryConfig(scope="family"), store, family=sign) for _ in range(2)]
    split = CounterEnv().split
    below = [index for index in range(99) if sign(split[index]) == "down"][:2]
    above = next(index for index in range(99) if sign(split[index]) == "up")
    signs[0].reset(options={"task": below[0]})
    signs[0].remember("Count down to the counter's target.")
    assert store.lessons[0].family == "down"
    signs[1].reset(options={"task": above})
    assert "Lessons" not in signs[1].step("up")[0]
    signs[1].reset(options={"task": below[1]})
    assert "Count down" in signs[1].step("up")[0]
    shared = DualMemory(CounterEnv(), MemoryConfig(), store, family=sign)
    shared.reset(options={"task": above})
    assert "Count down" in shared.step("up")[0]
    assert DualMemory(CounterEnv()).family(split[0]) == "counter"
    assert DualMemory(CounterEnv()).family(shared.unwrapped.task) == "counter"  # type: ignore[attr-defined]
    with pytest.raises(UnknownNameError, match="family, shared"):
        MemoryConfig(scope="famly")


def sign(task: Any) -> str:
    return "down" if int(re.findall(r"-?\d+", task.instruction)[0]) % 2 else "up"


def test_the_same_lesson_in_other_punctuation_is_one() -> None:
    """Fails when doubles are kept, or when a negation or another order passes for the same lesson."""
    store = LessonStore()
    store.add("Open the fridge, before you put milk in!", context="put milk in fridge")
    store.add("open fridge before you put  the milk in", context="put eggs in fridge")
    assert [(x.strength, x.context) for x in store.lessons] == [(2.0, "put milk in fridge\nput eggs in fridge")]
    store.add("Do not open the fridge before you put milk in.")
    store.add("Put milk in before you open the fridge.")
    assert len(store.lessons) == 3
    for number in range(9):
        store.add("open fridge before put milk", context=f"task {number}")
    assert store.lessons[0].context.split("\n") == ["task 5", "task 6", "task 7", "task 8"]
    assert store.add("The, of!") is store.add("the of")  # only function words: compared as they are


def test_what_has_faded_is_forgotten_when_an_episode_begins() -> None:
    """Fails when nothing is ever forgotten, when use does not help, or when the clock stands still."""
    store = LessonStore(half_life=1.0, forget_below=0.2)
    store.add("used")
    store.add("unused")
    store.begin_episode()
    store.strengthen(store.lessons[0])
    store.begin_episode()
    assert [lesson.text for lesson in store.lessons] == ["used", "unused"]  # 2^-1/2 and 2^-2 = 0.25
    store.begin_episode()
    assert [lesson.text for lesson in store.lessons] == ["used"]  # 2^-3 is below
    keeps = LessonStore(half_life=1.0, forget_below=0.0)
    keeps.add("unused")
    for _ in range(99):
        keeps.begin_episode()
    assert len(keeps.lessons) == 1


@given(st.lists(st.tuples(st.text(max_size=12), st.integers(0, 2)), max_size=40), st.integers(0, 4))
def test_a_store_never_outgrows_its_capacity_and_travels(moves: list[tuple[str, int]], capacity: int) -> None:
    """Fails when learning and forgetting in any order leave doubles, too many lessons, or a copy that differs."""
    store = LessonStore(capacity=capacity, half_life=2.0, forget_below=0.1)
    for text, wait in moves:
        for _ in range(wait):
            store.begin_episode()
        store.add(text)
        assert len(store.lessons) <= capacity
    texts = [lesson.text for lesson in store.lessons]
    assert len(set(texts)) == len(texts)
    assert all(0 < store.retention(lesson) <= 1 for lesson in store.lessons)
    twin = LessonStore()
    twin.assign(pickle.loads(pickle.dumps(store.copy())))
    assert twin == store


def test_bad_sizes_and_bad_files_are_named(tmp_path: Path) -> None:
    for wrong in ({"capacity": -1}, {"half_life": 0.0}, {"forget_below": 1.0}):
        with pytest.raises(UsageError, match="capacity >= 0"):
            LessonStore(**wrong)  # type: ignore[arg-type]
    store = LessonStore()
    store.add("a lesson")
    store.save(tmp_path / "new" / "store.json")
    good = json.loads((tmp_path / "new" / "store.json").read_text())
    for name, value in (("text", 3), ("strength", 0), ("strength", "x"), ("last_used", None)):
        bad = {**good, "lessons": [{**good["lessons"][0], name: value}]}
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        with pytest.raises(TaskError, match="is not a lesson store"):
            LessonStore.load(tmp_path / "bad.json")
    with pytest.raises(TaskError, match=r"nowhere\.json"):
        LessonStore.load(tmp_path / "nowhere.json")


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the store is written in place: a full disk would lose all lessons."""
    store = LessonStore()
    store.add("old")
    store.save(tmp_path / "store.json")
    store.add("new")
    real = Path.write_text

    def full(self: Path, text: str, **kwargs: Any) -> int:
        real(self, text[:20], **kwargs)
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        store.save(tmp_path / "store.json")
    monkeypatch.undo()
    assert [lesson.text for lesson in LessonStore.load(tmp_path / "store.json").lessons] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["store.json"]


# In environments -----------------------------------------------------------------------------------------------------


def test_environments_share_a_store_by_keyword(tmp_path: Path) -> None:
    """Fails when `gym.make` copies the store or when `lessons=` is dropped."""
    store = LessonStore()
    envs = [gym.make(COUNTER_ID, lessons=store) for _ in range(2)]
    envs[0].reset(seed=0)
    envs[0].get_wrapper_attr("remember")("Move the counter to its target.")
    assert "Move the counter" in envs[1].reset(seed=1)[0]
    assert [memory.store for memory in memories([*envs, gym.make(COUNTER_ID, memory=None)])] == [store]
    store.save(tmp_path / "store.json")
    assert "Move the counter" in gym.make(COUNTER_ID, lessons=str(tmp_path / "store.json")).reset(seed=0)[0]
    with pytest.raises(UsageError, match="lessons= needs a memory"):
        gym.make(COUNTER_ID, memory=None, lessons=store)


def test_a_snapshot_puts_a_shared_store_back_for_everyone_and_counts_no_use() -> None:
    """Fails when restoring detaches an environment from its shared store, or when restoring strengthens lessons."""
    store = LessonStore()
    envs = [gym.make(COUNTER_ID, lessons=store) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    envs[0].get_wrapper_attr("remember")("The counter shows where it is.")
    state = snapshot(envs[0])
    store.episodes += 3  # time passes, so that a use would count
    before = store.copy()
    restore(envs[0], snapshot(envs[0]))
    assert store == before
    envs[1].get_wrapper_attr("remember")("Something new about the counter.")
    restore(envs[0], state)
    assert [lesson.text for lesson in store.lessons] == ["The counter shows where it is."]
    assert envs[0].get_wrapper_attr("store") is envs[1].get_wrapper_attr("store") is store


def test_budgets_can_count_tokens() -> None:
    """Fails when any of the budgets goes on counting characters."""

    def words(text: str) -> int:
        return len(text.split())

    env = DualMemory(CounterEnv(), MemoryConfig(window=5, window_budget=18, turn_length=3, count=words))
    env.reset(seed=0)
    for action in ["up"] * 4 + ["one two three four five"]:
        shown = env.step(action)[0]
    turns = [line for line in shown.splitlines() if " -> " in line]
    assert turns[-1].startswith("5. one two three")
    assert "four" not in turns[-1]
    assert len(turns) == 2  # "4. up -> It shows 4." is 6 words and its line end, the last one 6 and its own
    assert sum(words(turn) + 1 for turn in turns) <= 18


def test_clipping_to_a_budget_of_nothing() -> None:
    env = DualMemory(CounterEnv(), MemoryConfig(turn_length=0))
    env.reset(seed=0)
    assert "1. … -> …" in env.step("up")[0]
