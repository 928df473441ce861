"""Worlds small enough to know what the best policy earns, for trainer tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task, TaskSource

WORDS = ("one", "two", "three")


class PickTasks(TaskSource):
    """Which words to pick, one after the other."""

    domain = "pick"
    name = "toy-v0"

    def sizes(self) -> Mapping[str, int]:
        """One split."""
        return {"train": 9}

    def make(self, split: str, index: int) -> Task:
        """Two of the three words."""
        words = [WORDS[index % 3], WORDS[index // 3]]
        return Task(self.task_id(split, index), self.domain, split, self.name, "Pick.", {"words": words}, 6)


class PickEnv(TextEnv):
    """Say the word that is shown, twice; a wrong word costs the turn, a strange one is invalid."""

    domain = "pick"
    tools: ClassVar[tuple[Tool, ...]] = tuple(Tool(word, "Pick it.") for word in WORDS)
    fail_on_turn: int | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(PickTasks(), **kwargs)
        self.done = 0
        self.words: list[str] = []

    @property
    def system_prompt(self) -> str:
        """Nothing to say."""
        return ""

    def _begin(self, task: Task) -> str:
        self.words, self.done = task.payload["words"], 0
        return self._page()

    def _page(self) -> str:
        return f"Pick {self.words[self.done]}" if self.done < 2 else "Stopped"

    def _parse(self, action: str) -> Call:
        if action not in WORDS:
            raise InvalidAction("say one, two or three.")
        return Call(action)

    def _apply(self, call: Call) -> Outcome:
        if self._turn == self.fail_on_turn:
            raise RuntimeError("the world broke")
        self.done += call.name == self.words[self.done]
        return Outcome(self._page(), terminated=self.done == 2)

    def _score(self) -> Score:
        return Score(self.done / 2, self.done == 2)

    def _get_state(self) -> Any:
        return [self.done, self.words]

    def _set_state(self, state: Any) -> None:
        self.done, self.words = state

    def _admissible(self) -> list[Call]:
        return [Call(word) for word in WORDS]

    def _render(self, call: Call) -> str:
        return call.name

    def _expert(self) -> Call:
        return Call(self.words[self.done])

    def _cost_to_go(self) -> float:
        return 2 - self.done
