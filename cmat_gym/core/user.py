"""The User: who says what is wanted, and answers questions about it without giving the solution away.

The user speaks through `UserInstruction`, a wrapper: it puts the user's words in the place of the task's own
instruction and answers the agent's questions. The environment's task stays the ground truth of what is scored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium as gym

from cmat_gym.core import prompts
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import InvalidAction, UsageError
from cmat_gym.core.protocol import split_thought
from cmat_gym.core.roles import Policy
from cmat_gym.core.task import Task
from cmat_gym.core.wrappers import TextWrapper

__all__ = ["PolicyUser", "TemplateUser", "User", "UserInstruction", "gives_away", "keeps_facts"]

_QUESTION = re.compile(r"ask\[(.*)\]", re.DOTALL | re.IGNORECASE)
# What a request may not lose when it is reworded: quotations, paths and other words with signs in them, numbers, names.
_FACT = re.compile(r"'[^']+'|\"[^\"]+\"|\S*[\w~][/_@\\]\S*\w|/\S*\w|\d+(?:[.,:]\d+)*|(?<=[\w,] )[A-Z]\w+")
_WORD = re.compile(r"\w+")
_LONGEST_SECRET = 8  # words; of longer texts in a task's payload only the numbers count as secrets of their own


@runtime_checkable
class User(Protocol):
    """Anything that asks for something. Both methods see the task's instruction; its payload is nobody's business."""

    def instruct(self, task: Task) -> str:
        """The opening instruction for a task."""
        ...

    def answer(self, task: Task, question: str) -> str:
        """What the user says to a question about the task."""
        ...


class TemplateUser:
    """Says the instruction through a template, and answers every question with it.

    Args:
        template: Must contain `{instruction}`.
        reply: The answer to questions; may contain `{instruction}` and `{question}`.

    Raises:
        UsageError: A template without the instruction, or with another field.
    """

    def __init__(self, template: str = prompts.USER_TEMPLATE, reply: str = prompts.USER_REPLY) -> None:
        try:
            opened = template.format(instruction="<what is wanted>")
            reply.format(instruction="", question="")
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(f"The templates {template!r} and {reply!r} cannot be filled in: {error!r}") from error
        if "<what is wanted>" not in opened:
            raise UsageError(f"A user's template must contain {{instruction}}, got {template!r}")
        self.template = template
        self.reply = reply

    def instruct(self, task: Task) -> str:
        """The instruction in the template."""
        return self.template.format(instruction=task.instruction)

    def answer(self, task: Task, question: str) -> str:
        """The fixed reply."""
        return self.reply.format(instruction=task.instruction, question=question)


class PolicyUser:
    """Any policy as the user: a language model that rewords the request and answers questions about it.

    It is told the instruction and nothing else of the task, so it cannot know the solution; what it happens to guess is
    held back by `gives_away`. A rewording that lost a fact or gives something away is replaced by the plain
    instruction, an answer that gives something away by the plain reply. Rewordings are kept, so that a task opens with
    the same words whenever it is played.

    Args:
        policy: Writes the text; it sees the request for it as its observation.
        reword: Whether instructions are reworded at all.
        fallback: Speaks where the policy's words cannot be used.
    """

    def __init__(self, policy: Policy, *, reword: bool = True, fallback: User | None = None) -> None:
        self.policy = policy
        self.reword = reword
        self.fallback: User = fallback or TemplateUser()
        self.held_back = 0
        self._reworded: dict[str, str] = {}

    def instruct(self, task: Task) -> str:
        """The request in the policy's words, or as it is where those will not do."""
        if not self.reword:
            return self.fallback.instruct(task)
        if task.id not in self._reworded:
            text = self._say(task, prompts.USER_REWORD.format(instruction=task.instruction))
            usable = bool(text) and keeps_facts(text, task) and not gives_away(text, task)
            self._reworded[task.id] = text if usable else self._hold_back(self.fallback.instruct(task))
        return self._reworded[task.id]

    def answer(self, task: Task, question: str) -> str:
        """The policy's answer, or the plain reply where that will not do."""
        text = self._say(task, prompts.USER_ANSWER.format(instruction=task.instruction, question=question))
        # What the agent itself brought up may be said again: repeating a guess confirms nothing.
        if text and not gives_away(text, task, also_known=question):
            return text
        return self._hold_back(self.fallback.answer(task, question))

    def _say(self, task: Task, request: str) -> str:
        [text] = self.policy.act([request], [{"task_id": task.id, "turn": 0, "role": "user"}])
        return " ".join(text.split())

    def _hold_back(self, instead: str) -> str:
        self.held_back += 1
        return instead


