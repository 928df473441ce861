"""Environments as records describe them, made once each and closed together."""

from __future__ import annotations

import json
from types import TracebackType

import gymnasium as gym

from cmat_gym.core.errors import UsageError
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.panel import resolve_id

__all__ = ["Environments"]


class Environments:
    """A context in which environments are made on demand; episodes with equal descriptions share one."""

    def __init__(self) -> None:
        self._made: dict[str, gym.Env[str, str]] = {}

    def __enter__(self) -> Environments:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close them all."""
        for env in self._made.values():
            env.close()

    def of(self, episode: Trajectory) -> gym.Env[str, str]:
        """The environment that an episode was recorded in.

        Raises:
            UnknownNameError: There is no such world.
            UsageError: The world does not take the keywords of the record.
        """
        key = json.dumps([episode.env_id, episode.env_kwargs], sort_keys=True)
        if key not in self._made:
            try:
                self._made[key] = gym.make(resolve_id(episode.env_id), **episode.env_kwargs)
            except TypeError as error:
                raise UsageError(f"{episode.env_id} cannot be made with {dict(episode.env_kwargs)}: {error}") from error
        return self._made[key]
