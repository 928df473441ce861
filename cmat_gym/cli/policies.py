"""From a name on the command line to a policy."""

from __future__ import annotations

import argparse
import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError, require
from cmat_gym.core.roles import Policy
from cmat_gym.evaluation.play import PolicyFactory
from cmat_gym.policies.api import APIPolicy, Budget, Endpoint
from cmat_gym.policies.model_configs import AUTO, CHAT, ModelConfig, model_configs, read_model_configs
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy

__all__ = [
    "PolicyChoice",
    "PolicyOptions",
    "add_policy_options",
    "choose_policies",
    "policy_options",
    "prepare_libraries",
]

ANSWER, PROMPT = 48, 2048  # tokens, for models without a configuration: what the trainers use
SCRIPTED = ("expert", "random")
API = "api:"
_HOW_IT_IS_ASKED = ("base_url", "key_variable", "timeout", "retries", "concurrency", "requests_per_minute", "price")
"""Fields of an endpoint that decide no answer, so that a recorded run goes on where they change."""


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


@dataclass(frozen=True)
class PolicyOptions:
    """What the command line says about policies besides their names; `add_policy_options` has the words."""

    adapter: str | None = None
    temperature: float = 0.0
    seed: int = 0
    num_envs: int = 16
    max_new_tokens: int | None = None
    base_url: str | None = None
    api_model: str | None = None
    budget_tokens: int | None = None
    budget_cost: float | None = None
    price: tuple[float, float] | None = None
    requests_per_minute: float | None = None
    concurrency: int = 8


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("policy")
    group.add_argument(
        "--policy",
        nargs="+",
        default=["random", "expert"],
        metavar="NAME",
        help="expert; random; a language model: tiny, smollm2, a folder or a hub id; a row of `cmat-gym table 2`; "
        "api:MODEL; or a .toml file with models (default: random expert)",
    )
    group.add_argument("--adapter", metavar="FOLDER", help="adapter for the language models, as train saves it")
    group.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 acts greedily (default: %(default)s)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the policies (default: %(default)s)")
    group.add_argument(
        "--num-envs", type=int, default=16, metavar="N", help="actions in a batch (default: %(default)s)"
    )
    group.add_argument("--max-new-tokens", type=int, metavar="N", help="tokens of an answer (default: the model's)")
    group = parser.add_argument_group("endpoint")
    group.add_argument("--base-url", metavar="URL", help="ask the models there, at an OpenAI-compatible …/v1")
    group.add_argument("--api-model", metavar="NAME", help="the model's name there, where it is another one")
    group.add_argument("--budget-tokens", type=int, metavar="N", help="stop when so many tokens are used")
    group.add_argument("--budget-cost", type=float, metavar="X", help="stop when so much is spent; needs --price")
    group.add_argument(
        "--price", type=float, nargs=2, metavar=("READ", "WRITTEN"), help="price of a million tokens of either kind"
    )
    group.add_argument("--requests-per-minute", type=float, metavar="X", help="ask no faster than that")
    group.add_argument(
        "--concurrency", type=int, default=8, metavar="N", help="requests at the same time (default: %(default)s)"
    )


def policy_options(args: argparse.Namespace) -> PolicyOptions:
    """What `add_policy_options` has read."""
    given = {name: getattr(args, name) for name in PolicyOptions.__dataclass_fields__}
    return PolicyOptions(**{**given, "price": None if args.price is None else tuple(args.price)})


def choose_policies(names: Sequence[str], options: PolicyOptions | None = None) -> list[PolicyChoice]:
    """What makes the policies once the environments are there, and what they are made with.

    Args:
        names: `expert`, `random`, or language models: `tiny`, `smollm2`, a folder, a hub id, a row of Table 2,
            `api:MODEL`, or a TOML file with models.
        options: What else is known about them; a budget is for all of them together.

    Raises:
        UsageError: An adapter for what is no model, or a model that cannot be run here; the message says what it needs.
        TaskError: A TOML file that cannot be read.
        MissingExtraError: A model, without the extra that runs it.
    """
    options = options or PolicyOptions()
    budget = Budget(options.budget_tokens, options.budget_cost)
    choices: list[PolicyChoice] = []
    for name in dict.fromkeys(names):
        if name in SCRIPTED:
            choices.append(_scripted(name, options))
        else:
            choices += [_model(config, options, budget) for config in _configs(name, options)]
    return choices


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


