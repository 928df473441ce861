"""`rollout`: play a list of tasks in a few environments, all waiting agents answered in one batch."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import gymnasium as gym

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError, describe_error
from cmat_gym.core.roles import Info, Policy
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory, make_turn, new_trajectory

__all__ = ["OnTurn", "rollout"]

logger = logging.getLogger(__name__)

OnTurn: TypeAlias = Callable[[int, Trajectory], None]


@dataclass
class _Seat:
    """An environment with the episode that is running in it."""

    env: gym.Env[str, str]
    index: int
    trajectory: Trajectory
    observation: str
    info: Info


def rollout(
    envs: Sequence[gym.Env[str, str]],
    policy: Policy,
    tasks: Sequence[Task | str | int],
    *,
    on_start: Callable[[int], None] | None = None,
    on_turn: OnTurn | None = None,
    policy_name: str = "",
) -> list[Trajectory]:
    """Play every task once, in lock-step: one batch of actions, then one step of every live environment.

    An environment that finishes takes the next task at once, so the batch stays full until the tasks run out. Episodes
    do not depend on the environment they are played in: each is reset with seed 0, as `replay` does.

    Args:
        envs: Environments of one world, bare or wrapped; as many as there should be actions in a batch.
        policy: Sees the observations and infos of the live environments only.
        tasks: Tasks, task ids, or indices into the environments' split.
        on_start: Called with the task's position in `tasks` before its episode is opened.
        on_turn: Called with the task's position in `tasks` and its record after every turn, and when an error ended
            the episode.
        policy_name: Written into the records.

    Returns:
        One record per task, in the order of `tasks`. An environment that raised has ended its own episode:
        `Trajectory.error` says how, and the environment goes on with the next task.

    Raises:
        UsageError: No environments, or the policy gave another number of actions than it was asked for.
        TaskError, IndexError: There is no such task; nothing has been played then.
    """
    if not envs:
        raise UsageError("rollout needs at least one environment")
    world = base_env(envs[0])
    waiting = deque(enumerate([world.find_task(task) for task in tasks]))
    records: dict[int, Trajectory] = {}

    def fail(env: gym.Env[str, str], index: int, error: Exception) -> None:
        record = records[index]
        record.error = describe_error(error)
        logger.warning("Task %s ended by an error in %s: %s", record.task_id, env, record.error)
        if on_turn is not None:
            on_turn(index, record)

    def seat(env: gym.Env[str, str]) -> _Seat | None:
        """Open the next task that can be opened in `env`; None when there is none left."""
        while waiting:
            index, task = waiting.popleft()
            records[index] = new_trajectory(env, policy_name, task)
            if on_start is not None:
                on_start(index)
            try:
                observation, info = env.reset(seed=0, options={"task": task})
            except Exception as error:
                fail(env, index, error)
                continue
            records[index].final_observation = observation
            return _Seat(env, index, records[index], observation, info)
        return None

    def play(taken: _Seat, action: str) -> bool:
        """Take one turn; returns whether the episode goes on."""
        try:
            observation, reward, terminated, truncated, info = taken.env.step(action)
        except Exception as error:
            fail(taken.env, taken.index, error)
            return False
        turn = make_turn(taken.observation, action, float(reward), terminated, truncated, info)
        taken.trajectory.turns.append(turn)
        taken.trajectory.final_observation = taken.observation = observation
        taken.info = info
        if on_turn is not None:
            on_turn(taken.index, taken.trajectory)
        return not (terminated or truncated)

    live = [taken for env in envs if (taken := seat(env)) is not None]
    while live:
        actions = policy.act([taken.observation for taken in live], [taken.info for taken in live])
        if len(actions) != len(live):
            raise UsageError(f"{type(policy).__name__}.act gave {len(actions)} actions for {len(live)} observations")
        goes_on = [play(taken, action) for taken, action in zip(live, actions, strict=True)]
        following = [old if on else seat(old.env) for old, on in zip(live, goes_on, strict=True)]
        live = [taken for taken in following if taken is not None]
    return [records[index] for index in range(len(tasks))]
