"""`AdmissibleActions`: a text world for agents that take numbers, such as those of Stable-Baselines3."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, cast
from zlib import crc32

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError, choose
from cmat_gym.core.wrappers import TextWrapper

__all__ = ["ACTION_FEATURES", "AdmissibleActions", "AdmissibleSnapshot"]

Vector: TypeAlias = npt.NDArray[np.float32]

ACTION_FEATURES = (
    "available",  # 1 where the slot holds an action; the rest of an empty slot is 0
    "label_overlap",  # share of the action's own words that the instruction has
    "passage_overlap",  # share of the instruction's words in what the page says after the action's words
    "best_passage",  # 1 for the highest passage_overlap of the page, less in proportion
    "number_fits",  # 1: the passage's last number is at most the instruction's last; -1: above it; 0: one has none
    "taken",  # how often it was taken in this episode: 0, 1/2, 2/3, 3/4, …
)
UNAVAILABLE = ("wrap", "refuse")

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PASSAGE = 200  # characters at most of what a page says about an action
_COMMON = {
    "a",
    "an",
    "and",
    "as",
    "at",
    "by",
    "for",
    "from",
    "i",
    "in",
    "is",
    "it",
    "me",
    "my",
    "need",
    "of",
    "on",
    "or",
}
_COMMON |= {"so", "than", "that", "the", "to", "want", "with"}


class AdmissibleActions(TextWrapper[Vector, int]):
    """Discrete actions over `info["admissible_actions"]`, and the page as a vector.

    Action k is the k-th admissible action of the current page. `action_masks()` says which exist, under the name that
    sb3-contrib's MaskablePPO looks for, and the observation has the same mask, for agents without masking.

    The observation is one flat float32 vector with entries in [-1, 1]: the page's words hashed into `page_size`
    numbers, the share of turns used, then for each of the `max_actions` slots `ACTION_FEATURES` and the words of the
    action hashed into `label_size` numbers. Words are hashed by CRC-32, so vectors are the same on every machine.

    Make the world with `memory=None`: the vector has its own short memory, the feature `taken`.

    Args:
        env: A text world that lists its admissible actions.
        max_actions: Slots. Of a page with more actions the last ones are out of reach.
        page_size: Numbers for the page.
        label_size: Numbers for each action's words.
        unavailable: What an action index does whose slot is empty. `wrap` takes it modulo the number of admissible
            actions, so that an agent without masking explores as fast as one with; `refuse` hands the world an empty
            action, which costs a turn as every bad action does.

    Raises:
        UsageError: A size below 1, or the world does not list its admissible actions.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        max_actions: int = 32,
        page_size: int = 64,
        label_size: int = 8,
        unavailable: str = "wrap",
    ) -> None:
        if min(max_actions, page_size, label_size) < 1:
            raise UsageError(f"Sizes must be at least 1, got {(max_actions, page_size, label_size)}")
        super().__init__(
            env, max_actions=max_actions, page_size=page_size, label_size=label_size, unavailable=unavailable
        )
        self.max_actions = max_actions
        self.page_size = page_size
        self.label_size = label_size
        self.unavailable = choose("treatment of unavailable actions", unavailable, UNAVAILABLE)
        size = page_size + 1 + max_actions * (len(ACTION_FEATURES) + label_size)
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.action_space = gym.spaces.Discrete(max_actions)  # type: ignore[assignment]  # its samples are numpy integers
        self._world = base_env(env)
        self._taken: Counter[str] = Counter()

    @property
    def actions(self) -> list[str]:
        """The admissible actions of the current page that have a slot; `actions[k]` is what index k does."""
        return cast("list[str]", self._info["admissible_actions"])[: self.max_actions]

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which slots hold an action; slot 0 always counts, so that a mask is never empty."""
        return np.arange(self.max_actions) < max(1, len(self.actions))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Open an episode."""
        page, info = self.env.reset(seed=seed, options=options)
        if "admissible_actions" not in info:
            raise UsageError(f"{type(self._world).__name__} lists no admissible actions, which AdmissibleActions needs")
        self._see(page, info)
        self._taken.clear()
        return self.observation(), info

    def step(self, action: int) -> tuple[Vector, Any, bool, bool, dict[str, Any]]:
        """Take the admissible action with this index."""
        text = self.text_of(int(action))
        page, reward, terminated, truncated, info = self.env.step(text)
        self._see(page, info)
        self._taken[text] += 1
        return self.observation(), reward, terminated, truncated, info

    def text_of(self, action: int) -> str:
        """The text an index stands for on the current page.

        Raises:
            UsageError: The index is outside of the action space.
        """
        if not 0 <= action < self.max_actions:
            raise UsageError(f"An action is an index from 0 to {self.max_actions - 1}, got {action}")
        actions = self.actions
        if action < len(actions):
            return actions[action]
        return actions[action % len(actions)] if actions and self.unavailable == "wrap" else ""

    def observation(self) -> Vector:
        """The current page and its admissible actions as one vector."""
        actions = self.actions
        features = np.zeros((self.max_actions, len(ACTION_FEATURES) + self.label_size), np.float32)
        if actions:
            split = len(ACTION_FEATURES)
            features[: len(actions), :split] = self._features(actions)
            for row, action in zip(features, actions, strict=False):
                row[split:] = _hashed_label(action, self.label_size)
        used = np.full(1, self._info["turn"] / self._world.turn_limit, np.float32)
        return np.concatenate([_hashed(_words(self._page), self.page_size), used, features.ravel()])

    def snapshot(self) -> AdmissibleSnapshot:
        """The episode, and which actions were taken in it."""
        return AdmissibleSnapshot(super().snapshot(), dict(self._taken))

    def restore(self, state: AdmissibleSnapshot) -> tuple[Vector, dict[str, Any]]:
        """Go back to what `snapshot` gave."""
        _, info = super().restore(state.inner)
        self._taken = Counter(state.taken)
        return self.observation(), info

    def _features(self, actions: list[str]) -> Vector:
        """`ACTION_FEATURES` of every action. [actions, features]"""
        instruction = self._world.task.instruction
        wanted = frozenset(_words(instruction)) - _COMMON
        limit = _last_number(instruction)
        labels = [_label(action) for action in actions]
        passages = _passages(self._page.lower(), labels)
        rows: list[tuple[float, ...]] = []
        for action, label, passage in zip(actions, labels, passages, strict=True):
            overlap = len(wanted.intersection(_words(passage))) / max(1, len(wanted))
            number, taken = _last_number(passage), self._taken[action]
            fits = 0.0 if limit is None or number is None else 1.0 if number <= limit else -1.0
            rows.append((1.0, _share(wanted, _words(label)), overlap, 0.0, fits, taken / (taken + 1)))
        features = np.array(rows, np.float32)
        features[:, 3] = features[:, 2] / max(features[:, 2].max(), 1e-6)
        return features


