"""Discrete admissible actions and the page as a vector."""

from __future__ import annotations

import pickle
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.discrete import ACTION_FEATURES, AdmissibleActions, _passages
from cmat_gym.core.env import restore, snapshot
from cmat_gym.core.errors import UnknownNameError, UsageError
from cmat_gym.core.protocol import Call
from cmat_gym.core.testing import CounterEnv

SHOP_ID = "cmat/WebShop-v0"


class SilentEnv(CounterEnv):
    """Lists no admissible actions."""

    def _admissible(self) -> list[Call]:
        return None  # type: ignore[return-value]


def features(env: AdmissibleActions) -> dict[str, np.ndarray[Any, Any]]:
    """The features of the current page's actions by name."""
    vector = env.observation()[env.page_size + 1 :].reshape(env.max_actions, -1)
    return {name: vector[: len(env.actions), column] for column, name in enumerate(ACTION_FEATURES)}


@pytest.mark.parametrize("protocol", ["text", "tools"])
def test_indices_stand_for_the_admissible_actions(protocol: str) -> None:
    env = AdmissibleActions(CounterEnv(protocol=protocol), max_actions=5)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.actions == info["admissible_actions"]
    assert env.action_masks().tolist() == [True, True, True, False, False]
    assert features(env)["available"].tolist() == [1, 1, 1]
    before = env.unwrapped.get_wrapper_attr("count")
    for action, count in ((0, before + 1), (1, before)):
        _, _, _, _, info = env.step(action)
        assert info["valid_action"]
        assert env.unwrapped.get_wrapper_attr("count") == count
    assert env.step(np.int64(2))[2]  # type: ignore[arg-type]  # stop


@pytest.mark.parametrize(("unavailable", "valid"), [("wrap", True), ("refuse", False)])
def test_an_empty_slot(unavailable: str, valid: bool) -> None:
    env = AdmissibleActions(CounterEnv(), max_actions=5, unavailable=unavailable)
    env.reset(seed=0)
    before = env.unwrapped.get_wrapper_attr("count")
    _, _, _, _, info = env.step(4)  # 4 modulo 3 admissible actions is 1: down
    assert info["valid_action"] is valid
    assert info["turn"] == 1
    assert env.unwrapped.get_wrapper_attr("count") == before - valid


def test_callers_mistakes_are_raised() -> None:
    env = AdmissibleActions(CounterEnv(), max_actions=5)
    env.reset(seed=0)
    for action in (-1, 5):
        with pytest.raises(UsageError, match=f"index from 0 to 4, got {action}"):
            env.step(action)
    with pytest.raises(UsageError, match="SilentEnv lists no admissible actions"):
        AdmissibleActions(SilentEnv()).reset(seed=0)
    with pytest.raises(UnknownNameError, match="refuse, wrap"):
        AdmissibleActions(CounterEnv(), unavailable="guess")
    with pytest.raises(UsageError, match="at least 1"):
        AdmissibleActions(CounterEnv(), max_actions=0)


def test_pages_with_more_actions_than_slots() -> None:
    env = AdmissibleActions(CounterEnv(), max_actions=2)
    env.reset(seed=0)
    assert env.actions == ["up", "down"]
    assert env.action_masks().all()


def test_what_the_features_say_about_a_shelf() -> None:
    env = AdmissibleActions(gym.make(SHOP_ID, memory=None))
    env.reset(seed=0)
    _, _, _, _, info = env.step(0)  # the one listed search
    shelf = features(env)
    page = env._page.lower()
    limit = float(re.findall(r"\d+(?:\.\d+)?", env.unwrapped.get_wrapper_attr("task").instruction)[-1])
    products = [k for k, action in enumerate(env.actions) if re.fullmatch(r"click\[b\d+\]", action)]
    assert len(products) >= 5
    for k in products:
        passage = page.split(env.actions[k][6:-1])[1].split("[sep]")
        price = float(passage[2].rpartition("$")[2])  # of "$16.95 to $19.95" the higher one
        assert shelf["number_fits"][k] == (1 if price <= limit else -1)
    assert shelf["best_passage"].max() == 1
    assert shelf["best_passage"].argmax() in products
    assert shelf["taken"].max() == 0
    # Going there and back is remembered.
    env.step(products[0])
    env.step(env.actions.index("click[< prev]"))
    assert features(env)["taken"][products[0]] == 0.5
    assert info["valid_action"]


def test_vectors_are_the_same_for_equal_histories_and_after_restore() -> None:
    def build() -> AdmissibleActions:
        return AdmissibleActions(gym.make(SHOP_ID, memory=None))

    env, other = build(), build()
    rng = np.random.default_rng(1)
    assert np.array_equal(env.reset(seed=5)[0], other.reset(seed=5)[0])
    for turn in range(12):
        action = int(rng.choice(np.flatnonzero(env.action_masks())))
        state = pickle.loads(pickle.dumps(snapshot(env)))
        observation, reward, terminated, _, info = env.step(action)
        assert observation in env.observation_space
        if turn % 3 == 0:
            other = build()
        restore(other, state)
        again = other.step(action)
        assert np.array_equal(observation, again[0])
        assert (reward, terminated, info) == (again[1], again[2], again[4])
        if terminated:
            break


def test_known_hashes() -> None:
    """CRC-32 of the words decides, so the vector of a page is the same everywhere, for ever."""
    env = AdmissibleActions(CounterEnv(), max_actions=3, page_size=4, label_size=4)
    observation, _ = env.reset(seed=0, options={"task": 0})
    assert env._page == "Bring the counter to -5. It shows 0."
    # The eight words weigh (0, -1, -3, -2) / sqrt(14) in sum, and no turn is used.
    assert observation[:5] == pytest.approx(np.array([0, -1, -3, -2, 0]) / np.sqrt(14))
    slots = observation[5:].reshape(3, -1)[:, len(ACTION_FEATURES) :]
    # crc32("up") = 2 * 566916920, crc32("down") = 2 * 243255325 + 1, crc32("stop") = 2 * 1554713435
    assert slots.tolist() == [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, -1]]


def test_rebuilt_from_its_spec() -> None:
    env = AdmissibleActions(gym.make(SHOP_ID, memory=None), max_actions=20, label_size=4)
    again: Any = gym.make(env.spec)  # type: ignore[arg-type]
    assert again.observation_space == env.observation_space
    assert again.action_space == gym.spaces.Discrete(20)


@given(st.text("ab c", max_size=30), st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5))
def test_passages_are_parts_of_the_page_after_their_label(page: str, labels: list[str]) -> None:
    passages = _passages(page, labels)
    assert len(passages) == len(labels)
    for label, passage in zip(labels, passages, strict=True):
        assert label + passage in page or (passage == "" and label not in page)


def test_passages_end_where_the_next_label_begins() -> None:
    page = "search b1 red shirt $5 b2 blue shirt $7 next"
    assert _passages(page, ["b1", "b2", "next", "gone"]) == [" red shirt $5 ", " blue shirt $7 ", "", ""]
