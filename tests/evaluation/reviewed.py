"""Recorded episodes with everything a record can hold: memory, verdicts of a Checker, values."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym

from cmat_gym.core.memory import DualMemory, LessonStore
from cmat_gym.core.roles import Info, Review, SampledAction, TokenSample
from cmat_gym.core.rollout import rollout
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.core.wrappers import CheckerReview
from cmat_gym.policies.scripted import ExpertPolicy


class StrictChecker:
    """Holds the first action of an episode back."""

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """One review each."""
        return [
            Review(False, -1.0, 0.25, "not yet") if info["turn"] == 0 else Review(True, 0.5, 0.25 + info["turn"] / 20)
            for info in infos
        ]


class ValuedExpert(ExpertPolicy):
    """The expert, with a thought and with tokens and a value as a sampling model gives them."""

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """One action each."""
        return [
            SampledAction(f"Thought: turn {info['turn']}.\nAction: {action}", TokenSample((1,), (2,), (-0.1,), 0.75))
            for action, info in zip(super().act(observations, infos), infos, strict=True)
        ]


def reviewed_episodes(env_id: str, store: LessonStore, count: int = 3) -> list[Trajectory]:
    """Episodes of an expert whom the Checker sends back once an episode."""
    env = CheckerReview(DualMemory(gym.make(env_id, split="test", memory=None), store=store), StrictChecker())
    episodes = rollout([env], ValuedExpert([env]), range(count), policy_name="expert")
    env.close()
    for episode in episodes:  # the memory came by a wrapper, not by the keyword
        episode.env_kwargs = {**episode.env_kwargs, "memory": "dual"}
    return episodes
