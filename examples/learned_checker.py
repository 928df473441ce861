"""Train a Checker from episodes and branches, look at its figures, reflect, and use it as a filter.

pip install -e '.[train]'
python examples/learned_checker.py                    # the tiny base model on the shop, a few minutes on one core
python examples/learned_checker.py --episodes 8       # just to see it run
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import numpy as np

import cmat_gym
from cmat_gym.policies.checker import Checker, CheckerSettings
from cmat_gym.policies.feedback import RuleFeedback
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.scripted import ExpertPolicy
from cmat_gym.trainers.branches import play_episodes
from cmat_gym.trainers.checker_config import CheckerConfig, PreferenceConfig
from cmat_gym.trainers.checker_trainer import CheckerTrainer
from cmat_gym.trainers.judged import branch_out, judged_branches, judged_episodes, preferences_of
from cmat_gym.trainers.preference_trainer import PreferenceTrainer
from cmat_gym.trainers.reflection_config import ReflectionConfig
from cmat_gym.trainers.reflection_trainer import ReflectionStage
from cmat_gym.trainers.reflections import collect_reflections


def main(arguments: list[str] | None = None, env_id: str = "cmat/WebShop-v0", model: Any = "tiny") -> dict[str, float]:
    """Run all of it; returns the judge's figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default="runs/checker")
    args = parser.parse_args(arguments)

    envs = [gym.make(env_id) for _ in range(8)]
    policy = LoRAPolicy(model, envs[0])
    checker = Checker(policy, CheckerSettings(mode="separate"), feedback=RuleFeedback())

    # Episodes of somebody who often errs, and from their states what other actions would have led to.
    player = ExpertPolicy(envs, mistakes=0.3)
    episodes = play_episodes(envs, player, list(range(args.episodes)))
    branches = branch_out(envs, player, episodes, np.random.default_rng(0), states=1, actions=3)

    # First which action is better, then how good each is.
    pairs = preferences_of(branches)
    if pairs:
        PreferenceTrainer(
            checker, pairs, PreferenceConfig(output_dir=f"{args.out}/preferences", num_train_epochs=1)
        ).train()
    learned = judged_episodes(episode.trajectory for episode in episodes) + judged_branches(branches)
    settings = CheckerConfig(output_dir=f"{args.out}/checker", rounds=args.rounds, passes=1)
    trainer = CheckerTrainer(checker, learned, settings)
    trainer.train()
    assert trainer.report is not None
    figures = trainer.report.metrics()
    for name, value in figures.items():
        print(f"{name:30}{value:8.3f}")

    # What goes wrong under its eyes is thought about again; what was better then is distilled into the actor.
    tasks = list(range(args.episodes // 4))
    found = collect_reflections(
        envs, policy, tasks, cmat_gym.RuleReflector(), checker=checker, state_values=checker.state_values
    )
    print(f"{found.improved} of {found.branches} second thoughts were better, {len(found.rows)} turns to learn from")
    if found.rows:
        ReflectionStage(policy, found.rows, ReflectionConfig(output_dir=f"{args.out}/reflection")).train()

    records = cmat_gym.Collaboration(policy, checker=checker).play(envs, tasks)
    print(f"success with the Checker as a filter: {np.mean([record.success for record in records]):.0%}")
    return figures


if __name__ == "__main__":
    main()
