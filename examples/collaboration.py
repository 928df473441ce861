"""User, Assistant and Checker at work on one world, with a memory that learns from failures. Needs no model.

    python examples/collaboration.py
    python examples/collaboration.py --tasks 20 --attempts 3

The Assistant here is the expert with many random mistakes, the Checker a few rules. It cannot read, so its further
attempts succeed by luck alone: what lessons are worth shows with a model. Put a `LoRAPolicy`, a `RolePolicy` on the
same backbone, a learned `Checker` or a model behind an API into any of the roles.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import gymnasium as gym

import cmat_gym
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.policies.feedback import RuleFeedback
from cmat_gym.policies.scripted import ExpertPolicy

SHOP = "cmat/WebShop-v0"


def success(episodes: Sequence[Trajectory]) -> float:
    """Share of episodes that ended in success."""
    return sum(episode.success for episode in episodes) / len(episodes)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Play the same tasks alone, with a Checker, and with retries on the lessons of failures; returns the successes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--attempts", type=int, default=2)
    args = parser.parse_args(arguments)
    tasks = list(range(args.tasks))
    lessons = cmat_gym.LessonStore()
    envs = [gym.make(SHOP, split="dev", lessons=lessons, max_turns=8) for _ in range(4)]

    def assistant() -> ExpertPolicy:
        return ExpertPolicy(envs, mistakes=0.6)

    alone = cmat_gym.Collaboration(assistant())
    checked = cmat_gym.Collaboration(
        assistant(),
        user=cmat_gym.TemplateUser("A customer says: {instruction}"),
        checker=RuleFeedback(),
        max_revisions=2,
    )
    learning = cmat_gym.Collaboration(
        assistant(), checker=RuleFeedback(), max_revisions=2, reflector=cmat_gym.RuleReflector()
    )
    shares = {"alone": success(alone.play(envs, tasks)), "with a Checker": success(checked.play(envs, tasks))}
    retried = learning.retry(envs, tasks, attempts=args.attempts)
    shares[f"after {args.attempts} attempts, outcome known"] = success([attempt.final for attempt in retried])
    for name, share in shares.items():
        print(f"{name:35}{share:6.0%} of {len(tasks)} tasks")
    print("What it has learned:")
    for row in lessons.rows()[:5]:
        print(f"  {row.retention:4.0%} left, strength {row.lesson.strength:.0f}: {row.lesson.text}")
    return shares


if __name__ == "__main__":
    main()
