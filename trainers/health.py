"""Plain warnings when a run goes wrong, each with what to change."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["Health"]

_CRITIC_PATIENCE = 5


class Health:
    """Watches the metrics of a run.

    Args:
        max_valid_drop: Loss of valid actions, against the best so far, that counts as collapse.
        max_kl: Growth of the divergence from the reference, in nats a token, that counts as explosion: a warm start has
            its own distance from a reference without adapters.
        min_explained_variance: What the critic should explain after a few iterations.
    """

    def __init__(
        self, *, max_valid_drop: float = 0.2, max_kl: float = 0.5, min_explained_variance: float = 0.05
    ) -> None:
        self.max_valid_drop = max_valid_drop
        self.max_kl = max_kl
        self.min_explained_variance = min_explained_variance
        self.best_valid = 0.0
        self.dumb_iterations = 0
        self.least_kl = math.inf

    def check(self, metrics: Mapping[str, float]) -> list[str]:
        """What is wrong with an iteration; empty when nothing is."""
        warnings: list[str] = []
        valid = metrics["rollout/valid_action"]
        self.best_valid = max(self.best_valid, valid)
        if valid < self.best_valid - self.max_valid_drop:
            warnings.append(
                f"Valid actions fell from {self.best_valid:.2f} to {valid:.2f}: lower learning_rate, or raise kl_coef"
            )
        kl = metrics.get("policy/kl", self.least_kl)
        self.least_kl = min(self.least_kl, kl)
        if kl - self.least_kl > self.max_kl:
            warnings.append(
                f"The policy went from {self.least_kl:.2f} to {kl:.2f} nats a token away from its reference: lower "
                "learning_rate or epochs, or raise kl_coef"
            )
        explained = metrics.get("critic/explained_variance")
        if explained is not None:
            self.dumb_iterations = self.dumb_iterations + 1 if explained < self.min_explained_variance else 0
            if self.dumb_iterations == _CRITIC_PATIENCE:
                warnings.append(
                    f"The critic has explained less than {self.min_explained_variance} of the returns for "
                    f"{_CRITIC_PATIENCE} iterations: raise critic_epochs, critic_warmup or num_envs, or use "
                    "checker='separate'"
                )
        for name in ("policy", "critic"):
            skipped = metrics.get(f"{name}/skipped_updates", 0.0)
            if skipped > 0:
                warnings.append(
                    f"{skipped:.0%} of the {name}'s updates were left out, as their gradients were not finite: lower "
                    "its learning rate, and look for rewards out of all proportion"
                )
        unjudged = metrics.get("rollout/unjudged", 0.0)
        if unjudged > 0:
            warnings.append(f"The critic failed on {unjudged:.0f} actions, and their episodes were ended")
        if metrics.get("rollout/failures", 0.0) > unjudged:
            failures = metrics["rollout/failures"] - unjudged
            warnings.append(f"{failures:.0f} episodes were ended by failing environments")
        return warnings
