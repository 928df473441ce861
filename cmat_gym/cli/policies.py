"""From a name on the command line to a policy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym

from cmat_gym.core.errors import UsageError, require
from cmat_gym.core.roles import Policy
from cmat_gym.evaluation.evaluate import PolicyFactory
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy

__all__ = ["policy_factory", "prepare_libraries"]


def prepare_libraries(*modules: str) -> None:
    """Check that the libraries of the extra `train` are there, and keep their bars and notices off our display.

    Raises:
        MissingExtraError: One is missing.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    for module in modules:
        require(module, "train")
    from transformers.utils import logging

    logging.disable_progress_bar()


def policy_factory(
    name: str, *, adapter: str | Path | None = None, temperature: float = 0.0, seed: int = 0
) -> PolicyFactory:
    """What makes the policy once the environments are there.

    Args:
        name: `expert`, `random`, or a language model: `tiny`, `smollm2`, a folder or a hub id.
        adapter: Folder of adapters to put on the model.
        temperature: Of the model's sampling; 0 is greedy.
        seed: Of whatever the policy draws.

    Raises:
        UsageError: An adapter for a policy that is no model.
        MissingExtraError: A model, without the extra that runs it.
    """
    if name not in ("expert", "random"):
        return _model_factory(name, adapter, temperature, seed)
    if adapter is not None:
        raise UsageError(f"--adapter needs a language model as --policy, not {name!r}")
    return ExpertPolicy if name == "expert" else lambda envs: RandomPolicy(seed)


def _model_factory(name: str, adapter: str | Path | None, temperature: float, seed: int) -> PolicyFactory:
    prepare_libraries("torch", "transformers", "peft")
    from cmat_gym.policies.generation import Sampling
    from cmat_gym.policies.lora import LoRAPolicy

    sampling = Sampling(temperature=temperature)

    def make(envs: Sequence[gym.Env[str, str]]) -> Policy:
        if adapter is None:
            return LoRAPolicy(name, envs[0], sampling=sampling, seed=seed)
        return LoRAPolicy.load(adapter, name, env=envs[0], sampling=sampling, seed=seed)

    return make
