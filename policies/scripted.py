"""Policies without a model: random play, the worlds' own experts, and any function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Info
from cmat_gym.policies.prompts import with_thought

__all__ = ["ExpertPolicy", "FunctionPolicy", "RandomPolicy"]

ActFunction: TypeAlias = Callable[[str, Info], str]


class FunctionPolicy:
    """A function `(observation, info) -> action` as a policy."""

    def __init__(self, function: ActFunction) -> None:
        self.function = function

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Call the function once for each observation."""
        return [self.function(observation, info) for observation, info in zip(observations, infos, strict=True)]


class RandomPolicy:
    """Uniform over `info["admissible_actions"]`: the floor any learner must leave.

    Args:
        seed: A number makes a choice depend on it, on the task and on the turn alone, so that an episode comes out the
            same whoever else plays beside it. A generator is drawn from in the order of the calls.
    """

    def __init__(self, seed: int | np.random.Generator = 0) -> None:
        self.seed = seed

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """One admissible action for each observation.

        Raises:
            UsageError: The world does not list admissible actions.
        """
        return [_choose_admissible(self._generator(info), info) for info in infos]

    def _generator(self, info: Info) -> np.random.Generator:
        if isinstance(self.seed, np.random.Generator):
            return self.seed
        key = f"{info.get('task_id')}/{info.get('turn')}".encode()
        return np.random.default_rng([self.seed, *hashlib.blake2b(key, digest_size=16).digest()])


class ExpertPolicy:
    """The worlds' own experts, with mistakes where wanted.

    It reads the expert of the environments it is given, so those must be the ones that are stepped, in this process.
    Each info finds its environment by `state_key`; two environments in equal states have the same expert.

    Args:
        envs: The environment or environments that are being played.
        mistakes: Probability ε of a uniformly random admissible action instead of the expert's.
        thoughts: Write the expert's thought before the action (text protocol).
        seed: Seed or generator of the mistakes.
    """

    def __init__(
        self,
        envs: gym.Env[Any, Any] | Sequence[gym.Env[Any, Any]],
        *,
        mistakes: float = 0.0,
        thoughts: bool = False,
        seed: int | np.random.Generator = 0,
    ) -> None:
        if not 0.0 <= mistakes <= 1.0:
            raise UsageError(f"mistakes is a probability in [0, 1], got {mistakes}")
        self.envs = [base_env(env) for env in ([envs] if isinstance(envs, gym.Env) else envs)]
        self.mistakes = mistakes
        self.thoughts = thoughts
        self.np_random = np.random.default_rng(seed)

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """The expert's action for each info, or a mistake.

        Raises:
            UsageError: An info belongs to none of the environments, or mistakes need admissible actions that are
                not listed.
        """
        by_state = {env.state_key(): env for env in self.envs}
        actions: list[str] = []
        for info in infos:
            env = by_state.get(info["state_key"])
            if env is None:
                raise UsageError(
                    f"No environment of this ExpertPolicy is in the state of task {info['task_id']!r}, turn "
                    f"{info['turn']}: give it the environments that are being stepped"
                )
            if self.mistakes and self.np_random.random() < self.mistakes:
                actions.append(_choose_admissible(self.np_random, info))
            else:
                actions.append(with_thought(env.expert_thought() if self.thoughts else "", env.expert_action()))
        return actions


def _choose_admissible(np_random: np.random.Generator, info: Info) -> str:
    admissible: Sequence[str] = info.get("admissible_actions") or ()
    if not admissible:
        raise UsageError(f"Task {info.get('task_id')!r} lists no admissible actions to choose from")
    return admissible[int(np_random.integers(len(admissible)))]
