"""How an agent's text becomes an action: our short form, and the two protocols of AgentBench, to the letter.

Source: github.com/THUDM/AgentBench, v0.2 (text) and the later function-calling form.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.envs.os import prompts

__all__ = [
    "OFFICIAL_TOOLS",
    "TOOLS",
    "clean_output",
    "parse_function_call",
    "parse_short",
    "parse_v02",
    "write_function_call",
    "write_short",
    "write_v02",
]

TOOLS = (
    Tool("bash", prompts.BASH_TOOL, {"script": prompts.BASH_SCRIPT}),
    Tool("answer", prompts.ANSWER_TOOL, {"answer": prompts.ANSWER_TEXT}),
    Tool("finish", prompts.FINISH_TOOL),
)
OFFICIAL_TOOLS = (
    Tool("bash_action", prompts.BASH_TOOL, {"script": prompts.BASH_SCRIPT}),
    Tool("finish_action", prompts.FINISH_TOOL, {"thought": prompts.FINISH_THOUGHT}),
    Tool("answer_action", prompts.ANSWER_TOOL, {"answer": prompts.ANSWER_TEXT}),
)

_SHORT = re.compile(r"(bash|answer|finish)\[(.*)\]", re.DOTALL)
_ACT = re.compile(r"Act:\s*(.+)")
_BLOCK = re.compile(r"```bash\n(.*?)\n```", re.DOTALL)
_TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
# Control sequences of terminals (CSI, OSC, other escapes), and control characters but tab and line feed.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_output(text: str) -> str:
    """Output without what only a terminal understands."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


# The short form ------------------------------------------------------------------------------------------------------


def parse_short(action: str) -> Call:
    """Read `bash[…]`, `answer[…]` or `finish[]`.

    Raises:
        InvalidAction: It is none of them.
    """
    match = _SHORT.fullmatch(action)
    if match is None:
        raise InvalidAction(prompts.WRONG_FORM)
    name, argument = match.groups()
    if name == "bash":
        return Call("bash", {"script": argument})
    if name == "answer":
        return Call("answer", {"answer": argument})
    if argument.strip():
        raise InvalidAction(prompts.NO_ARGUMENT)
    return Call("finish")


def write_short(call: Call) -> str:
    """The inverse of `parse_short`."""
    return f"{call.name}[{''.join(call.arguments.values())}]"


# AgentBench v0.2 -----------------------------------------------------------------------------------------------------


def parse_v02(text: str) -> Call | None:
    """The last `Act:` that names an action; None where there is none.

    All blocks of bash code of the text are joined, wherever they stand; without any, the command is empty.
    """
    for rest in reversed(_ACT.findall(text)):
        word = rest.lower()
        if word.startswith("bash"):
            return Call("bash", {"script": "\n\n".join(_BLOCK.findall(text))})
        if word.startswith("finish"):
            return Call("finish")
        if word.startswith("answer"):
            start, end = rest.find("("), rest.rfind(")")
            if start >= 0 and end >= 0:
                return Call("answer", {"answer": rest[start + 1 : end]})
    return None


def write_v02(call: Call) -> str:
    """A call as an agent of v0.2 writes it."""
    if call.name == "bash":
        return f"Act: bash\n\n```bash\n{call.arguments['script']}\n```"
    return f"Act: answer({call.arguments['answer']})" if call.name == "answer" else "Act: finish"


# Function calling ----------------------------------------------------------------------------------------------------


def parse_function_call(text: str) -> Call:
    """The first tool call of a message; its arguments are taken by position.

    A message is an object with `tool_calls`, or one call, as an object with `name` and `arguments` (an object, or JSON
    text of one) or between `<tool_call>` tags. Unlike in the original, `finish_action` hands in no answer.

    Raises:
        InvalidAction: With the text that AgentBench gives to the agent.
    """
    name, arguments = _first_call(text)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise InvalidAction(str(error)) from None
    values = list(arguments.values()) if isinstance(arguments, dict) else []
    if name == "finish_action":
        return Call("finish")
    if name not in ("bash_action", "answer_action") or not values:
        raise InvalidAction(prompts.FC_UNKNOWN)
    value = values[0] if isinstance(values[0], str) else json.dumps(values[0], ensure_ascii=False)
    return Call("bash", {"script": value}) if name == "bash_action" else Call("answer", {"answer": value})


def _first_call(text: str) -> tuple[str, Any]:
    """Name and arguments of the first call of a message."""
    blocks = _TOOL_CALL.findall(text)
    try:
        data = json.loads(blocks[0] if blocks else text)
    except (ValueError, RecursionError):
        raise InvalidAction(prompts.FC_NO_CALL) from None
    calls = data.get("tool_calls") if isinstance(data, dict) and "tool_calls" in data else data
    call = calls[0] if isinstance(calls, list) and calls else calls
    call = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise InvalidAction(prompts.FC_NO_CALL)
    return call["name"], call.get("arguments", {})


def write_function_call(call: Call) -> str:
    """A call as a function-calling agent writes it."""
    arguments = {"thought": ""} if call.name == "finish" else dict(call.arguments)
    return json.dumps({"name": f"{call.name}_action", "arguments": arguments}, ensure_ascii=False)
