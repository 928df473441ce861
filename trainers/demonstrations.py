"""What supervised fine-tuning imitates: the expert's answer in states that an expert, or a learner, gets into."""

from __future__ import annotations

import json
import string
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from cmat_gym.core.errors import TaskError
from cmat_gym.core.roles import Policy
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy

__all__ = [
    "Demonstration",
    "Slips",
    "collect_corrections",
    "collect_expert",
    "demonstrations_of",
    "misspell",
    "read_demonstrations",
]


class Demonstration(NamedTuple):
    """One turn to imitate.

    Attributes:
        observation: What the agent sees.
        answer: What it should say.
        task_id: The task; its domain decides on the system prompt.
    """

    observation: str
    answer: str
    task_id: str


def collect_expert(
    env: gym.Env[Any, Any],
    episodes: int,
    *,
    mistakes: float = 0.0,
    slips: float = 0.0,
    thoughts: bool = False,
    seed: int = 0,
) -> list[Demonstration]:
    """Play episodes and write down what the expert would do in every state.

    Args:
        env: One of the worlds, on the split to learn from.
        episodes: How many.
        mistakes: Probability of a random admissible action, so that the expert also shows the way back.
        slips: Probability of an action that is refused, so that it also shows how to go on after that; see `Slips`.
        thoughts: Write the expert's thought before the action.
        seed: Seed of the tasks and of the mistakes.
    """
    expert = ExpertPolicy(env, thoughts=thoughts)
    actor = ExpertPolicy(env)
    strayer = RandomPolicy(np.random.default_rng([seed, 1]))
    np_random = np.random.default_rng([seed, 2])
    refused = Slips(np_random, slips)
    found: list[Demonstration] = []
    for episode_seed in np.random.SeedSequence(seed).generate_state(episodes):
        observation, info = env.reset(seed=int(episode_seed))
        refused.begin()
        done = False
        while not done:
            found.append(Demonstration(observation, expert.act([observation], [info])[0], info["task_id"]))
            chooser = strayer if np_random.random() < mistakes else actor
            action = chooser.act([observation], [info])[0]
            observation, _, terminated, truncated, info = env.step(refused.instead_of(action) or action)
            done = terminated or truncated
    return found


def collect_corrections(
    envs: Sequence[gym.Env[Any, Any]], policy: Policy, episodes: int, *, thoughts: bool = False, seed: int = 0
) -> list[Demonstration]:
    """Let a policy play, and write down what the expert would do in every state it gets into.

    An expert's own episodes never show the way out of a learner's typical mistakes, which lead where no expert goes
    (DAgger; Ross et al., 2011). Where the expert gives one answer turn after turn, because the policy does not heed it,
    two of them are kept: an episode that is stuck has no more to teach.

    Args:
        envs: Worlds of one kind on the split to learn from, played side by side.
        policy: Who acts.
        episodes: How many.
        thoughts: Write the expert's thought before the action.
        seed: Seed of the tasks.
    """
    experts = [ExpertPolicy(env, thoughts=thoughts) for env in envs]
    seeds = iter(np.random.SeedSequence(seed).generate_state(episodes).tolist())
    # Who opens the next episode is decided by place, so equal seeds give equal demonstrations.
    running = {n: env.reset(seed=episode_seed) for (n, env), episode_seed in zip(enumerate(envs), seeds)}  # noqa: B905
    found: list[Demonstration] = []
    answers: dict[int, list[str]] = {n: [] for n in running}
    while running:
        seats = sorted(running)
        observations, infos = [running[n][0] for n in seats], [running[n][1] for n in seats]
        actions = policy.act(observations, infos)
        for n, seen, info, action in zip(seats, observations, infos, actions, strict=True):
            answer = experts[n].act([seen], [info])[0]
            if answers[n][-2:] != [answer, answer]:
                found.append(Demonstration(seen, answer, info["task_id"]))
            answers[n].append(answer)
            observation, _, terminated, truncated, info = envs[n].step(action)
            running[n] = observation, info
            if terminated or truncated:
                answers[n].clear()
                episode_seed = next(seeds, None)
                if episode_seed is None:
                    del running[n]
                else:
                    running[n] = envs[n].reset(seed=episode_seed)
    return found


class Slips:
    """Actions that are most likely refused, so that who watches learns how to go on after a refusal.

    Some are misspelt. Others are right, but on another page or in another task: a model that invents a code, or wants
    an option this product lacks, makes those, and copying what was just refused is no way out of them.

    Args:
        np_random: Where they are drawn from.
        rate: Chance of a slip in a turn.
        stale: Share of them that are actions of other pages and tasks.
        stubborn: Chance that a slip is made once more, and so on.
    """

    _remembered = 500  # actions

    def __init__(self, np_random: np.random.Generator, rate: float, stale: float = 0.6, stubborn: float = 0.5) -> None:
        self.np_random = np_random
        self.rate = rate
        self.stale = stale
        self.stubborn = stubborn
        self._seen: deque[str] = deque(maxlen=self._remembered)
        self._last: str | None = None

    def begin(self) -> None:
        """An episode begins."""
        self._last = None

    def instead_of(self, action: str) -> str | None:
        """What is done instead of `action`; None where that itself is done."""
        again = self._last is not None and self.stubborn > 0 and self.np_random.random() < self.stubborn
        if again:
            return self._last
        self._last = self._slip(action) if self.np_random.random() < self.rate else None
        if self._last is None:
            self._seen.append(action)
        return self._last

    def _slip(self, action: str) -> str:
        if self._seen and self.stale > 0 and self.np_random.random() < self.stale:
            return self._seen[int(self.np_random.integers(len(self._seen)))]
        return misspell(action, self.np_random)


def misspell(action: str, np_random: np.random.Generator) -> str:
    """Leave out one character, or write another one of its kind in its place."""
    place = int(np_random.integers(len(action)))
    alphabet = string.digits if action[place].isdigit() else string.ascii_lowercase
    letter = alphabet[int(np_random.integers(len(alphabet)))] if np_random.random() < 0.5 else ""
    return action[:place] + letter + action[place + 1 :]


def demonstrations_of(trajectories: Iterable[Trajectory], *, successful: bool = True) -> list[Demonstration]:
    """The turns of recorded episodes that can be imitated, whoever played them.

    Args:
        trajectories: The episodes.
        successful: Take only those that ended in success.
    """
    return [
        Demonstration(turn.observation, turn.action, trajectory.task_id)
        for trajectory in trajectories
        if trajectory.success or not successful
        for turn in trajectory.turns
        if turn.valid_action and turn.notes.get("executed", True)
    ]


def read_demonstrations(path: str | Path) -> list[Demonstration]:
    """Read what `cmat-gym data export --format plain` wrote.

    Raises:
        TaskError: A line is no demonstration; the message names file and line.
    """
    found: list[Demonstration] = []
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                found.append(Demonstration(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise TaskError(f"{path}, line {number} is no demonstration: {error}") from error
    return found