class AdmissibleSnapshot(NamedTuple):
    """State of an `AdmissibleActions` and of the environment inside it."""

    inner: Any
    taken: dict[str, int]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1 << 14)
def _label(action: str) -> str:
    """What an action is about, in lower case: the part in brackets, the values of a JSON call, or all of it."""
    if action.startswith("{"):
        return " ".join(str(value) for value in json.loads(action)["arguments"].values()).lower()
    return (action.partition("[")[2].rpartition("]")[0] or action).lower()


def _passages(page: str, labels: list[str]) -> list[str]:
    """What a page says about each label: the text from where it last stands to the next label; may be empty."""
    starts = [page.rfind(label) for label in labels]
    ends = sorted(starts)
    passages: list[str] = []
    for label, start in zip(labels, starts, strict=True):
        begin = start + len(label)
        following = bisect_left(ends, begin)
        end = ends[following] if following < len(ends) else len(page)
        passages.append(page[begin : min(end, begin + _PASSAGE)] if start >= 0 else "")
    return passages


def _share(wanted: frozenset[str], words: list[str]) -> float:
    return sum(word in wanted for word in words) / max(1, len(words))


def _last_number(text: str) -> float | None:
    numbers = _NUMBER.findall(text)
    return float(numbers[-1]) if numbers else None


@lru_cache(maxsize=1 << 16)
def _slot(word: str) -> tuple[int, float]:
    """Where a word counts, and its sign: two independent parts of one checksum."""
    code = crc32(word.encode())
    return code >> 1, 1.0 if code & 1 else -1.0


@lru_cache(maxsize=1 << 14)
def _hashed_label(action: str, size: int) -> Vector:
    return _hashed(_words(action), size)


def _hashed(words: list[str], size: int) -> Vector:
    """Bag of words by signed hashing, of length 1 (0 for no words)."""
    vector = np.zeros(size, np.float32)
    for word in words:
        index, sign = _slot(word)
        vector[index % size] += sign
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > 0 else vector
