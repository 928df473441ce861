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


# What a Checker's feedback writer is asked. The answer is the feedback alone.
WRITE_FEEDBACK = (
    "{observation}\n\nThe assistant wants to do this next: {action}\n\nSay in one sentence what to do better."
)

# Rules: what is wrong with an action, in words.
RULE_FORMAT = "The answer cannot be read: {reason}"
RULE_REPEATED = "This was done already, and it led to: {outcome}"
RULE_NOT_THERE = "This is not possible here. Possible now: {choices}"
RULE_BUY_TOO_EARLY = "Choose the options the request names, and compare the price, before buying."
RULE_LONG_SEARCH = "Search for a few key words of the request, not for all of it."
RULE_BLIND_ANSWER = "Look first: nothing has been looked up yet that the answer could rest on."
RULE_WAITS_FOREVER = "{program} waits for a person at a keyboard; use a command that ends by itself."
RULE_DELETES_ALL = "This deletes everything; name what is meant."
RULE_ALL_ROWS = "Without WHERE this changes every row of the table."
RULE_UNKNOWN_RELATION = "{relation!r} is not among the relations shown; take one of those."
RULE_UNKNOWN_ELEMENT = "There is no element [{element}] on the page."
