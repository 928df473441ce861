"""The two memories of an agent, as part of what it observes.

Short-term memory is the window of the episode's last turns. Long-term memory is a store of lessons, each found again by
relevance, strengthened when it is used and forgotten when it is not. `DualMemory` writes both into the observation:

    Task: …                      what the user asked for (left out where the page says it anyway)
    Lessons:                     the most relevant lessons
    Recent turns:                what was done and what came of it
    Observation: …               what the world shows now
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from cmat_gym.core import prompts
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import InvalidAction, TaskError, UsageError
from cmat_gym.core.protocol import split_thought

__all__ = ["DualMemory", "Lesson", "LessonStore", "MemoryConfig", "MemorySnapshot"]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class MemoryConfig:
    """Sizes of the two memories.

    Attributes:
        window: Turns of the episode that stay visible (k); 0 turns the short-term memory off.
        window_budget: Characters the visible turns may take; the oldest go first.
        turn_length: Characters of one turn's action, and of its outcome.
        lessons: Lessons shown at most; 0 turns the long-term memory off.
        lesson_budget: Characters the lessons may take.
        capacity: Lessons kept in the store; the weakest goes when it is full.
    """

    window: int = 4
    window_budget: int = 1000
    turn_length: int = 160
    lessons: int = 3
    lesson_budget: int = 600
    capacity: int = 256

    def __post_init__(self) -> None:
        """Refuse sizes below 0."""
        for name, value in asdict(self).items():
            if value < 0:
                raise UsageError(f"MemoryConfig.{name} must be >= 0, got {value}")


@dataclass
class Lesson:
    """One thing learned, in words.

    Attributes:
        text: What the agent reads.
        context: The task it was learned in; takes part in finding it again.
        strength: Half-life in episodes; grows by one each time the lesson is used.
        last_used: Episode count at which it was learned or last used.
    """

    text: str
    context: str = ""
    strength: float = 1.0
    last_used: int = 0

    def retention(self, now: int) -> float:
        """How much of the lesson is left at episode `now`: 2^(-age / strength), in (0, 1]."""
        return math.exp2(-(now - self.last_used) / self.strength)


@dataclass
class LessonStore:
    """Long-term memory: relevance retrieval with usage-strengthened forgetting.

    A lesson's rank is its relevance to the query (words shared, weighted by how rare they are among the lessons) times
    its retention. Using a lesson strengthens it; when the store is full the least retained lesson goes.
    """

    capacity: int = 256
    episodes: int = 0
    lessons: list[Lesson] = field(default_factory=list)

    def add(self, text: str, context: str = "") -> None:
        """Learn a lesson; one that is already known (same words) is strengthened instead."""
        text = " ".join(text.split())
        if not text or self.capacity == 0:
            return
        words = _words(text)
        for known in self.lessons:
            if _words(known.text) == words:
                known.strength += 1.0
                known.last_used = self.episodes
                return
        if len(self.lessons) >= self.capacity:
            weakest = min(range(len(self.lessons)), key=lambda i: (self.lessons[i].retention(self.episodes), i))
            del self.lessons[weakest]
        self.lessons.append(Lesson(text, context, last_used=self.episodes))

    def find(self, query: str, limit: int, budget: int) -> list[Lesson]:
        """The most relevant lessons for `query`: at most `limit`, at most `budget` characters in all."""
        if not self.lessons or limit == 0:
            return []
        wanted = set(_words(query))
        bags = [set(_words(f"{lesson.text} {lesson.context}")) for lesson in self.lessons]
        frequency = Counter(word for bag in bags for word in bag)
        ranked: list[tuple[float, int]] = []
        for index, (lesson, bag) in enumerate(zip(self.lessons, bags, strict=True)):
            relevance = sum(math.log(1 + len(bags) / frequency[word]) for word in wanted & bag)
            if relevance > 0:
                ranked.append((-relevance * lesson.retention(self.episodes), index))
        found: list[Lesson] = []
        for _, index in sorted(ranked)[:limit]:
            budget -= len(self.lessons[index].text)
            if budget < 0:
                break
            found.append(self.lessons[index])
        return found

    def strengthen(self, lesson: Lesson) -> None:
        """Note that `lesson` was shown in this episode (counted once an episode)."""
        if lesson.last_used != self.episodes:
            lesson.strength += 1.0
            lesson.last_used = self.episodes

    def copy(self) -> LessonStore:
        """An independent copy."""
        return LessonStore(self.capacity, self.episodes, [replace(lesson) for lesson in self.lessons])

    def save(self, path: str | Path) -> None:
        """Write the store as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> LessonStore:
        """Read what `save` wrote.

        Raises:
            TaskError: The file is no lesson store.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(data["capacity"], data["episodes"], [Lesson(**lesson) for lesson in data["lessons"]])
        except (ValueError, KeyError, TypeError) as error:
            raise TaskError(f"{path} is not a lesson store written by LessonStore.save: {error}") from error


class MemorySnapshot(NamedTuple):
    """State of a `DualMemory` and of the environment inside it."""

    inner: Any
    turns: tuple[str, ...]
    turn: int
    store: LessonStore


class DualMemory(gym.Wrapper[str, str, str, str]):
    """Puts short-term and long-term memory into the observation.

    Args:
        env: One of our worlds, bare or wrapped.
        config: Sizes of the memories.
        store: Long-term memory to start from, and to share between environments of one process.
    """

    def __init__(
        self, env: gym.Env[str, str], config: MemoryConfig | None = None, store: LessonStore | None = None
    ) -> None:
        super().__init__(env)
        self.config = config or MemoryConfig()
        self.store = store if store is not None else LessonStore(self.config.capacity)
        self._world = base_env(env)
        self._turns: deque[str] = deque(maxlen=self.config.window)
        self._count = 0

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # Gymnasium declares it a property on Wrapper, a field on Env
        """The world's own spec: its `memory` keyword already stands for this wrapper."""
        return self.env.spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode with an empty window; the lessons stay."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._turns.clear()
        self._count = 0
        self.store.episodes += 1
        return self.compose(observation), info

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Take one turn and remember it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._count += 1
        if self.config.window:
            outcome = self._world.summary() if info["valid_action"] else prompts.MEMORY_REFUSED
            length = self.config.turn_length
            self._turns.append(
                prompts.MEMORY_TURN.format(
                    number=self._count, action=_clip(_bare(action), length), outcome=_clip(outcome, length)
                )
            )
        return self.compose(observation), reward, terminated, truncated, info

    def compose(self, observation: str) -> str:
        """Write task, lessons, recent turns and `observation` as one text."""
        parts: list[str] = []
        task = self._world.task.instruction
        if task not in observation:
            parts.append(prompts.MEMORY_TASK.format(task=task))
        if self.store.lessons and self.config.lessons:
            lessons = self.store.find(f"{task} {observation}", self.config.lessons, self.config.lesson_budget)
            for lesson in lessons:
                self.store.strengthen(lesson)
            if lessons:
                parts.append("\n".join([prompts.MEMORY_LESSONS, *(f"- {lesson.text}" for lesson in lessons)]))
        if self._turns:
            parts.append("\n".join([prompts.MEMORY_TURNS, *self._visible_turns()]))
        parts.append(prompts.MEMORY_OBSERVATION.format(observation=observation))
        return "\n".join(parts)

    def remember(self, lesson: str) -> None:
        """Put a lesson from the current episode into long-term memory; later observations may show it."""
        self.store.add(lesson, context=self._world.task.instruction)

    def snapshot(self) -> MemorySnapshot:
        """The episode and both memories as a value."""
        inner = self.env.get_wrapper_attr("snapshot")()
        return MemorySnapshot(inner, tuple(self._turns), self._count, self.store.copy())

    def restore(self, state: MemorySnapshot) -> tuple[str, dict[str, Any]]:
        """Put the episode and both memories back."""
        observation, info = self.env.get_wrapper_attr("restore")(state.inner)
        self._turns = deque(state.turns, maxlen=self.config.window)
        self._count = state.turn
        self.store = state.store.copy()
        return self.compose(observation), info

    def _visible_turns(self) -> list[str]:
        visible: list[str] = []
        budget = self.config.window_budget
        for turn in reversed(self._turns):
            budget -= len(turn) + 1
            if budget < 0 and visible:
                break
            visible.append(turn)
        return visible[::-1]


def _bare(action: str) -> str:
    """The action without its thought, on one line."""
    with contextlib.suppress(InvalidAction):
        action = split_thought(action)[1]
    return " ".join(action.split())


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))
