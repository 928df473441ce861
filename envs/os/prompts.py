"""Every string of the operating-system world that an agent reads."""

from __future__ import annotations

_TASK = """\
You are root in a Linux shell. The shell keeps its state from turn to turn; it cannot ask you anything, and it has no \
network. Solve the problem with a few commands. If the problem asks a question, end with the answer alone: a number, a \
name or a path. Otherwise end by saying that you are finished. You have a limited number of turns."""

TEXT_SYSTEM_PROMPT = f"""{_TASK}
Answer with one action:
bash[command]   run a command, or a script of several lines
answer[text]    give the answer to the question
finish[]        the work is done and no answer was asked for
You may think first, on a line that starts with 'Thought:'; the action then follows on a line that starts with \
'Action:'."""

TOOLS_SYSTEM_PROMPT = f"""{_TASK}
Answer with one function call, as a JSON object {{"name": ..., "arguments": {{...}}}}."""

BASH_TOOL = "Run a command, or a script of several lines, in the shell."
BASH_SCRIPT = "What to run."
ANSWER_TOOL = "Give the answer to the question; this ends the task."
ANSWER_TEXT = "The answer alone."
FINISH_TOOL = "Say that the work is done; this ends the task."
FINISH_THOUGHT = "Why the work is done."

# The protocols of AgentBench: the texts that its agents know; its role text is ours.
_OFFICIAL_TASK = """\
You are an assistant that works on a Linux machine as root to solve a problem. In each turn you do one of three \
things: run bash code and read its output, answer a question, or declare the work finished."""

V02_SYSTEM_PROMPT = f"""{_OFFICIAL_TASK}
Write one thought, then one action, in one of these forms:

Think: why you do it.

Act: bash

```bash
the code
```

Think: why you know the answer.

Act: answer(the answer)

Think: why nothing is left to do.

Act: finish

The output that you read is cut when it is too long. The answer is compared exactly: give nothing but the answer."""

FC_SYSTEM_PROMPT = f"""{_OFFICIAL_TASK}
Call one of the tools in each turn. The output that you read is cut when it is too long. The answer is compared \
exactly: give nothing but the answer."""

OFFICIAL_PROBLEM = "Now, I will start a new problem in a new OS. My problem is:\n\n{description}"
V02_INVALID = "No action was found. Write one of: Act: bash (with a ```bash block), Act: answer(...), Act: finish."
FC_NO_CALL = "No executable tool calls found. Please call a tool instead"
FC_UNKNOWN = "Invalid function call. Please call a tool instead"

# Output
OUTPUT = "The output of the OS:\n\n{output}"
NO_OUTPUT = "The output of the OS is empty."
LONGEST_OUTPUT, KEPT_OUTPUT = 800, 780
TRUNCATED = "\n[truncated because the output is too long]"
NOT_TEXT = "OS Environment output cannot be decoded as UTF-8"

EVENTS = {
    "timeout": "[the command ran too long and was stopped]",
    "flood": "[the command printed too much and was stopped]",
    "exit": "[the shell has ended; a new one was started]",
    "restart": "[the command could not be stopped; the shell was replaced by a new one]",
    "dead": "[the machine has crashed; nothing can be run on it any more]",
}
DONE = "The work was handed in."

# Refusals
WRONG_FORM = "write bash[command], answer[text] or finish[]."
EMPTY_COMMAND = "there is no command between the brackets."
NO_ARGUMENT = "finish takes nothing between its brackets; use answer[text] to give an answer."

# What came of an action, in the short-term memory
SUMMARY_NOTHING = "no output"
SUMMARY_LENGTH = 60

# What the expert thinks
THINK_ANSWER = "The output shows the answer."
THINK_KNOWN = "I know the answer."
THINK_FINISH = "The work is done."
THINK_EXAMPLE = "I run a script that solves the problem."


def show_output(text: str, event: str = "") -> str:
    """The observation after a command: its output, cut where it is too long, and what became of the shell."""
    if any("\udc80" <= character <= "\udcff" for character in text):
        shown = NOT_TEXT
    elif not text:
        shown = NO_OUTPUT
    else:
        cut = text if len(text) <= LONGEST_OUTPUT else text[:KEPT_OUTPUT] + TRUNCATED
        shown = OUTPUT.format(output=cut)
    return f"{shown}\n{EVENTS[event]}" if event else shown
