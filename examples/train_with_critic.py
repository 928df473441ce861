"""Train a LoRA policy on your own critic: the function is the whole change.

pip install -e '.[train]'
python examples/train_with_critic.py                  # two iterations, to see it run
python examples/train_with_critic.py --iterations 20
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.actor_critic_trainer import ActorCriticTrainer


def tidy(observation: str, action: str, info: Mapping[str, Any]) -> float:
    """Prefers actions that are on the page; any function of page, action and info will do."""
    return 0.1 if action in info["admissible_actions"] or action.startswith("search[") else -0.1


def main() -> None:
    """Train the tiny base model with the critic's judgement as half of the reward."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--out", default="runs/critic")
    args = parser.parse_args()

    policy = LoRAPolicy("tiny", gym.make("cmat/WebShop-v0"))
    settings = ActorCriticConfig(output_dir=args.out, iterations=args.iterations, critic_warmup=1, critic_weight=0.5)
    trainer = ActorCriticTrainer(policy, "cmat/WebShop-v0", settings, critic=tidy)
    trainer.train()
    for entry in trainer.state.log_history:
        if "rollout/valid_action" in entry:
            print(f"valid actions {entry['rollout/valid_action']:.2f}, return {entry.get('rollout/return', 0.0):+.2f}")


if __name__ == "__main__":
    main()
