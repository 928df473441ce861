"""Every string of the core that an agent reads."""

from __future__ import annotations

from collections.abc import Iterable

NO_ACTION_LINE = "There is a thought but no action. Finish with one line that starts with 'Action:'."
MORE_THAN_ONE_ACTION = "Only one action is allowed per turn, and nothing may follow it."
NO_TOOL_CALL = 'No function call was found. Answer with one JSON object: {"name": "...", "arguments": {...}}.'
TOO_LONG = "The action is too long: {length} characters, at most {limit} are read."
LAST_TURN = "The turn limit is reached."


def unknown_tool(name: str, tools: Iterable[str]) -> str:
    """Name the functions that exist."""
    return f"There is no function {name[:80]!r}. Available: {', '.join(tools)}."


def wrong_arguments(name: str, parameters: tuple[str, ...]) -> str:
    """Name the arguments the function takes."""
    return f"{name} takes exactly these arguments: {', '.join(parameters) or 'none'}."


def wrong_type(name: str, argument: str, kind: str) -> str:
    """Name the type the argument must have."""
    return f"The argument {argument!r} of {name} must be of type {kind}."


def invalid(reason: str) -> str:
    """The line put before an unchanged observation when an action was refused."""
    return f"Invalid action: {reason}"


def rejected(feedback: str, observation: str) -> str:
    """The lines put before an unchanged observation when a checker held an action back."""
    reason = f": {feedback}" if feedback else "."
    return f"The checker held this action back{reason}\nGive another action.\n{observation}"


# Labels of the parts of an observation with memory.
MEMORY_TASK = "Task: {task}"
MEMORY_LESSONS = "Lessons:"
MEMORY_TURNS = "Recent turns:"
MEMORY_OBSERVATION = "Observation: {observation}"
MEMORY_TURN = "{number}. {action} -> {outcome}"
MEMORY_REFUSED = "refused"  # the reason stands in the observation, once
