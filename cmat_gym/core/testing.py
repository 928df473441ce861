"""A world small enough to read at a glance, shipped for tests: yours and ours.

`CounterEnv` asks the agent to bring a counter to a target with `up` and `down`, then say `stop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task, TaskSource

__all__ = ["CounterEnv", "CounterTasks"]


class CounterTasks(TaskSource):
    """Targets between -9 and 9, a million training tasks, starts that never occur in another split."""

    domain = "counter"
    name = "builtin-v0"

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return {"train": 1_000_000, "dev": 50, "test": 50}

    def make(self, split: str, index: int) -> Task:
        """A start value that names split and index, and a target at most nine away from it."""
        lane = ("train", "dev", "test").index(split)
        start = 100 * (3 * index + lane)
        distance = (7919 * index + 4) % 18 - 9  # runs through all of -9 … 8
        distance += distance >= 0  # … and never stays, or doing nothing would be right
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=f"Bring the counter to {start + distance}.",
            payload={"start": start, "target": start + distance},
            max_turns=20,
        )


_CALLS = {name: Call(name) for name in ("up", "down", "stop")}


class CounterEnv(TextEnv):
    """Count up or down to a target."""

    domain = "counter"
    tools = (Tool("up", "Add one."), Tool("down", "Subtract one."), Tool("stop", "Finish."))

    def __init__(self, *, source: str = "builtin", backend: None = None, **kwargs: Any) -> None:
        super().__init__(CounterTasks(), **kwargs)
        self.count = self.target = 0

    @property
    def system_prompt(self) -> str:
        """The three words the agent may say."""
        return "Answer with up, down or stop."

    def _begin(self, task: Task) -> str:
        self.count, self.target = task.payload["start"], task.payload["target"]
        return f"{task.instruction} It shows {self.count}."

    def _parse(self, action: str) -> Call:
        call = _CALLS.get(action)
        if call is None:
            raise InvalidAction("say up, down or stop.")
        return call

    def _apply(self, call: Call) -> Outcome:
        if call.name == "stop":
            return Outcome("Stopped.", terminated=True)
        self.count += 1 if call.name == "up" else -1
        return Outcome(f"It shows {self.count}.")

    def _score(self) -> Score:
        hit = self.count == self.target
        return Score(float(hit), hit)

    def _get_state(self) -> Any:
        return [self.count, self.target]

    def _set_state(self, state: Any) -> None:
        self.count, self.target = state

    def _admissible(self) -> list[Call]:
        return list(_CALLS.values())

    def _render(self, call: Call) -> str:
        return call.name

    def _expert(self) -> Call:
        gap = self.target - self.count
        return Call("stop" if gap == 0 else "up" if gap > 0 else "down")

    def _cost_to_go(self) -> float:
        return abs(self.target - self.count) + 1
