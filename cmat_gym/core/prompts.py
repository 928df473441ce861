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

# The User.
USER_TEMPLATE = "{instruction}"
USER_REPLY = "All I can say is this: {instruction}"
USER_REWORD = (
    "{instruction}\n\nSay the same request in your own words, in one or two sentences. Keep every name, number and "
    "quotation exactly as it is, and add nothing."
)
USER_ANSWER = (
    "You asked an assistant for this: {instruction}\n\nThe assistant asks you: {question}\n\nAnswer in one sentence, "
    "with nothing but what your request says. If it does not say, answer that you do not know."
)
MAY_ASK = "You may ask the user up to {count} times: {form}"
ASK_TEXT = "ask[your question]"
ASK_TOOL = '{"name": "ask_user", "arguments": {"question": "your question"}}'
ANSWERED = "You asked: {question}\nThe user says: {reply}\n{observation}"

# The Assistant, sent back by the Checker.
REVISE = "Your action {action!r} was held back by the checker: {feedback}\nGive another action.\n{observation}"
NO_FEEDBACK = "it gave no reason."

# The Checker, where it is a language model.
JUDGE = (
    "{observation}\n\nThe assistant wants to do this next: {action}\n\nIs that a good next action? Answer in three "
    "lines:\nVerdict: accept or reject\nScore: a number from 0 (useless) to 1 (best)\nFeedback: what to do better"
)

# Reflection.
REFLECT = (
    "{transcript}\n\n{outcome} What should be done differently next time? Answer with at most {count} lines that start "
    "with 'Lesson:', each one sentence that helps with tasks of this kind."
)
REFLECT_TASK = "Task: {instruction}"
REFLECT_TURN = "{number}. {action} -> {outcome}"
REFLECT_CUT = "[... {count} turns ...]"
OUTCOME_SUCCESS = "The task was solved."
OUTCOME_FAILURE = "The task was not solved: the score is {score:.2f} of 1."
LESSON_REPEATED = "Do not repeat {action!r} when it changes nothing; try something else."
LESSON_REFUSED = "{action!r} was refused: {reason}"
LESSON_TOO_SLOW = "All {turns} turns were used up: come to the point sooner."
LESSON_TOO_EARLY = "{action!r} ended the task too early: first check that all that was asked for is done."
LESSON_WORKED = "For a task like this, this worked: {actions}."


def reflected(action: str, feedback: str, lessons: Iterable[str], observation: str) -> str:
    """An observation with all that hindsight has to say about an action on it."""
    shown = [REVISE.format(action=action, feedback=feedback or NO_FEEDBACK, observation=observation)]
    lines = [f"- {lesson}" for lesson in lessons]
    return "\n".join([MEMORY_LESSONS, *lines, *shown] if lines else shown)
