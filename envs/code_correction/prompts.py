"""Every string of the code-correction world that an agent reads."""

from __future__ import annotations

_TASK = """\
You are given a Python function from the standard library in which somebody has made one or more small mistakes. \
Write the whole function as it should be, with its name and parameters, and without the indentation of a class around \
it. What it calls in its module is there. It is run on calls that you do not see; it cannot read files, start programs \
or use a network."""

TEXT_SYSTEM_PROMPT = f"""{_TASK}
Answer with the function in one block:
```python
the function
```
You may write before the block; the last block counts."""

TOOLS_SYSTEM_PROMPT = f"""{_TASK}
Answer with one function call, as a JSON object {{"name": ..., "arguments": {{...}}}}."""

SUBMIT_TOOL = "Hand in the corrected function."
SUBMIT_CODE = "The whole function as Python source."

_PROBLEM = """\
The function {qualname} of the module {module} is broken. Correct it.
```python
{broken}
```"""
BLOCK = "```python\n{code}\n```"

STUB = "def {name}(*args, **kwargs):\n    pass"

HINT = "\n{failure}"
WRONG = "The function is still wrong.\n{failure}"
ACCEPTED = "The function is right."
NOT_THE_SAME = "It parses, but it is not the original function."
FAILED_TEST = "This call goes wrong:\n{source}\nexpected: {expected}\ngot: {got}"
RAISES = "{name} is raised"
NOT_IMPORTED = {
    "timeout": "It ran for too long and was stopped.",
    "crash": "The interpreter crashed or ran out of memory.",
    "exit": "The interpreter ended before the calls were done.",
}
IMPORT_ERROR = "When it is defined, {name} is raised."
SYNTAX_ERROR = "Line {line}: {message}"
NOT_PYTHON = "This is not Python."
NO_FUNCTION = "There is no function {name} in it; write `def {name}(...)` without indentation."

LONGEST_FEEDBACK = 800
TRUNCATED = "[TRUNCATED]"

# Refusals
EMPTY = "there is no code in it."
TOO_LONG = "the code has {length} characters; {limit} are allowed."

# What came of an action, in the short-term memory
SUMMARY_RIGHT = "accepted"
SUMMARY_WRONG = "rejected"

# What the expert thinks
THINK = "Line {line} should be: {before}"
THINK_MANY = "Line {line} and {more} more should be as they were."


def problem(module: str, qualname: str, broken: str) -> str:
    """What the agent is asked, with the broken function."""
    return _PROBLEM.format(module=module, qualname=qualname, broken=broken.rstrip("\n"))


def cut(text: str) -> str:
    """Feedback, cut where it is too long."""
    return text if len(text) <= LONGEST_FEEDBACK else text[:LONGEST_FEEDBACK] + TRUNCATED
