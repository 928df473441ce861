"""From a name on the command line to a policy."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError, require
from cmat_gym.core.roles import Policy
from cmat_gym.evaluation.play import PolicyFactory
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy

__all__ = ["PolicyChoice", "choose_policy", "prepare_libraries"]


class PolicyChoice(NamedTuple):
    """A policy that has been asked for.

    Attributes:
        name: Its name in tables and records.
        factory: Makes it once the environments are there.
        settings: All that it is made with; part of every record.
        parallel: Whether its actions depend on the episode alone and it costs next to nothing to make, so that worker
            processes can have one each.
    """

    name: str
    factory: PolicyFactory
    settings: Mapping[str, Any]
    parallel: bool = False


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


def choose_policy(
    name: str, *, adapter: str | Path | None = None, temperature: float = 0.0, seed: int = 0, num_envs: int = 16
) -> PolicyChoice:
    """What makes the policy once the environments are there, and what it is made with.

    Args:
        name: `expert`, `random`, or a language model: `tiny`, `smollm2`, a folder or a hub id.
        adapter: Folder of adapters to put on the model.
        temperature: Of the model's sampling; 0 is greedy.
        seed: Of whatever the policy draws.
        num_envs: Actions in a batch: part of a model's settings, as a batch can change what is sampled.

    Raises:
        UsageError: An adapter for a policy that is no model.
        MissingExtraError: A model, without the extra that runs it.
    """
    if name in ("expert", "random"):
        if adapter is not None:
            raise UsageError(f"--adapter needs a language model as --policy, not {name!r}")
        if name == "expert":
            return PolicyChoice(name, ExpertPolicy, {"kind": "expert"}, parallel=True)
        return PolicyChoice(name, functools.partial(_random, seed), {"kind": "random", "seed": seed}, parallel=True)
    settings = {
        "kind": "model",
        "model": name,
        "adapter": None if adapter is None else str(adapter),
        "temperature": temperature,
        "seed": seed,
        "num_envs": num_envs,
    }
    return PolicyChoice(name, _model_factory(name, adapter, temperature, seed), settings)


def _random(seed: int, envs: Sequence[gym.Env[str, str]]) -> Policy:
    """A function of the module, so that worker processes can be sent it."""
    return RandomPolicy(seed)


def _model_factory(name: str, adapter: str | Path | None, temperature: float, seed: int) -> PolicyFactory:
    prepare_libraries("torch", "transformers", "peft")
    from cmat_gym.policies.generation import Sampling
    from cmat_gym.policies.lora import LoRAPolicy

    sampling = Sampling(temperature=temperature)

    made: list[LoRAPolicy] = []

    def make(envs: Sequence[gym.Env[str, str]]) -> Policy:
        """Load the model for the first world; the others get the same one, as it was at the beginning."""
        if not made:
            if adapter is None:
                made.append(LoRAPolicy(name, sampling=sampling, seed=seed))
            else:
                made.append(LoRAPolicy.load(adapter, name, sampling=sampling, seed=seed))
        policy = made[0]
        if base_env(envs[0]).domain not in policy.system_prompts:  # an adapter brings those it was trained with
            policy.read_system_prompt(envs[0])
        policy.generator.manual_seed(seed)
        return policy

    return make
