"""Plug in your own critic: three lines, as reward, as a blend, or as a filter before execution.

Run: python examples/custom_critic.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

import cmat_gym


def patient(observation: str, action: str, info: Mapping[str, Any]) -> float:
    """Anything that gives a number: this one dislikes buying before any option was looked at."""
    return -1.0 if action == "click[buy now]" and info["turn"] < 3 else 0.1


def play(env: gym.Env[str, str]) -> float:
    """One episode of the world's expert; returns the sum of rewards."""
    env.reset(seed=0)
    total, done = 0.0, False
    while not done:
        action = env.get_wrapper_attr("expert_action")()
        _, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        done = terminated or truncated
    return total


def main() -> None:
    """Compare the shop's own reward with the critic's, alone and blended."""
    shop = gym.make("cmat/WebShop-v0")
    judged = cmat_gym.CheckerReward(gym.make("cmat/WebShop-v0"), patient)
    blended = cmat_gym.CheckerReward(gym.make("cmat/WebShop-v0"), patient, weight=0.5)
    filtered = cmat_gym.CheckerReview(gym.make("cmat/WebShop-v0"), patient)
    for name, env in (("the shop", shop), ("the critic", judged), ("half each", blended), ("a filter", filtered)):
        print(f"{name:11} {play(env):6.2f}")


if __name__ == "__main__":
    main()
