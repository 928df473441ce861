"""Feedback in words: by rules, a few for each world, or written by a language model.

The rules need nothing but what the agent itself sees, so they can judge anybody anywhere; they are the baseline that a
learned feedback writer has to beat, and the teacher it can start from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.prompts import MEMORY_REFUSED
from cmat_gym.core.protocol import split_thought
from cmat_gym.core.roles import Info, Policy, Review
from cmat_gym.policies import prompts

__all__ = ["RULES", "FeedbackWriter", "PolicyFeedback", "RuleFeedback", "feedback_request"]

_TURN = re.compile(r"^\d+\. (.*) -> (.*)$", re.MULTILINE)
_CHOICES = 8  # possible actions that are named
_SEARCH_WORDS = 12  # more key words than this are a sentence


@runtime_checkable
class FeedbackWriter(Protocol):
    """Anything that says in words what to do better."""

    def write(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> Sequence[str]:
        """One text for each action; empty where there is nothing to say."""
        ...


class Proposal(NamedTuple):
    """An action as the rules see it.

    Attributes:
        name: Lower-case name of the tool, or what stands before the first bracket or space.
        body: The whole action without its thought; of a function call its arguments as text.
        observation: What the agent sees.
        info: What the environment says.
    """

    name: str
    body: str
    observation: str
    info: Info

    @property
    def first_turn(self) -> bool:
        """Whether nothing has been done in this episode."""
        return self.info.get("turn") == 0


Rule: TypeAlias = Callable[[Proposal], str]


class RuleFeedback:
    """What is wrong with an action, by rule: a feedback writer, and a critic that rejects what it finds wrong.

    Args:
        rules: Domain -> rules, tried in order after those for all worlds; `RULES` by default.
    """

    def __init__(self, rules: Mapping[str, Sequence[Rule]] | None = None) -> None:
        self.rules = RULES if rules is None else rules

    def write(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """The first complaint about each action; empty where there is none."""
        return [self._complain(o, a, i) for o, a, i in zip(observations, actions, infos, strict=True)]

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """Reward 0 for an action without a complaint, -1 and a rejection for one with it."""
        complaints = self.write(observations, actions, infos)
        return [Review(not complaint, -1.0 if complaint else 0.0, feedback=complaint) for complaint in complaints]

    def _complain(self, observation: str, action: str, info: Info) -> str:
        try:
            body = split_thought(action)[1]
        except InvalidAction as error:
            return prompts.RULE_FORMAT.format(reason=error)
        proposal = _proposal(body, observation, info)
        domain = str(info.get("task_id", "")).partition("/")[0]
        for rule in (_repeated, *self.rules.get(domain, ())):
            complaint = rule(proposal)
            if complaint:
                return complaint
        return ""


class PolicyFeedback:
    """Feedback by any policy, such as a `RolePolicy` with the Checker's own feedback adapter.

    Args:
        policy: Writes the text; it sees `feedback_request` as its observation.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def write(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """What the policy says, on one line each."""
        if not observations:
            return []
        requests = [feedback_request(o, a) for o, a in zip(observations, actions, strict=True)]
        return [" ".join(str(text).split()) for text in self.policy.act(requests, infos)]


def feedback_request(observation: str, action: str) -> str:
    """What a feedback writer reads; train its adapter on pairs of this and the feedback to give."""
    return prompts.WRITE_FEEDBACK.format(observation=observation, action=str(action))


def _proposal(body: str, observation: str, info: Info) -> Proposal:
    """Read an action of either protocol, as far as the rules need it."""
    try:
        call = json.loads(body.strip().removeprefix("<tool_call>").removesuffix("</tool_call>"))
        name, arguments = str(call["name"]), call["arguments"]
        body = " ".join(str(value) for value in arguments.values())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        name = re.split(r"[\[(\s:]", body.strip(), maxsplit=1)[0]
    return Proposal(name.lower(), body, observation, info)


# Rules for all worlds ------------------------------------------------------------------------------------------------


def _repeated(proposal: Proposal) -> str:
    """The last action again (the short-term memory shows it), though it was refused or has changed nothing before."""
    turns = _TURN.findall(proposal.observation)
    if not turns or turns[-1][0] != " ".join(proposal.body.split()):
        return ""
    in_vain = turns[-1][1] == MEMORY_REFUSED or turns[-2:-1] == turns[-1:]
    return prompts.RULE_REPEATED.format(outcome=turns[-1][1]) if in_vain else ""


def _not_listed(proposal: Proposal) -> str:
    """Not among the admissible actions, for worlds that list all of them."""
    listed = proposal.info.get("admissible_actions")
    if not listed or proposal.body.strip() in listed:
        return ""
    if any(action.startswith("{") for action in listed):  # function calls: compared by what they say
        said = [_proposal(action, "", {}) for action in listed]
        if any((call.name, call.body) == (proposal.name, proposal.body) for call in said):
            return ""
    more = ", ..." if len(listed) > _CHOICES else ""
    return prompts.RULE_NOT_THERE.format(choices=", ".join(listed[:_CHOICES]) + more)


# Rules of single worlds ----------------------------------------------------------------------------------------------


def _interactive(proposal: Proposal) -> str:
    match = re.search(r"(?:^|[\[\n;|&(]|\bsudo)\s*(vim?|nano|emacs|less|more|top|htop|man)\b", proposal.body)
    return prompts.RULE_WAITS_FOREVER.format(program=match[1]) if match else ""


def _deletes_all(proposal: Proposal) -> str:
    return prompts.RULE_DELETES_ALL if re.search(r"\brm\s+(?:-\w+\s+)+/(?:\s|\*|$|\])", proposal.body) else ""


def _blind_answer(*names: str) -> Rule:
    def rule(proposal: Proposal) -> str:
        return prompts.RULE_BLIND_ANSWER if proposal.first_turn and proposal.name in names else ""

    return rule


def _all_rows(proposal: Proposal) -> str:
    statement = " ".join(re.sub(r"```(?:sql)?", " ", proposal.body).lower().split())
    changes = re.search(r"\b(?:update \S+ set|delete from)\b", statement)
    return prompts.RULE_ALL_ROWS if changes and " where " not in statement else ""


def _unknown_relation(proposal: Proposal) -> str:
    match = re.search(r"([a-z_]+(?:\.[a-z_]+){2,})", proposal.body)
    if proposal.name != "get_neighbors" or match is None or match[1] in proposal.observation:
        return ""
    return prompts.RULE_UNKNOWN_RELATION.format(relation=match[1])


def _unknown_element(proposal: Proposal) -> str:
    match = re.search(r"\[(\d+)\]", proposal.body)
    if match is None or match[0] in proposal.observation:
        return ""
    return prompts.RULE_UNKNOWN_ELEMENT.format(element=match[1])


def _bought_too_early(proposal: Proposal) -> str:
    buys = "buy now" in proposal.body.lower() and proposal.name in ("click", "")
    return prompts.RULE_BUY_TOO_EARLY if buys and proposal.info.get("turn", 9) < 3 else ""


def _long_search(proposal: Proposal) -> str:
    long = proposal.name == "search" and len(proposal.body.split()) > _SEARCH_WORDS
    return prompts.RULE_LONG_SEARCH if long else ""


def _no_such_button(proposal: Proposal) -> str:
    return _not_listed(proposal) if proposal.name == "click" else ""


RULES: Mapping[str, Sequence[Rule]] = {
    "os": (_interactive, _deletes_all, _blind_answer("answer", "finish")),
    "db": (_all_rows, _blind_answer("answer", "commit_final_answer")),
    "kg": (_unknown_relation, _blind_answer("final", "final_answer")),
    "alfworld": (_not_listed,),
    "webshop": (_no_such_button, _bought_too_early, _long_search),
    "mind2web": (_unknown_element, _blind_answer("finish")),
}
"""Domain -> its rules, in the order they are tried."""
