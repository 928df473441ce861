"""`Collector`: plays N environments in lock-step and keeps every turn with its tokens.

Environments are reset as soon as they finish, and episodes go on from one rollout into the next, so every rollout has
exactly as many turns as asked for and nobody waits for the longest episode.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from torch import Tensor

from cmat_gym.core.critics import state_values
from cmat_gym.core.env import base_env, restore, snapshot
from cmat_gym.core.errors import BackendError, UsageError, describe_error
from cmat_gym.core.roles import Critic, Info, SampledAction, TokenSample
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers.gae import Flags, Floats, following_values

__all__ = ["Collector", "Episode", "GroupPlay", "MakeEnv", "Rollout"]

logger = logging.getLogger(__name__)
MakeEnv: TypeAlias = Callable[[], gym.Env[str, str]]


@dataclass(frozen=True)
class Episode:
    """How a finished episode went."""

    domain: str
    score: float
    success: bool
    episode_return: float
    turns: int
    critic_reward: float | None = None  # of a custom critic for the last action, where it is the reward

    @classmethod
    def of(cls, play: GroupPlay) -> Episode:
        """How an episode of a group went."""
        return cls(play.domain, play.score, play.success, sum(play.rewards), len(play.samples))


@dataclass
class Rollout:
    """Turns of N environments. Arrays and nested lists are [time, env].

    Attributes:
        samples: The tokens of each turn.
        rewards: r_t, the critic's part included.
        values: V(s_t), 0 without a checker.
        next_values: V(s_{t+1}) of the same episode, bootstrapped at the end of the rollout and at truncations.
        terminated: The task ended with this turn.
        ended: Terminated or truncated, or its environment failed.
        valid: False where the environment failed: there is nothing to learn from such a turn.
        domains: Domain of each environment's task.
        valid_actions: Whether the world accepted the action.
        hidden: What the checker read, per turn. [time][env, hidden]; None without a checker.
        episodes: Those that finished.
        seconds: Time spent in the model and in the environments.
    """

    samples: list[list[TokenSample]]
    rewards: Floats
    values: Floats
    next_values: Floats
    terminated: Flags
    ended: Flags
    valid: Flags
    domains: list[list[str]]
    valid_actions: Flags
    hidden: list[Tensor] | None
    episodes: list[Episode]
    seconds: dict[str, float]

    @property
    def turns(self) -> int:
        """Number of turns to learn from."""
        return int(self.valid.sum())


@dataclass
class GroupPlay:
    """One whole episode, played beside others of the same task.

    `group` names the task and the round it was played in; an episode that its environment ended has `failed`.
    """

    group: int
    domain: str
    samples: list[TokenSample] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    state_keys: list[str] = field(default_factory=list)  # of the states the turns were taken in
    valid_actions: list[bool] = field(default_factory=list)
    score: float = 0.0
    success: bool = False
    failed: bool = False


@dataclass
class _Seat:
    """An environment with its running episode."""

    env: gym.Env[str, str]
    observation: str
    info: Info
    episode_return: float = 0.0
    turns: int = 0


@dataclass
class _Record:
    """What one lock-step turn gave."""

    samples: list[TokenSample] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    valid_actions: list[bool] = field(default_factory=list)


class Collector:
    """Plays and records.

    Args:
        make: Builds one environment; also used to replace one that cannot be reset any more.
        num_envs: How many are played at once.
        policy: Acts, and values states where its backbone has a value head.
        critic: Judges each action before it is carried out; its reward is blended into the environment's.
        critic_weight: Its share w: reward = (1 - w) · environment's + w · critic's.
        baseline: Values states in the place of the policy's own value head.
        seed: Seed of the tasks.
    """

    def __init__(
        self,
        make: MakeEnv,
        num_envs: int,
        policy: LoRAPolicy,
        *,
        critic: Critic | None = None,
        critic_weight: float = 1.0,
        baseline: Critic | None = None,
        seed: int = 0,
    ) -> None:
        self.make = make
        self.policy = policy
        self.critic = critic
        self.critic_weight = critic_weight
        self.baseline = baseline
        self.failures = 0  # episodes that an environment or the critic ended
        self.unjudged = 0  # actions the critic failed on
        self._seats: list[_Seat] = []
        for env_seed in np.random.SeedSequence(seed).generate_state(num_envs):
            env = make()
            policy.read_system_prompt(env)
            self._seats.append(_Seat(env, *env.reset(seed=int(env_seed))))

    def collect(self, steps: int) -> Rollout:
        """Play `steps` turns in every environment."""
        records: list[_Record] = []
        values, hidden = [], []
        ends: list[tuple[int, int, str, Info]] = []  # turns whose following state is in no later row
        episodes: list[Episode] = []
        seconds = {"model": 0.0, "environments": 0.0, "critic": 0.0}
        has_values = self.policy.backbone.value_head is not None
        for t in range(steps):
            observations, infos = [s.observation for s in self._seats], [s.info for s in self._seats]
            clock = time.perf_counter()
            actions = self.policy.act(observations, infos)
            seconds["model"] += time.perf_counter() - clock
            clock = time.perf_counter()
            bonus = self._review(observations, actions, infos)
            seconds["critic"] += time.perf_counter() - clock
            clock = time.perf_counter()
            record = _Record(samples=[action.sample for action in actions])
            for n, (seat, action) in enumerate(zip(self._seats, actions, strict=True)):
                end = self._step(seat, action, None if bonus is None else bonus[n], record, episodes)
                if end is not None or t == steps - 1:
                    ends.append((t, n, *(end or (seat.observation, seat.info))))
            seconds["environments"] += time.perf_counter() - clock
            records.append(record)
            values.append(self._values(actions, observations, infos))
            if has_values and self.policy.last_hidden is not None:
                hidden.append(self.policy.last_hidden)

        state_values = np.array(values)
        end_values = np.zeros_like(state_values)
        ended = np.array([record.ended for record in records])
        terminated = np.array([record.terminated for record in records])
        if has_values or self.baseline is not None:
            clock = time.perf_counter()
            wanted = [end for end in ends if not terminated[end[:2]]]  # a terminated turn leads to nothing
            for (t, n, *_), value in zip(
                wanted, self._state_values([end[2] for end in wanted], [end[3] for end in wanted]), strict=True
            ):
                end_values[t, n] = value
            seconds["model"] += time.perf_counter() - clock
        return Rollout(
            samples=[record.samples for record in records],
            rewards=np.array([record.rewards for record in records]),
            values=state_values,
            next_values=following_values(state_values, ended, end_values),
            terminated=terminated,
            ended=ended,
            valid=np.array([record.valid for record in records]),
            domains=[record.domains for record in records],
            valid_actions=np.array([record.valid_actions for record in records]),
            hidden=hidden if has_values else None,
            episodes=episodes,
            seconds=seconds,
        )

    def collect_groups(self, turns: int, size: int, np_random: np.random.Generator) -> list[GroupPlay]:
        """Play whole episodes in groups of `size` environments with the same task, until `turns` turns are reached.

        A group opens its next task when all its members are done; the last groups finish what they began.
        """
        groups = [self._seats[start : start + size] for start in range(0, len(self._seats), size)]
        split = base_env(self._seats[0].env).split
        running: dict[int, GroupPlay] = {}
        finished: list[GroupPlay] = []
        opened = taken = 0
        while True:
            for number, group in enumerate(groups):
                first = number * size
                if taken < turns and not any(first + member in running for member in range(size)):
                    task = split[int(np_random.integers(len(split)))]
                    for member, seat in enumerate(group):
                        self._reopen(seat, {"task": task})
                        running[first + member] = GroupPlay(opened, base_env(seat.env).domain)
                    opened += 1
            if not running:
                return finished
            live = sorted(running)
            observations, infos = [self._seats[n].observation for n in live], [self._seats[n].info for n in live]
            actions = self.policy.act(observations, infos)
            bonus = self._review(observations, actions, infos)
            taken += len(live)
            for i, (n, action) in enumerate(zip(live, actions, strict=True)):
                record, episodes = _Record(), list[Episode]()
                play = running[n]
                end = self._step(self._seats[n], action, None if bonus is None else bonus[i], record, episodes)
                play.failed = not record.valid[0]
                play.samples.append(action.sample)
                play.state_keys.append(str(infos[i]["state_key"]))
                play.rewards += record.rewards
                play.valid_actions += record.valid_actions
                if end is not None:
                    play.score, play.success = (episodes[0].score, episodes[0].success) if episodes else (0.0, False)
                    finished.append(running.pop(n))

    def _values(
        self, actions: Sequence[SampledAction], observations: Sequence[str], infos: Sequence[Info]
    ) -> list[float]:
        """V(s_t): of the pass that sampled the actions, or the baseline's."""
        if self.baseline is not None:
            return state_values(self.baseline, observations, infos)
        return [action.sample.value or 0.0 for action in actions]

    def _state_values(self, observations: Sequence[str], infos: Sequence[Info]) -> list[float]:
        if self.baseline is not None:
            return state_values(self.baseline, observations, infos)
        return self.policy.state_values(observations, infos)

    def _review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[float] | None:
        if self.critic is None:
            return None
        try:
            rewards = [review.reward for review in self.critic.review(observations, actions, infos)]
        except Exception as error:
            logger.warning("The critic failed and is asked for each action alone: %s", describe_error(error))
            rewards = [self._review_one(*turn) for turn in zip(observations, actions, infos, strict=True)]
        if len(rewards) != len(actions):
            raise UsageError(f"The critic gave {len(rewards)} reviews for {len(actions)} actions")
        return rewards

    def _review_one(self, observation: str, action: str, info: Info) -> float:
        """The critic's reward; NaN where it fails, which ends the episode as a failing environment would."""
        assert self.critic is not None
        try:
            return float(self.critic.review([observation], [action], [info])[0].reward)
        except Exception as error:
            logger.warning("The critic failed on task %s: %s", info.get("task_id"), describe_error(error))
            return math.nan

    def _step(
        self, seat: _Seat, action: str, bonus: float | None, record: _Record, episodes: list[Episode]
    ) -> tuple[str, Info] | None:
        """Take one turn in one environment; returns the last observation of an episode that ended."""
        domain = base_env(seat.env).domain
        record.domains.append(domain)
        try:
            observation, reward, terminated, truncated, info = seat.env.step(action)
        except Exception as error:
            # Whatever a world raises ends that world's episode only; the other episodes go on.
            logger.warning("Task %s ended by an error: %s", seat.info.get("task_id"), describe_error(error))
            last = (seat.observation, seat.info)
            self._fail(seat, record)
            return last
        reward = float(reward)
        if bonus is not None:
            self.unjudged += not math.isfinite(bonus)
            reward = (1 - self.critic_weight) * reward + self.critic_weight * bonus
        if not math.isfinite(reward):  # one such number would turn every weight into NaN
            logger.warning("Task %s ended: the reward of a turn is %s", seat.info.get("task_id"), reward)
            last = (seat.observation, seat.info)
            self._fail(seat, record)
            return last
        seat.observation, seat.info = observation, info
        seat.episode_return += reward
        seat.turns += 1
        record.rewards.append(reward)
        record.terminated.append(terminated)
        record.ended.append(terminated or truncated)
        record.valid.append(True)
        record.valid_actions.append(bool(info["valid_action"]))
        if not (terminated or truncated):
            return None
        episodes.append(Episode(domain, info["score"], info["success"], seat.episode_return, seat.turns, bonus))
        self._reopen(seat)
        return observation, info

    def _fail(self, seat: _Seat, record: _Record) -> None:
        self.failures += 1
        record.rewards.append(0.0)
        record.terminated.append(False)
        record.ended.append(True)
        record.valid.append(False)
        record.valid_actions.append(False)
        self._reopen(seat)

    def _reopen(self, seat: _Seat, options: dict[str, Any] | None = None) -> None:
        """Open the next episode; an environment that cannot be reset is replaced once."""
        try:
            seat.observation, seat.info = seat.env.reset(options=options)
        except Exception as error:
            logger.warning("An environment is replaced, its reset failed: %s", describe_error(error))
            seat.env = self.make()
            try:
                seat.observation, seat.info = seat.env.reset(seed=self.failures, options=options)
            except Exception as again:
                raise BackendError(f"A fresh environment cannot be reset either: {describe_error(again)}") from again
        seat.episode_return, seat.turns = 0.0, 0

    # Checkpoints ----------------------------------------------------------------------------------------------------

    def state(self) -> list[Any]:
        """Everything the running episodes need to go on, memories included."""
        return [(snapshot(s.env), s.observation, dict(s.info), s.episode_return, s.turns) for s in self._seats]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from what `state` gave."""
        for seat, (saved, observation, info, episode_return, turns) in zip(self._seats, state, strict=True):
            restore(seat.env, saved)
            # What the agent saw last, refusals included, is not part of a world's state.
            seat.observation, seat.info = observation, info
            seat.episode_return, seat.turns = episode_return, turns

    def close(self) -> None:
        """Close the environments."""
        for seat in self._seats:
            seat.env.close()
