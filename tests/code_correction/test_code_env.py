"""The episode: what is shown, what counts as a fix, feedback turns, hints, shaping."""

from __future__ import annotations

import json
import math
from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UnknownNameError, UsageError
from cmat_gym.core.task import Task
from cmat_gym.envs.code_correction import prompts
from cmat_gym.envs.code_correction.env import LONGEST_CODE, CodeCorrectionEnv, extract_code, submitted_code

BROKEN = """\
def leapdays(y1, y2):
    y1 -= 1
    y2 -= 1
    return (y2//4 - y1//4) - (y2//100 + y1//100) + (y2//400 - y1//400)
"""
RIGHT = BROKEN.replace("y2//100 + y1//100", "y2//100 - y1//100")


def leapdays(**changes: Any) -> Task:
    """A task of our own, so that these tests do not hang on what is drawn."""
    payload = {
        "module": "calendar",
        "qualname": "leapdays",
        "broken": BROKEN,
        "reference": RIGHT,
        "mutations": [{"kind": "arithmetic", "line": 4, "before": "return …", "after": "return …"}],
        "tests": [["leapdays(1999, 2001)", "value", "1"], ["leapdays(1, 'a')", "error", "TypeError"]],
        "tests_kind": "recorded",
        "failing": ["leapdays(1999, 2001)", "value", "-37"],
        "difficulty": 1,
        "frozen": True,
        **changes,
    }
    instruction = prompts.problem("calendar", "leapdays", payload["broken"])
    return Task("code_correction/own/dev/000000", "code_correction", "dev", "own", instruction, payload, 1)


def make(task: Task | None = None, **kwargs: Any) -> CodeCorrectionEnv:
    env = base_env(gym.make("cmat/CodeCorrection-v0", memory=None, **kwargs))
    assert isinstance(env, CodeCorrectionEnv)
    env.reset(seed=0, options={"task": task or leapdays()})
    return env


def block(code: str) -> str:
    return f"```python\n{code}```"


def test_what_is_shown_and_what_is_right() -> None:
    env = make()
    observation, _ = env.reset(seed=0, options={"task": leapdays()})
    assert observation == f"The function leapdays of the module calendar is broken. Correct it.\n```python\n{BROKEN}```"
    observation, reward, terminated, truncated, info = env.step(f"It was a sign.\n{block(RIGHT)}\nThere.")
    assert (observation, reward, terminated, truncated) == (prompts.ACCEPTED, 1.0, True, False)
    assert info["success"]
    assert env.score().details == {"exact": True, "passed": 1.0, "imports_module": False}


def test_another_text_that_works_is_right_but_not_exact() -> None:
    env = make()
    env.step(
        block(
            "def leapdays(a, b):\n    return sum(y % 4 == 0 and (y % 100 != 0 or y % 400 == 0) for y in range(a, b))\n"
        )
    )
    assert env.score().success
    assert env.score().details["exact"] is False


def test_one_turn_is_the_rule_and_more_turns_bring_feedback() -> None:
    env = make()
    *_, terminated, truncated, info = env.step(block(BROKEN))
    assert (terminated, truncated, info["valid_action"], info["score"]) == (False, True, True, 0.0)

    env = make(max_turns=3)
    observation, *_ = env.step(block(BROKEN))
    assert observation == (
        "The function is still wrong.\nThis call goes wrong:\nleapdays(1999, 2001)\nexpected: 1\ngot: -37"
    )
    observation, *_ = env.step(block("def leapdays(y1, y2):\n    raise ValueError\n"))
    assert observation.endswith("expected: 1\ngot: ValueError is raised")
    _, reward, terminated, truncated, _ = env.step(block(RIGHT))
    assert (reward, terminated, truncated) == (1.0, True, False), "also on the last turn"


