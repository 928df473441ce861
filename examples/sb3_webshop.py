"""Stable-Baselines3 learns to shop: PPO and sb3-contrib's MaskablePPO on the builtin WebShop, without a language model.

    pip install -e '.[sb3]'
    python examples/sb3_webshop.py                        # MaskablePPO, about three minutes on two cores
    python examples/sb3_webshop.py --algorithm ppo        # plain PPO: unavailable indices wrap around
    python examples/sb3_webshop.py --critic               # a critic's judgement is half of the reward

`AdmissibleActions` turns the page into a vector and the buttons into a Discrete action space. The score is measured on
held-out tasks (split `dev`) before and after, with sampled actions both times, so that "before" is random play.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from cmat_gym import AdmissibleActions, CheckerReward

ALGORITHMS: dict[str, Any] = {"ppo": PPO, "maskable": MaskablePPO}


class Panel(NamedTuple):
    """Means over the held-out tasks."""

    score: float
    success: float


def make_shop(split: str = "train", critic: Callable[..., float] | None = None) -> AdmissibleActions:
    """The shop for discrete agents; a critic gets half of the say in the reward."""
    env: gym.Env[str, str] = gym.make("cmat/WebShop-v0", split=split, memory=None)
    if critic is not None:
        env = CheckerReward(env, critic, weight=0.5)
    return AdmissibleActions(env, max_actions=20)


def careful(observation: str, action: str, info: Any) -> float:
    """A critic in one line: buying without having looked at options is worth less than nothing."""
    return -0.5 if action == "click[buy now]" and info["turn"] < 3 else 0.0


def learn(algorithm: str, steps: int, seed: int = 0, critic: Callable[..., float] | None = None) -> tuple[Panel, Panel]:
    """Train for some environment steps; the panel's means before and after."""
    torch.set_num_threads(1)  # the networks are tiny: more threads would only wait for each other
    envs = make_vec_env(lambda: make_shop(critic=critic), n_envs=8, seed=seed)
    model = ALGORITHMS[algorithm](
        "MlpPolicy",
        envs,
        n_steps=128,
        batch_size=256,
        n_epochs=8,
        learning_rate=1e-3,
        gamma=0.95,
        gae_lambda=0.9,
        ent_coef=0.02,
        policy_kwargs={"net_arch": [128]},
        seed=seed,
        device="cpu",
    )
    before = evaluate(model)
    model.learn(steps)
    return before, evaluate(model)


def evaluate(model: Any, tasks: int = 100) -> Panel:
    """Play the first tasks of the held-out split once each, with sampled actions."""
    env = make_shop("dev")
    ends: list[tuple[float, bool]] = []
    for task in range(tasks):
        observation, info = env.reset(seed=0, options={"task": task})
        ended = False
        while not ended:
            masks = {"action_masks": env.action_masks()} if isinstance(model, MaskablePPO) else {}
            action, _ = model.predict(observation, deterministic=False, **masks)
            observation, _, terminated, truncated, info = env.step(int(action))
            ended = terminated or truncated
        ends.append((info["score"], info["success"]))
    score, success = np.mean(ends, axis=0)
    return Panel(float(score), float(success))


def main() -> None:
    """Train one agent and print the panel before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="maskable")
    parser.add_argument("--steps", type=int, default=60_000, help="environment steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--critic", action="store_true", help="blend the reward with a critic's")
    args = parser.parse_args()
    before, after = learn(args.algorithm, args.steps, args.seed, careful if args.critic else None)
    print(f"{'':10}{'score':>8}{'success':>9}   on 100 held-out tasks")
    for name, panel in (("before", before), ("after", after)):
        print(f"{name:10}{panel.score:8.3f}{panel.success:9.2f}")


if __name__ == "__main__":
    main()
