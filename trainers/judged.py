"""What a Checker learns from: whole episodes, branches from snapshots, and preferences between actions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import gymnasium as gym
import numpy as np

from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Policy
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.trainers.branches import Played, Start, play_branches

__all__ = ["JudgedEpisode", "Preference", "branch_out", "judged_branches", "judged_episodes", "preferences_of"]


class JudgedEpisode(NamedTuple):
    """An episode, or the rest of one, that a Checker learns from.

    Attributes:
        trajectory: Its record; it came to its end.
        own_start: Whether its first action was the policy's own. An action that was imposed says what Q(s, a) is, but
            not what V(s) is.
    """

    trajectory: Trajectory
    own_start: bool = True


class Preference(NamedTuple):
    """Of two actions on the same page, the better one.

    Attributes:
        observation: What the agent sees.
        chosen: The better action.
        rejected: The worse one.
        task_id: The task; its domain decides on the system prompt.
    """

    observation: str
    chosen: str
    rejected: str
    task_id: str


def judged_episodes(trajectories: Iterable[Trajectory]) -> list[JudgedEpisode]:
    """Recorded episodes to learn from; those that broke off are left out."""
    return [JudgedEpisode(trajectory) for trajectory in trajectories if trajectory.finished and not trajectory.error]


def judged_branches(branches: Iterable[Played]) -> list[JudgedEpisode]:
    """Branches of `branch_out` to learn from; those whose environment failed are left out."""
    return [JudgedEpisode(branch.trajectory, own_start=False) for branch in branches if branch.ended]


def branch_out(
    envs: Sequence[gym.Env[str, str]],
    policy: Policy,
    episodes: Sequence[Played],
    np_random: np.random.Generator,
    *,
    states: int = 1,
    actions: int = 3,
    repeats: int = 1,
) -> list[Played]:
    """Try other actions in states that episodes went through, and play each out: Monte Carlo estimates of Q(s, a).

    Args:
        envs: Environments equal to those the episodes were played in.
        policy: Goes on after the first action.
        episodes: Episodes of `play_episodes`, with their states.
        np_random: Draws states and actions.
        states: States of each episode.
        actions: Different first actions in each: the one that was taken, and random admissible ones. Where a world
            lists none, the policy is asked again.
        repeats: How often each is played out.

    Raises:
        UsageError: A number below 1, or episodes without states.
    """
    if min(states, actions, repeats) < 1:
        raise UsageError(f"states, actions and repeats must be at least 1, got {states}, {actions} and {repeats}")
    starts: list[Start] = []
    first: list[str | None] = []
    for episode in episodes:
        for place in np_random.permutation(len(episode.steps))[:states].tolist():
            step = episode.steps[place]
            if step.start is None:
                raise UsageError("branch_out needs episodes with states: play_episodes(…, keep_states=True)")
            listed: Sequence[str] = step.info.get("admissible_actions") or ()
            others = [action for action in listed if action != step.action]
            picked = [others[i] for i in np_random.permutation(len(others))[: actions - 1].tolist()]
            tried: list[str | None] = [step.action, *picked]
            tried += [None] * (actions - len(tried)) if not listed else []
            for action in tried:
                starts += [step.start] * repeats
                first += [action] * repeats
    return play_branches(envs, policy, starts, first=first)


def preferences_of(branches: Iterable[Played], gamma: float = 0.95, margin: float = 0.05) -> list[Preference]:
    """Pairs of actions in equal states (by `state_key`) whose mean returns differ by more than `margin`."""
    returns: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seen: dict[str, Played] = {}
    for branch in branches:
        if branch.ended:
            key = str(branch.steps[0].info["state_key"])
            returns[key][str(branch.steps[0].action)].append(branch.returns(gamma)[0])
            seen.setdefault(key, branch)
    found: list[Preference] = []
    for key, by_action in returns.items():
        means = sorted(((float(np.mean(values)), action) for action, values in by_action.items()), reverse=True)
        observation, task_id = seen[key].steps[0].observation, seen[key].trajectory.task_id
        found += [
            Preference(observation, better, worse, task_id)
            for i, (high, better) in enumerate(means)
            for low, worse in means[i + 1 :]
            if high - low > margin
        ]
    return found
