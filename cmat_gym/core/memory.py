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
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from cmat_gym.core import prompts
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import InvalidAction, UsageError, choose
from cmat_gym.core.lessons import Lesson, LessonStore
from cmat_gym.core.protocol import split_thought
from cmat_gym.core.task import Task

__all__ = ["SCOPES", "DualMemory", "Lesson", "LessonStore", "MemoryConfig", "MemorySnapshot", "TaskFamily", "memories"]

SCOPES = ("shared", "family")
TaskFamily: TypeAlias = Callable[[Task], str]


@dataclass(frozen=True)
class MemoryConfig:
    """Sizes of the two memories.

    Budgets are measured by `count`: characters by default. For tokens give a tokenizer's own count, such as
    `LoRAPolicy.count_tokens`.

    Attributes:
        window: Turns of the episode that stay visible (k); 0 turns the short-term memory off.
        window_budget: What the visible turns may measure; the oldest go first, the last one always stays.
        turn_length: What one turn's action may measure, and its outcome; longer ones are cut.
        lessons: Lessons shown at most; 0 turns the long-term memory off.
        lesson_budget: What the lessons may measure together.
        capacity: Lessons kept in the store; the weakest goes when it is full.
        half_life: Episodes after which half of an unused new lesson is left.
        forget_below: A lesson of which less is left is forgotten.
        scope: `shared` shows any lesson of the store; `family` only those learned in the task's own family.
        count: Measures a text.
    """

    window: int = 4
    window_budget: int = 1000
    turn_length: int = 160
    lessons: int = 3
    lesson_budget: int = 600
    capacity: int = 256
    half_life: float = 32.0
    forget_below: float = 0.01
    scope: str = "shared"
    count: Callable[[str], int] = len

    def __post_init__(self) -> None:
        """Refuse sizes below 0 and unknown scopes."""
        choose("memory scope", self.scope, SCOPES)
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and value < 0:
                raise UsageError(f"MemoryConfig.{item.name} must be >= 0, got {value}")
        self.new_store()

    def new_store(self) -> LessonStore:
        """An empty long-term memory of these sizes."""
        return LessonStore(self.capacity, self.half_life, self.forget_below)


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
        store: Long-term memory to start from, and to share between environments of one process; or the file of a saved
            one. A new, empty one by default. A store given keeps its own capacity and half-life.
        family: Names the family of a task, for `scope="family"`; its domain by default.

    Raises:
        TaskError: The file is no lesson store.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        config: MemoryConfig | None = None,
        store: LessonStore | str | Path | None = None,
        family: TaskFamily | None = None,
    ) -> None:
        super().__init__(env)
        self.config = config or MemoryConfig()
        if store is None:
            store = self.config.new_store()
        self.store = store if isinstance(store, LessonStore) else LessonStore.load(store)
        self.family: TaskFamily = family or _domain
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
        self.store.begin_episode()
        return self.compose(observation), info

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Take one turn and remember it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._count += 1
        if self.config.window:
            outcome = self._world.summary() if info["valid_action"] else prompts.MEMORY_REFUSED
            length, count = self.config.turn_length, self.config.count
            self._turns.append(
                prompts.MEMORY_TURN.format(
                    number=self._count,
                    action=_clip(_bare(action), length, count),
                    outcome=_clip(outcome, length, count),
                )
            )
        return self.compose(observation), reward, terminated, truncated, info

    def compose(self, observation: str, *, strengthen: bool = True) -> str:
        """Write task, lessons, recent turns and `observation` as one text; the lessons shown count as used."""
        parts: list[str] = []
        task = self._world.task.instruction
        if task not in observation:
            parts.append(prompts.MEMORY_TASK.format(task=task))
        lessons = self._find(f"{task} {observation}")
        if lessons:
            parts.append("\n".join([prompts.MEMORY_LESSONS, *(f"- {lesson.text}" for lesson in lessons)]))
        for lesson in lessons if strengthen else []:
            self.store.strengthen(lesson)
        if self._turns:
            parts.append("\n".join([prompts.MEMORY_TURNS, *self._visible_turns()]))
        parts.append(prompts.MEMORY_OBSERVATION.format(observation=observation))
        return "\n".join(parts)

    def remember(self, lesson: str, task: Task | None = None) -> None:
        """Put a lesson from the current episode, or from `task`, into long-term memory; later observations show it."""
        task = task or self._world.task
        self.store.add(lesson, context=task.instruction, family=self.family(task))

    def _find(self, query: str) -> list[Lesson]:
        config = self.config
        if not self.store.lessons or not config.lessons:
            return []
        family = self.family(self._world.task) if config.scope == "family" else None
        return self.store.find(query, config.lessons, config.lesson_budget, family, config.count)

    def snapshot(self) -> MemorySnapshot:
        """The episode and both memories as a value."""
        inner = self.env.get_wrapper_attr("snapshot")()
        return MemorySnapshot(inner, tuple(self._turns), self._count, self.store.copy())

    def restore(self, state: MemorySnapshot) -> tuple[str, dict[str, Any]]:
        """Put the episode and both memories back; a shared store goes back for everyone who shares it."""
        observation, info = self.env.get_wrapper_attr("restore")(state.inner)
        self._turns = deque(state.turns, maxlen=self.config.window)
        self._count = state.turn
        self.store.assign(state.store)
        return self.compose(observation, strengthen=False), info  # looking again is no use

    def _visible_turns(self) -> list[str]:
        visible: list[str] = []
        budget = self.config.window_budget
        for turn in reversed(self._turns):
            budget -= self.config.count(turn) + 1
            if budget < 0 and visible:
                break
            visible.append(turn)
        return visible[::-1]


def _bare(action: str) -> str:
    """The action without its thought, on one line."""
    with contextlib.suppress(InvalidAction):
        action = split_thought(action)[1]
    return " ".join(action.split())


def _clip(text: str, length: int, count: Callable[[str], int]) -> str:
    """The longest beginning that measures at most `length`, with an ellipsis where something was cut."""
    if count(text) <= length:
        return text
    low, high = 0, len(text)  # `low` characters fit, as far as anything does
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(text[:middle] + "…") <= length else (low, middle)
    return text[:low] + "…"


def _domain(task: Task) -> str:
    return task.domain


def memories(envs: Iterable[gym.Env[Any, Any]]) -> list[DualMemory]:
    """The memories among the wrappers of some environments, one for each store: what is shared appears once."""
    found: dict[int, DualMemory] = {}
    for env in envs:
        layer: Any = env
        while isinstance(layer, gym.Wrapper):
            if isinstance(layer, DualMemory):
                found.setdefault(id(layer.store), layer)
            layer = layer.env
    return list(found.values())
