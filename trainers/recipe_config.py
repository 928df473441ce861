"""What can be set about the `cmat` recipe; the command line is made from these fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from cmat_gym.core.errors import TaskError, UsageError

__all__ = ["CmatConfig"]


def option(default: Any, text: str) -> Any:
    """A field with the help that the command line prints."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class CmatConfig:
    """Base model -> supervised warm start -> actor-critic with the Checker, each measured on the same held-out tasks.

    Choices are made on the dev panel; the test panel is played once, at the end. Settings of the two trainers that are
    not named here go into `sft` and `actor_critic` by field name.
    """

    env_id: str = option("cmat/WebShop-v0", "the world")
    source: str = option("builtin", "'builtin', or a folder with official files")
    protocol: Literal["text", "tools"] = option("text", "how actions are written")
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    model: str = option("tiny", "base model: tiny, smollm2, a folder or a hub id")
    seed: int = option(0, "seed of everything that is drawn")
    thoughts: bool = option(False, "write a thought before each action")
    max_new_tokens: int = option(96, "tokens of one answer at most")

    test_tasks: int = option(200, "tasks of the test panel, which the final figures come from")
    dev_tasks: int = option(64, "tasks of the dev panel, which choices are made on")
    eval_temperature: float = option(0.0, "temperature of evaluation; 0 acts greedily")
    num_envs: int = option(32, "environments that are played side by side")

    sft_episodes: int = option(300, "episodes of the warm start, over all its rounds; 0 leaves it out")
    sft_rounds: int = option(
        1, "the first imitates the expert's episodes, later ones correct the policy's own (DAgger)"
    )
    sft_mistakes: float = option(0.1, "chance of a random action in them, which shows the expert's way back")
    sft_slips: float = option(0.1, "chance of a refused action in them, which shows how to go on after that")
    sft: Mapping[str, Any] = field(default_factory=dict)

    iterations: int = option(15, "updates of the actor-critic; 0 leaves it out")
    eval_every: int = option(5, "iterations between looks at the dev panel")
    actor_critic: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be meant."""
        for name in ("test_tasks", "dev_tasks", "num_envs", "eval_every", "max_new_tokens", "sft_rounds"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("sft_episodes", "iterations", "eval_temperature"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, got {getattr(self, name)}")

    def world(self) -> dict[str, Any]:
        """Keywords of `gym.make`, but for the split."""
        return {"source": self.source, "protocol": self.protocol, **self.env_kwargs}

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON-able dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CmatConfig:
        """Inverse of `to_json`.

        Raises:
            TaskError: A field this version does not know.
        """
        unknown = set(data) - {item.name for item in fields(cls)}
        if unknown:
            raise TaskError(f"Settings of another version: {', '.join(sorted(unknown))} unknown here")
        return cls(**data)
