"""Every string of the policies that a model reads or writes."""

from __future__ import annotations

THOUGHT_AND_ACTION = "Thought: {thought}\nAction: {action}"

# The prompt for tokenizers without a chat template.
PLAIN_PROMPT = "{system}\n\n{observation}\n\n> "

# Stands where the beginning of an observation was cut off.
CUT = "[... the beginning does not fit and was left out ...]\n"

# What a Checker says about an action it would not carry out.
EXPECTED_WORSE = (
    "This action is expected to end at {action:.2f}, while {value:.2f} can be reached from here. Reconsider."
)


def with_thought(thought: str, action: str) -> str:
    """An answer of the text protocol: the thought first where there is one."""
    return THOUGHT_AND_ACTION.format(thought=thought, action=action) if thought else action
