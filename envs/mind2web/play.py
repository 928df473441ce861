"""What the environment does with a task: one `Play` for live sites, one for recorded steps, one for recorded calls."""

from __future__ import annotations

import abc
from typing import Any

from cmat_gym.core.env import Outcome
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task

__all__ = ["Play"]


class Play(abc.ABC):
    """The part of a `TextEnv` that differs between the modes; the names are those of its hooks."""

    tools: tuple[Tool, ...]
    text_prompt: str
    tools_prompt: str
    reads_whole_text: bool = False  # whether an answer has `Action:` lines of its own, which are not the protocol's

    @abc.abstractmethod
    def begin(self, task: Task) -> str:
        """Set up a task and return the first observation."""

    @abc.abstractmethod
    def parse(self, action: str) -> Call:
        """Read an action of the text protocol; raise `InvalidAction` with what is wrong with it."""

    @abc.abstractmethod
    def write(self, call: Call) -> str:
        """The inverse of `parse`."""

    @abc.abstractmethod
    def apply(self, call: Call) -> Outcome:
        """Carry out a call; raise `InvalidAction`, with the state unchanged, where that is not possible."""

    @abc.abstractmethod
    def score(self) -> Score:
        """The score of the state as it is."""

    @abc.abstractmethod
    def get_state(self) -> Any:
        """The true state as a JSON-able value."""

    @abc.abstractmethod
    def set_state(self, state: Any) -> None:
        """Go to a state that `get_state` gave for the same task."""

    @abc.abstractmethod
    def admissible(self) -> list[Call] | None:
        """Calls that are valid now; None where they cannot be listed."""

    @abc.abstractmethod
    def expert(self) -> Call:
        """The expert's next call from here."""

    @abc.abstractmethod
    def thought(self) -> str:
        """Why the expert does what it does next."""

    @abc.abstractmethod
    def cost_to_go(self) -> float:
        """Turns the expert needs from here; infinity where it cannot succeed any more."""

    @abc.abstractmethod
    def summary(self) -> str:
        """What the last action led to, in a few words."""

    def page_html(self) -> str | None:
        """The document as a browser would show it; None where there is none."""
        return None

    def screenshot(self) -> Any:
        """A picture of the page; None where there is none."""
        return None

    def close(self) -> None:  # noqa: B027 - most plays hold nothing
        """Release what the play holds."""
