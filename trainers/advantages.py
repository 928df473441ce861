"""From what was played to rows with advantages: `turn`, `token`, `group_relative` and `same_state_group`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.batches import Row
from cmat_gym.trainers.gae import Floats, group_advantages, normalise, same_state_advantages, token_gae, turn_gae
from cmat_gym.trainers.rollouts import GroupPlay, Rollout

__all__ = ["group_rows", "normalise_rows", "refine_by_token", "rollout_rows"]


def rollout_rows(rollout: Rollout, args: ActorCriticConfig) -> list[Row]:
    """One row for each turn; every token of it carries the turn's advantage."""
    estimate = turn_gae(
        rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.terminated,
        rollout.ended,
        gamma=args.gamma,
        lam=args.gae_lambda,
        valid=rollout.valid,
    )
    rows: list[Row] = []
    for t, n in np.argwhere(rollout.valid).tolist():
        sample = rollout.samples[t][n]
        rows.append(
            Row(
                sample=sample,
                advantages=np.full(len(sample.token_ids), estimate.advantages[t, n]),
                values=rollout.values[t, n : n + 1],
                returns=estimate.returns[t, n : n + 1],
                domain=rollout.domains[t][n],
                hidden=None if rollout.hidden is None else rollout.hidden[t][n : n + 1],
            )
        )
    return rows


def refine_by_token(rows: Sequence[Row], token_lambda: float) -> None:
    """Give each token its own advantage; `values` must hold V before each token by now."""
    for row in rows:
        row.advantages, row.returns = token_gae(row.values, float(row.returns[-1]), lam=token_lambda)


def group_rows(plays: Sequence[GroupPlay], gamma: float, step_weight: float = 0.0) -> list[Row]:
    """One row for each turn; all turns of an episode carry how much better than its group it went.

    Returns are discounted, so that among equally good episodes the shorter one is better. `step_weight` adds so much
    of how much better a turn's action did than the group's others in the same state: A = A_episode + w A_state.
    """
    returns = [_returns(play.rewards, gamma) for play in plays]
    totals = np.array([of_play[0] if len(of_play) else 0.0 for of_play in returns])
    episode_part = group_advantages(totals, [play.group for play in plays])
    turns = [(play, t) for play in plays for t in range(len(play.samples))]
    step_part = np.zeros(len(turns))
    if step_weight > 0:
        step_part = step_weight * same_state_advantages(
            np.concatenate(returns), [play.group for play, _ in turns], [play.state_keys[t] for play, t in turns]
        )
    advantages = np.repeat(episode_part, [len(play.samples) for play in plays]) + step_part
    return [
        Row(
            sample=play.samples[t],
            advantages=np.full(len(play.samples[t].token_ids), advantage),
            values=np.zeros(1),
            returns=np.array([total]),
            domain=play.domain,
        )
        for (play, t), advantage, total in zip(turns, advantages, np.concatenate(returns), strict=True)
    ]


def _returns(rewards: Sequence[float], gamma: float) -> Floats:
    """Discounted reward from each turn on. [turn]"""
    returns = np.array(rewards, dtype=np.float64)
    for t in reversed(range(len(returns) - 1)):
        returns[t] += gamma * returns[t + 1]
    return returns


def normalise_rows(rows: Sequence[Row]) -> None:
    """Zero mean and unit deviation of the advantages, per domain, over all tokens of it."""
    # Over turns rather than tokens where all tokens of a turn carry the same, so that long actions weigh no more.
    uniform = all((row.advantages == row.advantages[0]).all() for row in rows)
    parts = [row.advantages[:1] if uniform else row.advantages for row in rows]
    domains = [row.domain for row, part in zip(rows, parts, strict=True) for _ in part]
    scaled = normalise(np.concatenate(parts), domains)
    for row, part in zip(rows, np.split(scaled, np.cumsum([len(part) for part in parts])[:-1]), strict=True):
        row.advantages = np.broadcast_to(part, row.advantages.shape)
