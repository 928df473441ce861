"""AgentBench's own ways of reading an answer: the text of version 0.2, and function calls.

They are looser than this package's protocols: an answer may hold several calls. `dialect="agentbench"` plays by them,
and says what AgentBench says, to the letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmat_gym.envs.kg import prompts
from cmat_gym.envs.kg.tools import SIGNATURES, Session, Toolbox, ToolError

__all__ = ["Reply", "reply_to_calls", "reply_to_text"]

_ANSWER = re.compile(r"(?:Final|Find) Answer: *#(\d{1,9})")
_ACTION = re.compile(r"Action.*?:")
_FUNCTION = re.compile(r"(\w+)\(")
_TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "get_relations": ("variable",),
    "get_neighbors": ("variable", "relation"),
    "intersection": ("variable1", "variable2"),
    "get_attributes": ("variable",),
    "argmax": ("variable", "attribute"),
    "argmin": ("variable", "attribute"),
    "count": ("variable",),
}
"""The parameters of the published functions."""


class Reply(NamedTuple):
    """What came of a message: the session after it, the words, whether anything was done, and whether it ends."""

    session: Session
    text: str
    done: bool
    ends: bool = False


# Text ----------------------------------------------------------------------------------------------------------------


def reply_to_text(toolbox: Toolbox, session: Session, message: str, entities: Mapping[str, str]) -> Reply:
    """Read a message as version 0.2 does.

    It is cut at `Observation:`; a final answer anywhere in it wins; otherwise, of the calls after the first `Action:`,
    the first that succeeds is carried out.
    """
    message = message.partition("Observation:")[0].replace("\\_", "_")
    if answer := _ANSWER.search(message):
        return _answer(toolbox, session, int(answer[1]), ends=False)
    lines = (line for line in message.splitlines() if _ACTION.search(line))
    line = next(lines, None)
    if line is None:
        return Reply(session, prompts.NO_ACTION, False)
    action = _ACTION.split(line, maxsplit=1)[1]
    text = prompts.NOT_EXECUTED
    for call in _FUNCTION.finditer(action):
        try:
            done, text = _try(toolbox, session, call[1], action[call.end() :], entities)
        except ToolError as error:  # a variable that does not exist ends the message
            return Reply(session, str(error), False)
        if done is not None:
            return Reply(done, text, True)
    return Reply(session, text, False)


def _try(
    toolbox: Toolbox, session: Session, tool: str, rest: str, entities: Mapping[str, str]
) -> tuple[Session | None, str]:
    inside, bracket, _ = rest.partition(")")
    arguments = [argument.strip() for argument in inside.split(",")]
    for word in ("variable ", "Variable "):
        arguments = [argument.removeprefix(word) for argument in arguments]
    written = ", ".join(arguments)
    if tool in SIGNATURES and (not bracket or len(arguments) != SIGNATURES[tool]):
        return None, prompts.SYNTAX_ERROR.format(tool=tool)
    if tool not in SIGNATURES:
        return None, prompts.CANNOT_EXECUTE.format(tool=tool, arguments=written)
    try:
        done = toolbox.run(session, tool, tuple(arguments), entities)
    except ToolError as error:
        if error.wrong_index:
            raise
        words = prompts.CANNOT_INTERSECT if error.unlike_types else prompts.CANNOT_EXECUTE
        return None, words.format(tool=tool, arguments=written)
    return done.session, prompts.OBSERVATION.format(result=done.result)


def _answer(toolbox: Toolbox, session: Session, number: int, *, ends: bool) -> Reply:
    try:
        return Reply(toolbox.answer(session, number), prompts.ANSWERED, True, ends=True)
    except ToolError as error:
        return Reply(session, str(error), False, ends=ends)


# Function calls ------------------------------------------------------------------------------------------------------


def reply_to_calls(toolbox: Toolbox, session: Session, message: str, entities: Mapping[str, str]) -> Reply:
    """Read a message as the function-calling version does: all calls are carried out in order; an answer has none.

    Calls are JSON objects `{"name": …, "arguments": {…}}` between `<tool_call>` tags, or one bare object, or a list.
    """
    calls = _calls(message)
    if not calls:
        if answer := _ANSWER.search(message):
            return _answer(toolbox, session, int(answer[1]), ends=True)
        return Reply(session, prompts.NO_CALLS, False)
    texts, done = [], False
    for call in calls:
        try:
            session, text = _carry_out(toolbox, session, call, entities)
            done = True
        except ToolError as error:
            if error.wrong_index:
                return Reply(session, str(error), done, ends=True)
            text = str(error)
        texts.append(text)
    return Reply(session, "\n".join(texts), done)


def _calls(message: str) -> list[Any]:
    found: list[Any] = []
    for block in _TOOL_CALL.findall(message) or [message]:
        try:
            data = json.loads(block)
        except (ValueError, RecursionError):
            continue
        found += data if isinstance(data, list) else [data]
    return [call for call in found if isinstance(call, dict) and isinstance(call.get("name"), str)]


def _carry_out(
    toolbox: Toolbox, session: Session, call: Mapping[str, Any], entities: Mapping[str, str]
) -> tuple[Session, str]:
    tool, arguments = call["name"], call.get("arguments")
    if tool not in PARAMETERS:
        raise ToolError(prompts.NO_FUNCTION.format(tool=tool[:80]))
    names = PARAMETERS[tool]
    fits = isinstance(arguments, dict) and set(arguments) == set(names)
    if not fits or not all(isinstance(value, str) for value in arguments.values()):  # type: ignore[union-attr]
        raise ToolError(prompts.WRONG_SIGNATURE.format(tool=tool))
    try:
        done = toolbox.run(session, tool, tuple(arguments[name] for name in names), entities)  # type: ignore[index]
    except ToolError as error:
        if error.wrong_index:
            raise
        raise ToolError(prompts.CALL_ERROR.format(message=error)) from error
    return done.session, prompts.OBSERVATION.format(result=done.result)
