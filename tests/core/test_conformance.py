"""Each check of the contract fails on a world that breaks its promise: a check that cannot fail proves nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from cmat_gym.core import conformance
from cmat_gym.core.env import Outcome
from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call
from cmat_gym.core.task import Score, Task, TaskSequence
from cmat_gym.core.testing import CounterEnv, CounterTasks


class NoFps(CounterEnv):
    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012


class WrongInfo(CounterEnv):
    def _score(self) -> Score:
        return Score(int(super()._score().value), False)


class ListsTooMuch(CounterEnv):
    def _admissible(self) -> list[Call]:
        return [*super()._admissible(), Call("fly")]


class Moody(CounterEnv):
    births = itertools.count()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = next(self.births)

    def _apply(self, call: Call) -> Outcome:
        return Outcome(f"{super()._apply(call).observation} ({self.number})", call.name == "stop")


class GlobalDice(CounterEnv):
    def _begin(self, task: Task) -> str:
        random.random()
        return super()._begin(task)


class GlobalNumpyDice(CounterEnv):
    def _begin(self, task: Task) -> str:
        np.random.random()  # noqa: NPY002
        return super()._begin(task)


class Unpicklable(CounterEnv):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = lambda: None


class Forgetful(CounterEnv):
    """Its snapshots lose how often an action was taken, which its pages show."""

    steps = 0

    def _begin(self, task: Task) -> str:
        self.steps = 0
        return super()._begin(task)

    def _apply(self, call: Call) -> Outcome:
        self.steps += 1
        outcome = super()._apply(call)
        return outcome._replace(observation=f"{outcome.observation} Step {self.steps}.")


class Fragile(CounterEnv):
    def _parse(self, action: str) -> Call:
        if "🙂" in action:
            raise RuntimeError("no smiling")
        return super()._parse(action)


class Swallower(CounterEnv):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("no_such_keyword", None)
        super().__init__(**kwargs)


class Endless(CounterEnv):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, False, info


class LeakyTasks(CounterTasks):
    def make(self, split: str, index: int) -> Task:
        task = super().make("train", index)
        return Task(**{**task.to_json(), "id": self.task_id(split, index), "split": split})


class Leaky(CounterEnv):
    def __init__(self, *, split: str = "train", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tasks = LeakyTasks()
        self.split: TaskSequence = self.tasks.split(split)


class BadExpert(CounterEnv):
    def _expert(self) -> Call:
        return Call("stop") if self.target % 5 == 0 else super()._expert()


class SlowExpert(CounterEnv):
    def _cost_to_go(self) -> float:
        return super()._cost_to_go() - 1


class FreeLunch(CounterEnv):
    def _score(self) -> Score:
        return Score(1.0, True) if self.target % 5 == 0 else super()._score()


class Unshaped(CounterEnv):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, max(reward, 0.0), terminated, truncated, info


class Bilingual(CounterEnv):
    def _apply(self, call: Call) -> Outcome:
        outcome = super()._apply(call)
        return Outcome(outcome.observation.upper() if self.protocol == "tools" else outcome.observation, *outcome[1:])


class LocalTasks(CounterTasks):
    offset = 0

    def make(self, split: str, index: int) -> Task:
        task = super().make(split, index)
        return Task(**{**task.to_json(), "instruction": f"{task.instruction} ({id(type(self)) + self.offset})"})


class Local(CounterEnv):
    def __init__(self, *, split: str = "train", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tasks = LocalTasks()
        self.split: TaskSequence = self.tasks.split(split)


class Heavy(CounterEnv):
    def __init__(self, **kwargs: Any) -> None:
        import torch  # noqa: F401

        super().__init__(**kwargs)


class Refuser(CounterEnv):
    """Refuses an action but lets it change the world: going back and playing again differs."""

    def _apply(self, call: Call) -> Outcome:
        if call.name == "down":
            self.births = getattr(self, "births", 0) + 1
            if self.births % 2:
                raise InvalidAction("not now.")
        return super()._apply(call)


BROKEN: list[tuple[Callable[[str], None], type[CounterEnv], type[Exception]]] = [
    (conformance.check_gymnasium_api, NoFps, UserWarning),
    (conformance.check_reset_and_info, WrongInfo, AssertionError),
    (conformance.check_listed_actions_are_valid, ListsTooMuch, AssertionError),
    (conformance.check_determinism, Moody, AssertionError),
    (conformance.check_global_random_state, GlobalDice, AssertionError),
    (conformance.check_global_random_state, GlobalNumpyDice, AssertionError),
    (conformance.check_pickling, Unpicklable, AttributeError),
    (conformance.check_snapshots, Forgetful, AssertionError),
    (conformance.check_snapshots, Refuser, AssertionError),
    (conformance.check_bad_actions, Fragile, RuntimeError),
    (conformance.check_callers_mistakes, Swallower, AssertionError),
    (conformance.check_truncation, Endless, AssertionError),
    (conformance.check_tasks, Leaky, AssertionError),
    (conformance.check_expert, BadExpert, AssertionError),
    (conformance.check_expert, SlowExpert, AssertionError),
    (conformance.check_doing_nothing, FreeLunch, AssertionError),
    (conformance.check_progress_reward, Unshaped, AssertionError),
    (conformance.check_protocols, Bilingual, AssertionError),
    (conformance.check_workers, Local, AssertionError),
    (conformance.check_light_imports, Heavy, AssertionError),
]


@pytest.mark.parametrize(
    ("check", "world", "error"), BROKEN, ids=[f"{check.__name__}-{world.__name__}" for check, world, _ in BROKEN]
)
def test_a_broken_promise_is_found(
    check: Callable[[str], None], world: type[CounterEnv], error: type[Exception]
) -> None:
    if world is Heavy:
        pytest.importorskip("torch")
    env_id = f"cmat-test/{world.__name__}-v0"
    gym.register(
        id=env_id,
        entry_point="cmat_gym.core.registry:make_world",
        vector_entry_point="cmat_gym.core.registry:make_vector_world",
        kwargs={"world": f"{__name__}:{world.__name__}"},
    )
    try:
        with pytest.raises(error):
            check(env_id)
    finally:
        del gym.registry[env_id]


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == set(conformance.CHECKS)
    listed = [value for name, value in vars(conformance).items() if name.startswith("check_") and name != "check_env"]
    assert listed == list(conformance.CHECKS)