def _scripted(name: str, options: PolicyOptions) -> PolicyChoice:
    if options.adapter is not None:
        raise UsageError(f"--adapter needs a language model as --policy, not {name!r}")
    if name == "expert":
        return PolicyChoice(name, ExpertPolicy, {"kind": name}, parallel=True)
    settings = {"kind": name, "seed": options.seed}
    return PolicyChoice(name, functools.partial(_random, options.seed), settings, parallel=True)


def _random(seed: int, envs: Sequence[gym.Env[str, str]]) -> Policy:
    """A function of the module, so that worker processes can be sent it."""
    return RandomPolicy(seed)


def _configs(name: str, options: PolicyOptions) -> list[ModelConfig]:
    """The models that a name stands for."""
    known = model_configs()
    if name in known:
        return [known[name]]
    if name.startswith(API):
        return [ModelConfig(name.removeprefix(API), "api", name.removeprefix(API), CHAT)]
    if name.endswith(".toml"):
        return list(read_model_configs(Path(name)).values())
    return [ModelConfig(name, "transformers", name, AUTO, max_new_tokens=ANSWER, max_prompt_tokens=PROMPT)]


def _model(config: ModelConfig, options: PolicyOptions, budget: Budget) -> PolicyChoice:
    if options.max_new_tokens is not None:
        config = replace(config, max_new_tokens=options.max_new_tokens)
    if options.base_url is not None or config.route == "api":
        return _endpoint(config, options, budget)
    for option in ("api_model", "budget_tokens", "budget_cost", "price", "requests_per_minute"):
        if getattr(options, option) is not None:
            flag = f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag} is about an endpoint, but {config.name!r} runs here: name one as --base-url")
    if config.own_code:
        raise UsageError(
            f"{config.name!r} comes with Python code of its own, which is not run here. Serve its weights "
            "(vLLM, llama.cpp, transformers serve --trust-remote-code) and give the server's address as --base-url"
        )
    if config.tuned and options.adapter is None:
        raise UsageError(f"{config.name!r} is {config.model} with a trained adapter: name its folder as --adapter")
    return _weights(config, options)


def _endpoint(config: ModelConfig, options: PolicyOptions, budget: Budget) -> PolicyChoice:
    if options.adapter is not None:
        raise UsageError("--adapter puts an adapter on weights that run here; a server brings its own")
    written_out = config.prompt not in (AUTO, CHAT)
    point = Endpoint(
        model=options.api_model or config.model,
        base_url=options.base_url,
        kind="completions" if written_out else "chat",
        style=config.prompt if written_out else "plain",
        key_variable=config.key_variable,
        max_new_tokens=config.max_new_tokens,
        temperature=options.temperature,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        price=options.price,
    )
    policy = APIPolicy(point, budget=budget)
    settings = {name: value for name, value in asdict(point).items() if name not in _HOW_IT_IS_ASKED}

    def make(envs: Sequence[gym.Env[str, str]]) -> Policy:
        policy.read_world(envs[0])
        return policy

    return PolicyChoice(config.name, make, {**settings, "kind": "endpoint", "asked": point.kind})


def _weights(config: ModelConfig, options: PolicyOptions) -> PolicyChoice:
    prepare_libraries("torch", "transformers", "peft")
    from cmat_gym.policies.generation import Sampling
    from cmat_gym.policies.lora import LoRAPolicy

    sampling = Sampling(temperature=options.temperature, max_new_tokens=config.max_new_tokens)
    kwargs: dict[str, Any] = {
        "sampling": sampling,
        "seed": options.seed,
        "style": None if config.prompt == AUTO else config.prompt,
        "max_prompt_tokens": config.max_prompt_tokens,
    }
    made: list[LoRAPolicy] = []

    def make(envs: Sequence[gym.Env[str, str]]) -> Policy:
        """Load the model for the first world; the others get the same one, as it was at the beginning."""
        if not made:
            if options.adapter is None:
                made.append(LoRAPolicy(config.model, **kwargs))
            else:
                made.append(LoRAPolicy.load(options.adapter, config.model, **kwargs))
        policy = made[0]
        if base_env(envs[0]).domain not in policy.system_prompts:  # an adapter brings those it was trained with
            policy.read_system_prompt(envs[0])
        policy.generator.manual_seed(options.seed)
        return policy

    settings = {
        "kind": "weights",
        "model": config.model,
        "adapter": options.adapter,
        "style": config.prompt,
        "temperature": options.temperature,
        "max_new_tokens": config.max_new_tokens,
        "max_prompt_tokens": config.max_prompt_tokens,
        "seed": options.seed,
        "num_envs": options.num_envs,  # a batch can change what is sampled
    }
    return PolicyChoice(config.name, make, settings)
