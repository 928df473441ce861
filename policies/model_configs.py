"""Models by name: how each row of the paper's Table 2 is reached and spoken to; users can have files of that form."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import TaskError, choose
from cmat_gym.policies.prompts import STYLES

__all__ = ["AUTO", "CHAT", "ROUTES", "ModelConfig", "model_configs", "read_model_configs"]

ROUTES = ("api", "transformers")
CHAT, AUTO = "chat", "auto"


@dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: What `--policy` takes.
        route: `api` for an endpoint, `transformers` for weights.
        model: Its name at the endpoint, or a hub id or folder.
        prompt: `chat` for its own chat template, the name of a prompt that is written out, or `auto` for the template
            where there is one.
        row: Its row in Table 2; empty for other models.
        version: The version that the row gives.
        max_new_tokens: Tokens of one answer at most.
        max_prompt_tokens: Longer prompts lose the beginning of the observation (weights only).
        key_variable: Environment variable of the key (endpoints only).
        own_code: Its weights come with Python code of their own, which is never run here: it needs a server.
        tuned: The row is a trained adapter on top of `model`.
        note: What a reader should know.
    """

    name: str
    route: str
    model: str
    prompt: str
    row: str = ""
    version: str = "-"
    max_new_tokens: int = 512
    max_prompt_tokens: int = 3584
    key_variable: str = "OPENAI_API_KEY"
    own_code: bool = False
    tuned: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        """Check the names."""
        choose("route", self.route, ROUTES)
        choose("prompt", self.prompt, (CHAT, AUTO, *STYLES))

    def missing(self, *, base_url: str | None = None, adapter: str | Path | None = None) -> str:
        """What keeps this machine from running the model, in words; empty where nothing does.

        Args:
            base_url: Address of a server that has the model, with its adapter where it is a tuned one.
            adapter: Folder with the adapter of a tuned model.
        """
        if base_url is not None or self.route == "api":
            if not _installed("openai"):
                return "needs the extra 'api'"
            return "" if base_url is not None or os.environ.get(self.key_variable) else f"needs {self.key_variable}"
        if self.own_code:
            return "needs --base-url"
        if self.tuned and adapter is None:
            return "needs --adapter"
        if not all(map(_installed, ("torch", "transformers", "peft"))):
            return "needs the extra 'train'"
        return "" if _weights_at_hand(self.model) else "needs its weights"


@cache
def model_configs() -> Mapping[str, ModelConfig]:
    """The models of Table 2 by name, in the table's order."""
    return read_model_configs(Path(str(resources.files("cmat_gym.policies").joinpath("data", "models.toml"))))


def read_model_configs(path: Path) -> dict[str, ModelConfig]:
    """Read a TOML file with one `[[model]]` for each model.

    Raises:
        TaskError: It cannot be read, or an entry lacks a field or has an unknown one.
        UnknownNameError: An unknown route or prompt.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
        configs = [ModelConfig(**_known(entry)) for entry in entries]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise TaskError(
            f"{path} holds no models, each under [[model]] with name, route, model, prompt: {error}"
        ) from error
    return {config.name: config for config in configs}


def _known(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := entry.keys() - {item.name for item in fields(ModelConfig)}:
        raise TypeError(f"unknown field {sorted(unknown)[0]!r}")
    return entry


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _weights_at_hand(model: str) -> bool:
    """Whether a folder, or the hub's local cache, has the model; nothing is fetched to find out."""
    if Path(model).is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "config.json"), str)
