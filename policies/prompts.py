"""Every string of the policies that a model reads or writes."""

from __future__ import annotations

THOUGHT_AND_ACTION = "Thought: {thought}\nAction: {action}"
PLAIN_PROMPT = "{system}\n\n{observation}\n\n> "


def with_thought(thought: str, action: str) -> str:
    """An answer of the text protocol: the thought first where there is one."""
    return THOUGHT_AND_ACTION.format(thought=thought, action=action) if thought else action
