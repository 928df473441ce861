"""Plug in your own critic: as reward, as potential, as value baseline, as filter before execution.

python examples/critics.py                              # a function; no model is needed
python examples/critics.py --critic rules               # a class: the shipped rules, with feedback in words
python examples/critics.py --critic path/to/classifier  # a sequence-classification model, from a folder or the hub
python examples/critics.py --train                      # each use in a short training run (pip install -e '.[train]')
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

import cmat_gym
from cmat_gym.core.critics import state_values
from cmat_gym.core.roles import Critic, as_critic
from cmat_gym.policies.feedback import RuleFeedback

SHOP = "cmat/WebShop-v0"
USES = ("reward", "potential", "value", "filter")


def patient(observation: str, action: str, info: Mapping[str, Any]) -> float:
    """A critic is anything that gives a number: this one dislikes buying before any option was looked at.

    As potential or value baseline it is asked about a page without an action: then it counts the turns.
    """
    if action == "":
        return 0.1 * min(info["turn"], 5)
    return -1.0 if action == "click[buy now]" and info["turn"] < 3 else 0.1


def make_critic(name: str) -> Critic:
    """The function, the rules, or a classifier."""
    if name == "function":
        return as_critic(patient)
    if name == "rules":
        return RuleFeedback()
    from cmat_gym.policies.classifier import ClassifierCritic  # needs torch

    return ClassifierCritic(name)


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


def wrap(critic: Critic) -> dict[str, Callable[[], float]]:
    """What each use does to one episode of the expert."""
    return {
        "the shop alone": lambda: play(gym.make(SHOP)),
        "as reward": lambda: play(cmat_gym.CheckerReward(gym.make(SHOP), critic)),
        "as half of it": lambda: play(cmat_gym.CheckerReward(gym.make(SHOP), critic, weight=0.5)),
        "as potential": lambda: play(cmat_gym.CheckerPotential(gym.make(SHOP), critic)),
        "as filter": lambda: play(cmat_gym.CheckerReview(gym.make(SHOP), critic)),
        "as value of the first page": lambda: state_values(critic, *_first_page())[0],
    }


def _first_page() -> tuple[list[str], list[Mapping[str, Any]]]:
    page, info = gym.make(SHOP).reset(seed=0)
    return [page], [info]


def train(critic: Critic, use: str, out: str, model: Any = "tiny", **settings: Any) -> dict[str, float]:
    """One short run of the actor-critic with the critic in this use; returns its last metrics."""
    from cmat_gym.policies.lora import LoRAPolicy
    from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
    from cmat_gym.trainers.actor_critic_trainer import ActorCriticTrainer

    small = {"iterations": 2, "num_envs": 4, "turns_per_env": 4, "minibatch_turns": 8, "critic_warmup": 1}
    args = ActorCriticConfig(output_dir=out, critic_use=use, critic_weight=0.5, **{**small, **settings})
    trainer = ActorCriticTrainer(LoRAPolicy(model), SHOP, args, critic=critic)
    return dict(trainer.train().metrics)


def main(arguments: list[str] | None = None) -> None:
    """Print what each use makes of an episode, or train with each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critic", default="function", help="function, rules, or a classifier's folder or hub id")
    parser.add_argument("--train", action="store_true", help="train with each use instead of wrapping")
    parser.add_argument("--out", default="runs/critics")
    args = parser.parse_args(arguments)
    critic = make_critic(args.critic)
    if not args.train:
        for name, run in wrap(critic).items():
            print(f"{name:27}{run():7.2f}")
        return
    for use in USES:
        metrics = train(critic, use, f"{args.out}/{use}")
        print(f"{use:10} valid actions {metrics['rollout/valid_action']:.2f}, turns {metrics['rollout/turns']:.0f}")


if __name__ == "__main__":
    main()