def keeps_facts(text: str, task: Task) -> bool:
    """Whether the quotations, paths, numbers and names of the task's instruction are all in `text`."""
    lowered = text.lower()
    return all(fact.strip("'\"").lower() in lowered for fact in _FACT.findall(task.instruction))


def gives_away(text: str, task: Task, also_known: str = "") -> bool:
    """Whether `text` says something of the task's payload (the solution is in there) that the instruction does not.

    Values of the payload count as a whole, word by word and in any case; of long ones only the numbers do.
    """
    said = _spaced(text)
    public = _spaced(f"{task.instruction} {also_known}")
    return any(secret in said and secret not in public for value in _leaves(task.payload) for secret in _secrets(value))


def _secrets(value: object) -> Iterator[str]:
    words = _WORD.findall(str(value).lower())
    if 0 < len(words) <= _LONGEST_SECRET:
        yield f" {' '.join(words)} "
    yield from (f" {word} " for word in words if word.isdigit())


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _leaves(value: Any) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


class UserSnapshot(NamedTuple):
    """State of a `UserInstruction` and of the environment inside it."""

    inner: Any
    instruction: str
    asked: int


class UserInstruction(TextWrapper[str, str]):
    """Lets a user speak: its words stand where the page has the task's instruction, or above the first page.

    With `max_questions`, an action `ask[…]` (or the function call `ask_user` in the `tools` protocol) puts a question
    to the user: the answer stands above the same page, the world has not moved, and no turn is spent. Questions beyond
    the limit go to the world, which refuses them like any other action it does not know. `info["question"]` and
    `info["executed"]` tell of them.

    Args:
        env: A text world, bare or wrapped.
        user: The user.
        max_questions: Questions per episode.

    Raises:
        UsageError: `max_questions` below 0, or something that is no user.
    """

    def __init__(self, env: gym.Env[str, str], user: User, max_questions: int = 0) -> None:
        if max_questions < 0:
            raise UsageError(f"max_questions must be >= 0, got {max_questions}")
        if not isinstance(user, User):
            raise UsageError(f"A user has the methods instruct(task) and answer(task, question), got {user!r}")
        super().__init__(env, user=user, max_questions=max_questions)
        self.user = user
        self.max_questions = max_questions
        self.instruction = ""
        self._asked = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode with the user's own words."""
        page, info = self.env.reset(seed=seed, options=options)
        task = base_env(self).task
        self.instruction = self.user.instruct(task)
        self._asked = 0
        said = task.instruction in page
        page = self._reword(page)
        if not said:
            page = f"{prompts.MEMORY_TASK.format(task=self.instruction)}\n{page}"
        if self.max_questions:
            form = prompts.ASK_TOOL if base_env(self).protocol == "tools" else prompts.ASK_TEXT
            page = f"{prompts.MAY_ASK.format(count=self.max_questions, form=form)}\n{page}"
        return self._see(page, info)

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Answer a question, or take the turn."""
        question = read_question(action) if self._asked < self.max_questions else None
        if question is not None:
            self._asked += 1
            reply = self.user.answer(base_env(self).task, question)
            info = {**self._info, "valid_action": True, "question": question, "executed": False}
            page = prompts.ANSWERED.format(question=question, reply=reply, observation=self._page)
            return page, 0.0, False, False, info
        page, reward, terminated, truncated, info = self.env.step(action)
        page, info = self._see(self._reword(page), info)
        return page, reward, terminated, truncated, info

    def snapshot(self) -> UserSnapshot:
        """The episode, the user's words, and the questions asked."""
        return UserSnapshot(super().snapshot(), self.instruction, self._asked)

    def restore(self, state: UserSnapshot) -> tuple[str, dict[str, Any]]:
        """Go back to what `snapshot` gave."""
        self.instruction, self._asked = state.instruction, state.asked
        page, info = super().restore(state.inner)
        return self._see(self._reword(page), info)

    def _reword(self, page: str) -> str:
        return page.replace(base_env(self).task.instruction, self.instruction)


def read_question(action: str) -> str | None:
    """The question an action asks, in either protocol; None for any other action."""
    try:
        bare = split_thought(action)[1]
    except InvalidAction:
        return None
    match = _QUESTION.fullmatch(bare)
    if match is not None:
        return match[1].strip() or None
    try:
        call = json.loads(bare.strip().removeprefix("<tool_call>").removesuffix("</tool_call>"))
        question = call["arguments"]["question"] if call["name"] == "ask_user" else None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return question if isinstance(question, str) and question.strip() else None
