"""Averages and peaks of what happens within an iteration, and the metrics of a rollout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from cmat_gym.trainers.batches import Row
from cmat_gym.trainers.rollouts import Episode

__all__ = ["Meters", "rollout_metrics"]


class Meters:
    """Sums with their counts, and peaks."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, float] = defaultdict(float)
        self._peaks: dict[str, float] = {}

    def add(self, name: str, total: float, count: float = 1.0) -> None:
        """Add a sum over `count` things."""
        self._sums[name] += total
        self._counts[name] += count

    def peak(self, name: str, value: float) -> None:
        """Keep the greatest value."""
        self._peaks[name] = max(value, self._peaks.get(name, value))

    def means(self) -> dict[str, float]:
        """The mean of what was added and the peaks, by name."""
        return {name: self._sums[name] / self._counts[name] for name in self._sums} | self._peaks


def rollout_metrics(
    episodes: Sequence[Episode], valid_actions: Sequence[bool], rows: Sequence[Row]
) -> dict[str, float]:
    """How the rollout went. Without a finished episode there is no score to speak of, and none is reported."""
    metrics = {
        "rollout/turns": float(len(rows)),
        "rollout/episodes": float(len(episodes)),
        "rollout/valid_action": float(np.mean(valid_actions)) if len(valid_actions) else 0.0,
    }
    if rows:
        metrics["rollout/action_tokens"] = float(np.mean([len(row.sample.token_ids) for row in rows]))
        metrics["rollout/prompt_tokens"] = float(np.mean([len(row.sample.prompt_ids) for row in rows]))
    if episodes:
        metrics |= {
            "rollout/score": float(np.mean([episode.score for episode in episodes])),
            "rollout/success": float(np.mean([episode.success for episode in episodes])),
            "rollout/return": float(np.mean([episode.episode_return for episode in episodes])),
            "rollout/episode_turns": float(np.mean([episode.turns for episode in episodes])),
        }
    gaps = [episode.critic_reward - episode.score for episode in episodes if episode.critic_reward is not None]
    if gaps:
        metrics["critic/score_gap"] = float(np.mean(gaps))
    return metrics
