"""Critics that need no training, and what a critic of any kind says about a state."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cmat_gym.core import prompts
from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Critic, Info, Policy, Review

__all__ = ["PolicyCritic", "Valuer", "checked_reviews", "state_values"]

_LINE = re.compile(r"^[ \t]*(Verdict|Score|Feedback)[ \t]*:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d*\.?\d+")


@runtime_checkable
class Valuer(Protocol):
    """A critic that values states without an action."""

    def state_values(self, observations: Sequence[str], infos: Sequence[Info]) -> Sequence[float]:
        """V(s) of each observation."""
        ...


def state_values(critic: Critic, observations: Sequence[str], infos: Sequence[Info]) -> list[float]:
    """V(s) by any critic, for its use as potential or as value baseline.

    A critic with `state_values` is asked directly. Any other one reviews the empty action: the review's value where
    it has one, else its reward. A function as a critic is therefore called as `f(observation, "", info)`.

    Raises:
        UsageError: A value is missing or not finite.
    """
    if not observations:
        return []
    if isinstance(critic, Valuer):
        values = [float(value) for value in critic.state_values(observations, infos)]
    else:
        reviews = critic.review(observations, [""] * len(observations), infos)
        values = [float(review.reward if review.value is None else review.value) for review in reviews]
    if len(values) != len(observations) or not all(map(math.isfinite, values)):
        raise UsageError(
            f"{type(critic).__name__} valued {len(observations)} states with {values}; "
            "one finite number each is expected"
        )
    return values


def checked_reviews(
    critic: Critic, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]
) -> list[Review]:
    """A critic's reviews.

    Raises:
        UsageError: There are too many or too few, or a reward is not finite.
    """
    reviews = list(critic.review(observations, actions, infos))
    if len(reviews) != len(actions):
        raise UsageError(f"{type(critic).__name__} gave {len(reviews)} reviews for {len(actions)} actions")
    for review, action in zip(reviews, actions, strict=True):
        if not math.isfinite(review.reward):
            raise UsageError(
                f"{type(critic).__name__} judged {action!r} with {review.reward}; a reward is a finite number"
            )
    return reviews


class PolicyCritic:
    """Any policy as the Checker: a language model that is shown page and action and answers verdict, score, feedback.

    An answer that cannot be read accepts the action with reward 0 and counts in `unreadable`: a judge that mumbles must
    not stop the work.

    Args:
        policy: Writes the review; it sees the request for it as its observation.
        threshold: Scores below it reject, where the answer has a score but no verdict.
    """

    def __init__(self, policy: Policy, threshold: float = 0.5) -> None:
        self.policy = policy
        self.threshold = threshold
        self.unreadable = 0

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """Ask once for each action, in one batch."""
        if not observations:
            return []
        requests = [
            prompts.JUDGE.format(observation=observation, action=str(action))
            for observation, action in zip(observations, actions, strict=True)
        ]
        return [self._read(text) for text in self.policy.act(requests, [{**info, "role": "checker"} for info in infos])]

    def _read(self, text: str) -> Review:
        parts = {name.lower(): value.strip() for name, value in reversed(_LINE.findall(text))}
        number = _NUMBER.search(parts.get("score", ""))
        score = None if number is None else min(1.0, max(0.0, float(number[0])))
        verdict = parts.get("verdict", "").lower()
        if verdict.startswith(("accept", "reject")):
            accept = verdict.startswith("accept")
        elif score is not None:
            accept = score >= self.threshold
        else:
            self.unreadable += 1
            return Review()
        reward = float(accept) if score is None else score
        return Review(accept=accept, reward=reward, feedback="" if accept else parts.get("feedback", ""))
