"""Episodes from wherever one likes: from the beginning, or again from a snapshot in the middle of an earlier one.

That is what a simulator allows and the world does not: to ask what another action would have led to. The Checker learns
Q(s, a) from it, and reflection finds out whether a second thought was a better one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym

from cmat_gym.core.env import base_env, restore, snapshot
from cmat_gym.core.errors import UsageError, describe_error
from cmat_gym.core.memory import memories
from cmat_gym.core.roles import Info, Policy
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory, make_turn, new_trajectory

__all__ = ["Played", "Start", "Step", "hold_memories", "play_branches", "play_episodes"]

logger = logging.getLogger(__name__)
Env: TypeAlias = "gym.Env[str, str]"
Hint: TypeAlias = Callable[[int, str], str]
"""Index of the branch and observation -> what the policy is shown instead. What is recorded stays the observation."""


class Start(NamedTuple):
    """Where a branch begins: a snapshot, and what the agent saw there."""

    state: Any
    observation: str
    info: Info


class Step(NamedTuple):
    """One turn. `start` leads back to before it, where states were kept."""

    observation: str
    info: Info
    action: str
    reward: float
    start: Start | None


@dataclass
class Played:
    """An episode, or the rest of one from a snapshot on.

    Attributes:
        trajectory: Its record.
        steps: Its turns, with the infos they were chosen on.
        terminated: The task ended. Neither terminated nor truncated: the environment failed.
        truncated: The turn limit struck.
        score: Official score at the end.
        success: Whether it ended in success.
        last_info: Info after the last turn.
    """

    trajectory: Trajectory
    steps: list[Step] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False
    score: float = 0.0
    success: bool = False
    last_info: Info = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it came to its end; a failed environment's episode says nothing about actions."""
        return self.terminated or self.truncated

    def returns(self, gamma: float) -> list[float]:
        """Discounted sum of rewards from each turn on: G_t = r_t + γ G_{t+1}."""
        total, totals = 0.0, list[float]()
        for step in reversed(self.steps):
            total = step.reward + gamma * total
            totals.append(total)
        return totals[::-1]


def play_episodes(
    envs: Sequence[Env], policy: Policy, tasks: Sequence[Task | str | int], *, keep_states: bool = True
) -> list[Played]:
    """Play every task once, in lock-step, and keep the way back to each turn.

    Args:
        envs: Environments of one world, bare or wrapped.
        policy: Who acts.
        tasks: Tasks, task ids, or indices into the environments' split.
        keep_states: Whether a snapshot is taken before each turn.

    Raises:
        UsageError: No environments.
        TaskError, IndexError: There is no such task.
    """
    _check(envs)
    wanted = [base_env(envs[0]).find_task(task) for task in tasks]

    def opening(task: Task) -> Callable[[Env], tuple[str, Info]]:
        return lambda env: env.reset(seed=0, options={"task": task})

    return _play(envs, policy, [opening(task) for task in wanted], [None] * len(wanted), None, keep_states)


def play_branches(
    envs: Sequence[Env],
    policy: Policy,
    starts: Sequence[Start],
    *,
    first: Sequence[str | None] | None = None,
    hint: Hint | None = None,
    keep_states: bool = False,
) -> list[Played]:
    """Go on from snapshots to the ends of their episodes, in lock-step.

    The environments' memories are afterwards as they were before.

    Args:
        envs: Environments equal to those the snapshots are of.
        policy: Who acts.
        starts: Where to begin.
        first: The first action of each branch; None lets the policy choose it.
        hint: Changes what the policy is shown.
        keep_states: Whether a snapshot is taken before each turn.

    Raises:
        UsageError: No environments.
    """
    _check(envs)

    def opening(start: Start) -> Callable[[Env], tuple[str, Info]]:
        def go_back(env: Env) -> tuple[str, Info]:
            restore(env, start.state)
            return start.observation, start.info  # as it was seen, refusals included

        return go_back

    with hold_memories(envs):
        openings = [opening(start) for start in starts]
        return _play(envs, policy, openings, first or [None] * len(starts), hint, keep_states)


@contextmanager
def hold_memories(envs: Sequence[Env]) -> Iterator[None]:
    """Put long-term memories back in the end: snapshots bring old ones with them, and others may share the store."""
    held = [(memory.store, memory.store.copy()) for memory in memories(envs)]
    try:
        yield
    finally:
        for store, before in held:
            store.assign(before)


@dataclass
class _Seat:
    env: Env
    index: int
    observation: str
    info: Info


def _play(
    envs: Sequence[Env],
    policy: Policy,
    openings: Sequence[Callable[[Env], tuple[str, Info]]],
    first: Sequence[str | None],
    hint: Hint | None,
    keep_states: bool,
) -> list[Played]:
    waiting = deque(enumerate(openings))
    played: dict[int, Played] = {}
    live: list[_Seat] = []
    free = list(envs)
    while waiting or live:
        while waiting and free:
            index, opening = waiting.popleft()
            env = free.pop()
            observation, info = opening(env)
            played[index] = Played(new_trajectory(env))
            live.append(_Seat(env, index, observation, info))
        actions = _choose(policy, live, played, first, hint)
        for seat, action in zip(list(live), actions, strict=True):
            if not _step(seat, action, played[seat.index], keep_states):
                live.remove(seat)
                free.append(seat.env)
    return [played[index] for index in range(len(openings))]


def _choose(
    policy: Policy, live: Sequence[_Seat], played: dict[int, Played], first: Sequence[str | None], hint: Hint | None
) -> list[str]:
    given = [first[seat.index] if not played[seat.index].steps else None for seat in live]
    asked = [seat for seat, action in zip(live, given, strict=True) if action is None]
    shown = [seat.observation if hint is None else hint(seat.index, seat.observation) for seat in asked]
    answers = iter(policy.act(shown, [seat.info for seat in asked]) if asked else [])
    return [next(answers) if action is None else action for action in given]


def _step(seat: _Seat, action: str, played: Played, keep_states: bool) -> bool:
    """Take one turn; returns whether the episode goes on."""
    start = Start(snapshot(seat.env), seat.observation, seat.info) if keep_states else None
    before = seat.observation, seat.info
    try:
        observation, reward, terminated, truncated, info = seat.env.step(action)
    except Exception as error:
        played.trajectory.error = describe_error(error)
        logger.warning("Task %s ended by an error: %s", played.trajectory.task_id, played.trajectory.error)
        return False
    played.steps.append(Step(*before, action, float(reward), start))
    played.trajectory.turns.append(make_turn(before[0], action, float(reward), terminated, truncated, info))
    played.trajectory.final_observation = seat.observation = observation
    seat.info = played.last_info = info
    played.terminated, played.truncated = terminated, truncated
    played.score, played.success = float(info["score"]), bool(info["success"])
    return not (terminated or truncated)


def _check(envs: Sequence[Env]) -> None:
    if not envs:
        raise UsageError("Episodes need at least one environment to be played in")