@pytest.mark.parametrize(
    ("code", "feedback"),
    [
        ("def leapdays(y1, y2:\n    pass\n", "Line 1: "),
        ("def other(y1, y2):\n    pass\n", "There is no function leapdays in it; write `def leapdays(...)`"),
        ("class A:\n    def leapdays(self):\n        pass\n", "There is no function leapdays in it"),
        ("    def leapdays(y1, y2):\n        pass\n", "Line 1: unexpected indent"),
        ("def leapdays(y1, y2):\n    return '\0'\n", ""),
        ("def leapdays(y1, y2):\n    return \ud800\n", "This is not Python."),
        ("def leapdays(y1=" + "(" * 3000 + ")" * 3000 + "):\n    pass\n", "Line 1: too many nested parentheses"),
        ("def leapdays(y1=" + "-" * 15_000 + "1):\n    pass\n", "This is not Python."),
    ],
)
def test_what_is_no_function_is_told_and_not_run(code: str, feedback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr("cmat_gym.envs.code_correction.env.judge", never)
    env = make(max_turns=2)
    observation, _, terminated, truncated, info = env.step(block(code))
    assert feedback in observation
    assert (terminated, truncated, info["valid_action"], info["score"]) == (False, False, False, 0.0)


def test_errors_of_the_definition_are_told() -> None:
    env = make(max_turns=9)
    assert "NameError is raised" in env.step(block("def leapdays(y1, y2=nothing):\n    pass\n"))[0]
    assert "ran for too long" in env.step(block("while True: pass\ndef leapdays(y1, y2):\n    pass\n"))[0]
    assert "ended before" in env.step(block("import os\nos._exit(0)\ndef leapdays(y1, y2):\n    pass\n"))[0]
    assert "crashed" in env.step(block("import os\nos.abort()\ndef leapdays(y1, y2):\n    pass\n"))[0]


def test_feedback_is_cut() -> None:
    env = make(max_turns=2)
    observation, *_ = env.step(block("def leapdays(y1, y2):\n    return 'x' * 5000\n"))
    assert observation.endswith("xxx[TRUNCATED]")
    assert len(observation) == len("The function is still wrong.\n") + 800 + len("[TRUNCATED]")


def test_blocks_and_whole_messages() -> None:
    assert extract_code("```python\na\n```\nor rather\n```\nb\nc\n```\n") == "b\nc"
    assert extract_code("def f(): pass") == "def f(): pass"
    assert extract_code("Thought: so\nAction: def f(): pass") == "def f(): pass"
    assert extract_code("```py\nnever closed\n") == "never closed"
    assert extract_code('```python\nx = """\n  ```\n  inner ``` too\n"""\n```') != ""
    assert submitted_code("Thought: nothing", "text") == ""
    assert submitted_code('{"name": "submit_fix", "arguments": {"code": "a"}}', "tools") == "a"
    assert submitted_code("nonsense", "tools") == ""


def test_empty_and_endless_messages_are_refused() -> None:
    env = make(max_turns=3)
    for message in ("", "```python\n\n```", "x" * (LONGEST_CODE + 1)):
        observation, *_, info = env.step(message)
        assert not info["valid_action"]
        assert BROKEN.splitlines()[0] in observation, "the task is still in sight"


def test_tools() -> None:
    env = make(protocol="tools")
    *_, terminated, _, info = env.step(json.dumps({"name": "submit_fix", "arguments": {"code": RIGHT}}))
    assert terminated
    assert info["success"]


def test_hints() -> None:
    env = make(hint=True)
    observation, _ = env.reset(options={"task": leapdays()})
    assert observation.endswith("expected: 1\ngot: -37")
    slip = leapdays(broken=RIGHT.replace("):", ")"), failing=None)
    assert env.reset(options={"task": slip})[0].endswith("```\nLine 1: expected ':'")
    untested = leapdays(broken=RIGHT.replace("y1 -= 1", "y -= 1"), failing=None, tests=[], tests_kind="none")
    assert env.reset(options={"task": untested})[0].endswith(prompts.NOT_THE_SAME)


def test_functions_without_tests_must_be_the_original() -> None:
    task = leapdays(broken=RIGHT.replace("):", ")"), failing=None, tests=[], tests_kind="none")
    env = make(task, max_turns=2)
    observation, *_ = env.step(block(BROKEN))
    assert prompts.NOT_THE_SAME in observation
    formatted = RIGHT.replace("//", " // ").replace("    y1 -= 1", '    """Added."""\n    y1 -= (1)')
    *_, terminated, _, info = env.step(block(formatted))
    assert terminated
    assert info["success"], "formatting and docstrings do not count"


def test_shaping_pays_for_coming_nearer_only() -> None:
    half = RIGHT.replace("y1 -= 1", "y1 -= 2")
    task = leapdays(
        broken=half.replace("y2//100 - y1//100", "y2//100 + y1//100"), tests=[["leapdays(1997, 1998)", "value", "0"]]
    )
    rewards = {}
    for name, code in {"copy": task.payload["broken"], "half": half, "worse": "def leapdays(a, b):\n    pass\n",
                       "right": RIGHT}.items():  # fmt: skip
        rewards[name] = make(task, shaping=0.5).step(block(code))[1]
    assert rewards["copy"] == rewards["worse"] == 0.0
    assert 0.0 < rewards["half"] < 0.5
    assert rewards["right"] == 1.0
    assert make(task).step(block(half))[1] == 0.0, "off unless it is asked for"


def test_importing_the_module_is_flagged_and_gives_the_agents_own_function() -> None:
    env = make(max_turns=2)
    env.step(block("def leapdays(y1, y2):\n    import calendar as original\n    return original.leapdays(y1, y2)\n"))
    assert env.score().details["imports_module"] is True
    assert env.score().value == 0.0
    assert [test[1:] for test in env.task.payload["tests"]] != env._get_state()[3]
    assert env._get_state()[3][0] == ["error", "RecursionError"]


def test_cost_to_go_and_thought() -> None:
    env = make(max_turns=2, reward="progress")
    assert env.cost_to_go() == 1.0
    assert env.expert_thought().startswith("Line 4 should be")
    env.step(block(BROKEN))
    assert env.cost_to_go() == 1.0
    assert env.step(env.expert_action())[4]["success"]
    assert env.cost_to_go() == 0.0
    assert not math.isinf(env.cost_to_go())


def test_callers_mistakes() -> None:
    with pytest.raises(UsageError, match=r"shaping.*1\.5"):
        make(shaping=1.5)
    with pytest.raises(UnknownNameError, match="docker"):
        make(backend="docker")
