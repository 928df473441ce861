"""Wrappers around a text world: records of its episodes, and critics as its reward or as a filter before execution.

All of them forward `snapshot` and `restore` with their own state, and `gym.make(env.spec)` builds them again.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from cmat_gym.core import prompts
from cmat_gym.core.critics import checked_reviews, state_values
from cmat_gym.core.errors import UsageError, describe_error
from cmat_gym.core.roles import Critic, CriticFunction, Info, Review, as_critic
from cmat_gym.core.trajectory import Trajectory, make_turn, new_trajectory, write_trajectories

__all__ = ["CheckerPotential", "CheckerReview", "CheckerReward", "RecordTrajectory", "TextWrapper"]

Observation = TypeVar("Observation")
Action = TypeVar("Action")


class TextWrapper(gym.Wrapper[Observation, Action, str, str], Generic[Observation, Action]):
    """Base of the wrappers: remembers the last page and info of the environment inside, and how it was made itself.

    Args:
        env: A text world, bare or wrapped.
        arguments: The keywords the wrapper was made with, for `spec`.
    """

    env: gym.Env[str, str]  # type: ignore[assignment]  # Gymnasium types it as if no wrapper changed anything

    def __init__(self, env: gym.Env[str, str], **arguments: Any) -> None:
        super().__init__(cast("gym.Env[Any, Any]", env))
        self._arguments = arguments
        self._page = ""
        self._info: Info = {}

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # Gymnasium: a property on Wrapper, a field on Env
        """The environment's spec with this wrapper added, its arguments uncopied (they may be models)."""
        if self.env.spec is None:
            return None
        spec = copy.copy(self.env.spec)
        kind = type(self)
        entry_point = f"{kind.__module__}:{kind.__qualname__}"
        spec.additional_wrappers = (
            *spec.additional_wrappers,
            WrapperSpec(name=kind.__name__, entry_point=entry_point, kwargs=self._arguments),
        )
        return spec

    def snapshot(self) -> Any:
        """State of the environment inside; a wrapper with a state of its own adds it."""
        return self.env.get_wrapper_attr("snapshot")()

    def restore(self, state: Any) -> tuple[Any, dict[str, Any]]:
        """Go back to what `snapshot` gave."""
        return self._see(*self.env.get_wrapper_attr("restore")(state))

    def _see(self, page: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self._page, self._info = page, info
        return page, info


class RecordTrajectory(TextWrapper[str, str]):
    """Writes every episode to a JSON Lines file: one line when it ends, is given up by a reset, or fails.

    Put it outside of everything whose observations, rewards and notes belong into the record; `replay` then needs the
    same wrappers. Tokens of a `SampledAction` are kept exactly.

    Args:
        env: A text world, bare or wrapped.
        path: File to append to; its folder is made if need be.
        policy: Name of who acts, for the record.
    """

    def __init__(self, env: gym.Env[str, str], path: str | Path, policy: str = "") -> None:
        super().__init__(env, path=str(path), policy=policy)
        self.path = Path(path)
        self.policy = policy
        self.trajectory: Trajectory | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode; an unfinished one is written first."""
        self._write()
        page, info = self._see(*self.env.reset(seed=seed, options=options))
        self.trajectory = new_trajectory(self.env, self.policy)
        self.trajectory.final_observation = page
        return page, info

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Take one turn and note it."""
        if self.trajectory is None:
            return self.env.step(action)  # which says that there is no episode
        try:
            page, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            self.trajectory.error = describe_error(error)
            self._write()
            raise
        self.trajectory.turns.append(make_turn(self._page, action, float(reward), terminated, truncated, info))
        self.trajectory.final_observation = page
        self._see(page, info)
        if terminated or truncated:
            self._write()
        return page, reward, terminated, truncated, info

    def close(self) -> None:
        """Write the unfinished episode and close the environment."""
        self._write()
        super().close()

    def snapshot(self) -> RecordSnapshot:
        """The episode with its record so far."""
        return RecordSnapshot(super().snapshot(), copy.deepcopy(self.trajectory))

    def restore(self, state: RecordSnapshot) -> tuple[str, dict[str, Any]]:
        """Go back to an earlier point of an episode and of its record; the present one is dropped unwritten."""
        self.trajectory = copy.deepcopy(state.trajectory)
        return super().restore(state.inner)

    def _write(self) -> None:
        """Write the record, unless nothing has happened in it."""
        trajectory, self.trajectory = self.trajectory, None
        if trajectory is not None and (trajectory.turns or trajectory.error):
            write_trajectories(self.path, [trajectory], append=True)


class RecordSnapshot(NamedTuple):
    """State of a `RecordTrajectory` and of the environment inside it."""

    inner: Any
    trajectory: Trajectory | None


class CheckerReward(TextWrapper[str, str]):
    """A critic's judgement as the reward, or blended with the environment's own.

    The reward is (1 - weight) * environment's + weight * critic's, where the critic judges the action on the page it
    was chosen on. `info["env_reward"]` and `info["critic_reward"]` are the two parts.

    Args:
        env: A text world, bare or wrapped.
        critic: A critic, or a plain function `(observation, action, info) -> float`.
        weight: The critic's share, 0 to 1.

    Raises:
        UsageError: A weight outside of [0, 1], something that is no critic, or a critic's reward that is not finite.
    """

    def __init__(self, env: gym.Env[str, str], critic: Critic | CriticFunction, weight: float = 1.0) -> None:
        if not 0.0 <= weight <= 1.0:
            raise UsageError(f"weight must lie in [0, 1], got {weight}")
        super().__init__(env, critic=critic, weight=weight)
        self.critic = as_critic(critic)
        self.weight = weight

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode."""
        return self._see(*self.env.reset(seed=seed, options=options))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Have the action judged, take the turn, and pay for both."""
        review = _review(self.critic, self._page, action, self._info)
        page, reward, terminated, truncated, info = self.env.step(action)
        env_reward = float(reward)
        info = {**info, "env_reward": env_reward, "critic_reward": review.reward}
        self._see(page, info)
        blended = (1.0 - self.weight) * env_reward + self.weight * review.reward
        return page, blended, terminated, truncated, info


class CheckerPotential(TextWrapper[str, str]):
    """A critic's value of states as potential-based shaping: reward + weight · (γ V(s') - V(s)).

    V is 0 after the end of a task, so the shaping sums to a constant over an episode that terminates and leaves the
    optimal policy unchanged, however wrong the critic is (Ng, Harada and Russell, 1999). `info["env_reward"]` and
    `info["critic_reward"]` are the two parts.

    Args:
        env: A text world, bare or wrapped.
        critic: A critic, or a plain function `(observation, action, info) -> float`, which is called with an empty
            action; see `state_values`.
        discount: γ; use the trainer's own.
        weight: Scale of the shaping.

    Raises:
        UsageError: A discount outside of (0, 1], something that is no critic, or a value that is not finite.
    """

    def __init__(
        self, env: gym.Env[str, str], critic: Critic | CriticFunction, discount: float = 0.95, weight: float = 1.0
    ) -> None:
        if not 0.0 < discount <= 1.0:
            raise UsageError(f"discount must lie in (0, 1], got {discount}")
        super().__init__(env, critic=critic, discount=discount, weight=weight)
        self.critic = as_critic(critic)
        self.discount = discount
        self.weight = weight
        self._potential = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode."""
        return self._enter(*self.env.reset(seed=seed, options=options))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the turn, and pay for the way it went up or down."""
        page, reward, terminated, truncated, info = self.env.step(action)
        before, self._potential = self._potential, 0.0 if terminated else self._value(page, info)
        shaping = self.weight * (self.discount * self._potential - before)
        info = {**info, "env_reward": float(reward), "critic_reward": shaping}
        self._see(page, info)
        return page, float(reward) + shaping, terminated, truncated, info

    def restore(self, state: Any) -> tuple[str, dict[str, Any]]:
        """Go back to what `snapshot` gave; the state there is valued again."""
        return self._enter(*super().restore(state))

    def _enter(self, page: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self._potential = self._value(page, info)
        return self._see(page, info)

    def _value(self, page: str, info: Info) -> float:
        [value] = state_values(self.critic, [page], [info])
        return value


class CheckerReview(TextWrapper[str, str]):
    """A critic's verdict before execution: a rejected action is not carried out, and the agent may revise it.

    After a rejection the agent reads the feedback above the same page; the world has not moved, no turn of its limit is
    spent, and the reward is 0. After `max_revisions` rejections in one turn the next action is carried out whatever the
    verdict, so that a critic that is never content cannot block the episode.

    `info["review"]` is the `Review` of the action just given, `info["executed"]` whether it was carried out.

    Args:
        env: A text world, bare or wrapped.
        critic: A critic, or a plain function `(observation, action, info) -> float` that rejects below 0.
        max_revisions: How often the agent may be sent back in one turn; 0 only reports the verdicts.

    Raises:
        UsageError: `max_revisions` below 0, or something that is no critic.
    """

    def __init__(self, env: gym.Env[str, str], critic: Critic | CriticFunction, max_revisions: int = 1) -> None:
        if max_revisions < 0:
            raise UsageError(f"max_revisions must be >= 0, got {max_revisions}")
        super().__init__(env, critic=critic, max_revisions=max_revisions)
        self.critic = as_critic(critic)
        self.max_revisions = max_revisions
        self._revisions = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode."""
        self._revisions = 0
        return self._see(*self.env.reset(seed=seed, options=options))

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Have the action judged, then carry it out or send the agent back with the feedback."""
        review = _review(self.critic, self._page, action, self._info)
        if not review.accept and self._revisions < self.max_revisions:
            self._revisions += 1
            info = {**self._info, "valid_action": True, "review": review, "executed": False}
            return prompts.rejected(review.feedback, self._page), 0.0, False, False, info
        self._revisions = 0
        page, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, "review": review, "executed": True}
        self._see(page, info)
        return page, reward, terminated, truncated, info

    def snapshot(self) -> ReviewSnapshot:
        """The episode, and how often the agent has been sent back in this turn."""
        return ReviewSnapshot(super().snapshot(), self._revisions)

    def restore(self, state: ReviewSnapshot) -> tuple[str, dict[str, Any]]:
        """Go back to what `snapshot` gave."""
        self._revisions = state.revisions
        return super().restore(state.inner)


class ReviewSnapshot(NamedTuple):
    """State of a `CheckerReview` and of the environment inside it."""

    inner: Any
    revisions: int


def _review(critic: Critic, page: str, action: str, info: Info) -> Review:
    [review] = checked_reviews(critic, [page], [action], [info])
    return review
