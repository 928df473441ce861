"""Panels: which tasks, and a hash that means the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.task import Task
from cmat_gym.core.testing import CounterTasks
from cmat_gym.evaluation.panel import Panel, resolve_id

IN_ANOTHER_PROCESS = """
import gymnasium as gym, cmat_gym
from cmat_gym.evaluation.panel import Panel
gym.register("cmat-test/Counter-v0", "cmat_gym.core.registry:make_world",
             kwargs={"world": "cmat_gym.core.testing:CounterEnv"})
print(Panel.of("cmat-test/Counter-v0", "dev", 20).sha256)
"""


class ChangedTasks(CounterTasks):
    """The counter's tasks after somebody edited the files: one instruction reads differently."""

    def make(self, split: str, index: int) -> Task:
        task = super().make(split, index)
        return Task(**{**task.to_json(), "instruction": "Do as you like."}) if index == 40 else task


class NoTest(CounterTasks):
    """A source without test tasks."""

    def sizes(self) -> Mapping[str, int]:
        return {**super().sizes(), "dev": 0}


def test_even_spread_covers_the_split_and_first_takes_the_head(counter_id: str) -> None:
    even = Panel.of(counter_id, "dev", 5)
    assert [int(task_id[-6:]) for task_id in even.task_ids] == [0, 10, 20, 30, 40]
    first = Panel.of(counter_id, "dev", 3, spread="first")
    assert [int(task_id[-6:]) for task_id in first.task_ids] == [0, 1, 2]


def test_a_panel_is_never_larger_than_its_split_and_has_no_task_twice(counter_id: str) -> None:
    for size in (50, 51, 100, None):
        panel = Panel.of(counter_id, "dev", size)
        assert len(panel) == len(set(panel.task_ids)) == 50
    assert len(Panel.of(counter_id, "train", 64)) == 64, "a train split of a million tasks is never listed"


def test_the_hash_is_the_same_in_another_process_with_another_string_hash(counter_id: str) -> None:
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    printed = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert {line.strip() for line in printed} == {Panel.of(counter_id, "dev", 20).sha256}


def test_the_hash_tells_splits_sizes_and_contents_apart(counter_id: str) -> None:
    panel = Panel.of(counter_id, "dev", 50)
    others = [Panel.of(counter_id, "test", 50), Panel.of(counter_id, "dev", 49)]
    assert len({panel.sha256, *(other.sha256 for other in others)}) == 3
    assert [task.id for task in panel.tasks(CounterTasks())] == list(panel.task_ids)
    with pytest.raises(TaskError, match="not the ones the panel was made from"):
        panel.tasks(ChangedTasks())


def test_json_brings_back_an_equal_panel(counter_id: str) -> None:
    panel = Panel.of(counter_id, "dev", 7)
    assert Panel.from_json(panel.to_json()) == panel
    with pytest.raises(TaskError, match="incomplete or has unknown fields"):
        Panel.from_json({"env_id": counter_id})


def test_ids_are_resolved_or_refused_with_the_choices(counter_id: str) -> None:
    assert resolve_id(counter_id) == counter_id
    assert resolve_id("WebShop") == "cmat/WebShop-v0"
    with pytest.raises(UnknownNameError, match="cmat/WebShop-v0"):
        resolve_id("cmat/WebShopp-v0")


def test_impossible_panels_are_refused(counter_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="dev, test, train"):
        Panel.of(counter_id, "validation")
    with pytest.raises(UnknownNameError, match="even, first"):
        Panel.of(counter_id, spread="random")
    with pytest.raises(UsageError, match="size=0"):
        Panel.of(counter_id, size=0)
    monkeypatch.setattr("cmat_gym.core.testing.CounterTasks", NoTest)
    with pytest.raises(UsageError, match="no tasks to evaluate on"):
        Panel.of(counter_id)
