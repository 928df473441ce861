"""How an agent's text becomes a call: two renderings of the same world, parsed strictly.

`text`: an optional `Thought:` part, then one `Action:` line (a bare action is fine too). `tools`: one JSON object
`{"name": …, "arguments": {…}}`, bare or between `<tool_call>` tags, as function-calling models write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cmat_gym.core import prompts
from cmat_gym.core.errors import InvalidAction

__all__ = ["PROTOCOLS", "Call", "Tool", "format_tool_call", "parse_tool_call", "split_thought"]

PROTOCOLS = {"text": "text-v1", "tools": "tools-v1"}
"""The protocols, each with the version that is written into every record."""

_ACTION = re.compile(r"^[ \t]*Action:[ \t]*", re.MULTILINE)
_HEADER = re.compile(r"^[ \t]*(?:Thought|Action|Observation):", re.MULTILINE)
_TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class Call(NamedTuple):
    """What the agent wants done: the tool's name and its arguments."""

    name: str
    arguments: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Tool:
    """One thing an agent can do, as published to function-calling models.

    Attributes:
        name: Name of the function.
        description: What it does, for the agent.
        parameters: Parameter name -> description. All of them are required.
        types: Parameter name -> JSON type, where it is not `string`.
    """

    name: str
    description: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """The tool in the JSON form that OpenAI-compatible endpoints and chat templates take."""
        properties = {
            name: {"type": self.types.get(name, "string"), "description": text}
            for name, text in self.parameters.items()
        }
        parameters = {
            "type": "object",
            "properties": properties,
            "required": list(self.parameters),
            "additionalProperties": False,
        }
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }


def format_tool_call(call: Call) -> str:
    """Write a call as the JSON object that `parse_tool_call` reads."""
    return json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)


def split_thought(text: str) -> tuple[str, str]:
    """Split an answer into thought and action.

    Without an `Action:` line the whole text is the action, unless it starts with `Thought:`. An action may span lines;
    a further `Thought:`, `Action:` or `Observation:` line after it means the agent ran ahead, which is refused.

    Raises:
        InvalidAction: No action, or more than one.
    """
    match = _ACTION.search(text) if "Action:" in text else None  # the plain search costs a tenth
    if match is None:
        action = text.strip()
        if action.startswith("Thought:"):
            raise InvalidAction(prompts.NO_ACTION_LINE)
        return "", action
    action = text[match.end() :]
    if _HEADER.search(action):
        raise InvalidAction(prompts.MORE_THAN_ONE_ACTION)
    thought = text[: match.start()].strip().removeprefix("Thought:").strip()
    return thought, action.strip()


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def parse_tool_call(text: str, tools: Mapping[str, Tool]) -> Call:
    """Read one JSON function call and check it against the published tools.

    Raises:
        InvalidAction: Not exactly one call, an unknown function, or arguments that do not fit its schema.
    """
    blocks = _TOOL_CALL.findall(text)
    if len(blocks) > 1:
        raise InvalidAction(prompts.MORE_THAN_ONE_ACTION)
    try:
        data = json.loads(blocks[0] if blocks else text)
    except (ValueError, RecursionError):
        raise InvalidAction(prompts.NO_TOOL_CALL) from None
    if not isinstance(data, dict) or set(data) != {"name", "arguments"}:
        raise InvalidAction(prompts.NO_TOOL_CALL)
    name, arguments = data["name"], data["arguments"]
    if not isinstance(name, str) or name not in tools:
        raise InvalidAction(prompts.unknown_tool(str(name), tools))
    tool = tools[name]
    if not isinstance(arguments, dict) or set(arguments) != set(tool.parameters):
        raise InvalidAction(prompts.wrong_arguments(name, tuple(tool.parameters)))
    for key, value in arguments.items():
        kind = tool.types.get(key, "string")
        if not isinstance(value, _JSON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            raise InvalidAction(prompts.wrong_type(name, key, kind))
    return Call(name, arguments)
