"""Who acts and who judges: the two protocols that policies and critics fill, and the adapters that make it easy.

A policy maps a batch of observations to a batch of actions. A critic judges a batch of actions before they are carried
out. The smallest critic is a plain function `(observation, action, info) -> float`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from cmat_gym.core.errors import UsageError

__all__ = [
    "CountedAction",
    "Critic",
    "CriticFunction",
    "FunctionCritic",
    "Info",
    "NotedAction",
    "Policy",
    "Review",
    "SampledAction",
    "TokenSample",
    "Usage",
    "add_usage",
    "as_critic",
    "with_notes",
]

Info: TypeAlias = Mapping[str, Any]
CriticFunction: TypeAlias = Callable[[str, str, Info], float]


@dataclass(frozen=True, slots=True)
class TokenSample:
    """The tokens of one sampled turn, kept exactly as sampled and never re-tokenised.

    Attributes:
        prompt_ids: Token ids the model saw, without padding. [prompt]
        token_ids: Token ids it sampled, the stop token included where it came. [action]
        logprobs: Log-probability of each sampled token under the sampling distribution at temperature 1. [action]
        value: The critic's V(s_t) of the same forward pass, where there is one.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    value: float | None = None


class NotedAction(str):
    """An action that carries notes, such as its review, into the record of its turn; elsewhere it is a plain string."""

    notes: Mapping[str, Any]

    def __new__(cls, text: str, notes: Mapping[str, Any] | None = None) -> NotedAction:
        """Attach `notes` to `text`."""
        action = super().__new__(cls, text)
        action.notes = notes or {}
        return action

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the notes."""
        return NotedAction, (str(self), self.notes)


class SampledAction(NotedAction):
    """An action that remembers the tokens it was sampled as."""

    sample: TokenSample

    def __new__(cls, text: str, sample: TokenSample, notes: Mapping[str, Any] | None = None) -> SampledAction:
        """Attach `sample` to `text`."""
        action = cast("SampledAction", super().__new__(cls, text, notes))
        action.sample = sample
        return action

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the tokens."""
        return SampledAction, (str(self), self.sample, self.notes)


class Usage(NamedTuple):
    """What one action took, where its tokens themselves are not known: an endpoint counts them and sends text.

    Attributes:
        prompt_tokens: Tokens the model read.
        sampled_tokens: Tokens it wrote.
        cost: Price of the two, in the currency of the price list; None where no price is known.
    """

    prompt_tokens: int
    sampled_tokens: int
    cost: float | None = None


def add_usage(usages: Sequence[Usage]) -> Usage:
    """What several actions took together; the cost is None where that of one is not known."""
    costs = [usage.cost for usage in usages if usage.cost is not None]
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.sampled_tokens for usage in usages),
        sum(costs) if len(costs) == len(usages) else None,
    )


class CountedAction(NotedAction):
    """An action that remembers what it took; everywhere else it is a plain string."""

    usage: Usage

    def __new__(cls, text: str, usage: Usage, notes: Mapping[str, Any] | None = None) -> CountedAction:
        """Attach `usage` to `text`."""
        action = cast("CountedAction", super().__new__(cls, text, notes))
        action.usage = usage
        return action

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the counts."""
        return CountedAction, (str(self), self.usage, self.notes)


def with_notes(action: str, **notes: Any) -> NotedAction:
    """The same action with more notes; its tokens and its counts stay with it."""
    if isinstance(action, NotedAction):
        notes = {**action.notes, **notes}
    if isinstance(action, SampledAction):
        return SampledAction(action, action.sample, notes)
    if isinstance(action, CountedAction):
        return CountedAction(action, action.usage, notes)
    return NotedAction(action, notes)


@runtime_checkable
class Policy(Protocol):
    """Anything that acts."""

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> Sequence[str]:
        """One action for each observation; `infos[i]` belongs to `observations[i]`."""
        ...


class Review(NamedTuple):
    """What a critic says about one action before it is carried out.

    Attributes:
        accept: Whether the action should be carried out as it is.
        reward: How good the action is; the scale is the critic's own.
        value: V(s_t), the return expected from this state; None where the critic has no such estimate.
        feedback: What to do better, in words; may be empty.
    """

    accept: bool = True
    reward: float = 0.0
    value: float | None = None
    feedback: str = ""


@runtime_checkable
class Critic(Protocol):
    """Anything that judges: usable as reward, as potential, as value baseline and as a filter before execution."""

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> Sequence[Review]:
        """One review for each (observation, action, info)."""
        ...


class FunctionCritic:
    """A plain function as a critic: its number is the reward, and a number below `threshold` refuses the action."""

    def __init__(self, function: CriticFunction, threshold: float = 0.0) -> None:
        self.function = function
        self.threshold = threshold

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """Call the function once for each action."""
        rewards = [float(self.function(o, a, i)) for o, a, i in zip(observations, actions, infos, strict=True)]
        return [Review(accept=reward >= self.threshold, reward=reward) for reward in rewards]


def as_critic(critic: Critic | CriticFunction) -> Critic:
    """Return `critic` if it has `review`, or wrap a plain function.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(critic, Critic):
        return critic
    if callable(critic):
        return FunctionCritic(critic)
    raise UsageError(
        f"A critic is a function (observation, action, info) -> float or has a review() method, got {critic!r}"
    )
