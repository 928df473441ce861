"""From a name on the command line to a policy."""

from __future__ import annotations

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import PolicyFactory

__all__ = ["policy_factory"]


def policy_factory(name: str, *, adapter: str | None = None, temperature: float = 0.0, seed: int = 0) -> PolicyFactory:
    """What makes the policy once the environments are there: `expert`, `random`, or a language model.

    Raises:
        UsageError: An adapter for a policy that is no model.
    """
    from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy

    if name in ("expert", "random"):
        if adapter is not None:
            raise UsageError(f"--adapter needs a language model as --policy, not {name!r}")
        return ExpertPolicy if name == "expert" else lambda envs: RandomPolicy(seed)
    raise UsageError(f"Unknown policy {name!r}")
