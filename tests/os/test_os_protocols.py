"""Reading agents' texts, and what they read: AgentBench's two protocols to the letter, and our short form."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call
from cmat_gym.envs.os import prompts, protocols
from cmat_gym.envs.os.checkers import CHECKERS, find_checker, parse_size

BASH = "```bash\n{}\n```"


def bash(script: str) -> Call:
    return Call("bash", {"script": script})


def answer(text: str) -> Call:
    return Call("answer", {"answer": text})


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("Think: a\n\nAct: bash\n\n" + BASH.format("ls -l"), bash("ls -l")),
        ("Act: bash " + BASH.format("a") + "\nand\n" + BASH.format("b\nc"), bash("a\n\nb\nc")),
        (BASH.format("before") + "\nAct: bash", bash("before")),
        ("Act: bash", bash("")),
        ("Act: BASH\n```sh\nls\n```", bash("")),
        ("Act: finish", Call("finish")),
        ("Act:\n\n  Finish now (42)", Call("finish")),
        ("Act: answer(42)", answer("42")),
        ("Act: answer(f(x) and (y)) really", answer("f(x) and (y)")),
        ("Act: Answer()", answer("")),
        ("Act: answer)(", answer("")),
        ("Act: answer 42", None),
        ("Act: bash\nAct: answer(1)", answer("1")),
        ("Act: answer(1)\nAct: bash\n" + BASH.format("ls"), bash("ls")),
        ("Act: finish\nAct: answer 42", Call("finish")),
        ("Act: finish\nAct: think", Call("finish")),
        ("act: bash", None),
        ("", None),
        ("Act:", None),
        ("Act: bashful", bash("")),
    ],
)
def test_v02(text: str, call: Call | None) -> None:
    assert protocols.parse_v02(text) == call


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ({"name": "bash_action", "arguments": {"script": "ls"}}, bash("ls")),
        ({"name": "bash_action", "arguments": '{"any": "ls", "more": 1}'}, bash("ls")),
        ({"name": "answer_action", "arguments": {"answer": "7"}}, answer("7")),
        ({"name": "answer_action", "arguments": {"answer": 7}}, answer("7")),
        ({"name": "finish_action", "arguments": {"thought": "7"}}, Call("finish")),
        ({"name": "finish_action", "arguments": {}}, Call("finish")),
        ([{"name": "bash_action", "arguments": {"script": "one"}}, {"name": "finish_action"}], bash("one")),
        ({"tool_calls": [{"function": {"name": "bash_action", "arguments": '{"script": "ls"}'}}]}, bash("ls")),
    ],
)
def test_function_calls(message: object, call: Call) -> None:
    assert protocols.parse_function_call(json.dumps(message)) == call
    assert protocols.parse_function_call(f"<tool_call>{json.dumps(message)}</tool_call>") == call


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I think I am done", "No executable tool calls found. Please call a tool instead"),
        ('{"tool_calls": []}', "No executable tool calls found. Please call a tool instead"),
        ('{"name": "sudo", "arguments": {}}', "Invalid function call. Please call a tool instead"),
        ('{"name": "bash_action", "arguments": {}}', "Invalid function call. Please call a tool instead"),
        (
            '{"name": "bash_action", "arguments": "{oops"}',
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
    ],
)
def test_what_is_said_about_bad_function_calls(text: str, told: str) -> None:
    with pytest.raises(InvalidAction) as refusal:
        protocols.parse_function_call(text)
    assert str(refusal.value) == told


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_no_text_breaks_a_parser(text: str) -> None:
    for candidate in (text, f"Act: {text}", f"bash[{text}]", json.dumps({"name": "bash_action", "arguments": text})):
        protocols.parse_v02(candidate)
        protocols.clean_output(candidate)
        for parse in (protocols.parse_function_call, protocols.parse_short):
            with suppress(InvalidAction):
                assert parse(candidate).name in ("bash", "answer", "finish")


SCRIPTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


@given(SCRIPTS)
def test_calls_survive_being_written(script: str) -> None:
    for call in (bash(script), answer(script), Call("finish")):
        assert protocols.parse_short(protocols.write_short(call)) == call
        assert protocols.parse_function_call(protocols.write_function_call(call)) == call
    line = " ".join(script.split()).replace("`", "")
    assert protocols.parse_v02(protocols.write_v02(bash(line))) == bash(line)
    assert protocols.parse_v02(protocols.write_v02(answer(line))) == answer(line)


@pytest.mark.parametrize(
    "text", ["", "bash", "bash[ls", "run[ls]", "bash[ls] answer[1]x", "finish[now]", "bash (ls)", "ls -l"]
)
def test_short_form_is_strict(text: str) -> None:
    with pytest.raises(InvalidAction):
        protocols.parse_short(text)


# What the agent reads -------------------------------------------------------------------------------------------------


def test_output_is_cut_after_800_characters() -> None:
    assert prompts.show_output("") == "The output of the OS is empty."
    assert prompts.show_output("x" * 800) == "The output of the OS:\n\n" + "x" * 800
    cut = "The output of the OS:\n\n" + "x" * 780 + "\n[truncated because the output is too long]"
    assert prompts.show_output("x" * 801) == cut
    assert prompts.show_output("a\udcffb") == "OS Environment output cannot be decoded as UTF-8"


def test_terminal_sequences_are_stripped() -> None:
    noisy = "\x1b[1;31mred\x1b[0m\x07 \x1b]0;root@box: ~\x07# \x1b[?2004hnext\r\nline\x1b(B\tend\x00\x08"
    assert protocols.clean_output(noisy) == "red # next\nline\tend"
    assert protocols.clean_output("\x1b[") == ""
    assert protocols.clean_output("äöü 漢字 🙂") == "äöü 漢字 🙂"


# The standard checkers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "answer", "gold", "passes"),
    [
        ("integer-match", "12", "12\n", True),
        ("integer-match", " 12 \n", "+12", True),
        ("integer-match", "12.0", "12", False),
        ("integer-match", "twelve", "12", False),
        ("integer-match", "None", "12", False),
        ("integer-match", "", "", False),
        ("string-match", "a\r\nb", "a\nb\n", True),
        ("string-match", "A", "a", False),
        ("size-match", "5K", "5120", True),
        ("size-match", "5KB", "5K\n", True),
        ("size-match", "1M", "1024KB", True),
        ("size-match", "2GB", "2147483648B", True),
        ("size-match", "7 Byte", "7", True),
        ("size-match", "1P", "1024T", True),
        ("size-match", "1.5K", "1536", False),
        ("size-match", "5X", "5X", False),
        ("size-match", "", "", False),
        ("containing", "it is red, I think", " red\n", True),
        ("containing", "blue", "red", False),
        ("in", "red", "a red box\n", True),
        ("in", "red box ", "a red box\n", False),
    ],
)
def test_checkers(name: str, answer: str, gold: str, passes: bool) -> None:
    assert CHECKERS[name](answer, gold) is passes
    checker = find_checker(f"check/{name}.py")
    assert checker is CHECKERS[name]


def test_strict_sizes_fail_where_the_original_fails() -> None:
    strict = find_checker("check/size-match.py", strict_sizes=True)
    assert strict is not None
    assert (strict("5KB", "5KB"), strict("5K", "5120B"), parse_size("5KB", strict=True)) == (False, True, None)
    assert find_checker("check/0.sh") is None
