"""The two protocols: what is read as an action, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call, Tool, format_tool_call, parse_tool_call, split_thought

JSON_TYPES = ("number", "boolean", "array", "object")
TOOLS = {
    "search": Tool("search", "Find.", {"keywords": "words", "page": "which page"}, {"page": "integer"}),
    "measure": Tool("measure", "All types.", dict.fromkeys("nbao", "x"), dict(zip("nbao", JSON_TYPES, strict=True))),
    "stop": Tool("stop", "End."),
}
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "thought", "action"),
    [
        ("click[x]", "", "click[x]"),
        ("  click[x]\n", "", "click[x]"),
        ("", "", ""),
        ("Thought: cheap.\nAction: click[x]", "cheap.", "click[x]"),
        ("Thought: a\nb\n  Action:   click[x]  ", "a\nb", "click[x]"),
        ("I think so.\nAction: click[x]", "I think so.", "click[x]"),
        ("Action: first line\nsecond line", "", "first line\nsecond line"),
        ("Action:", "", ""),
        ("say Action: now", "", "say Action: now"),
    ],
)
def test_thought_and_action(text: str, thought: str, action: str) -> None:
    assert split_thought(text) == (thought, action)


@pytest.mark.parametrize(
    "text",
    [
        "Thought: only",
        "  Thought:",
        "Action: a\nAction: b",
        "Action: a\nThought: b",
        "Action: a\n  Observation: I bought it",
    ],
)
def test_no_action_or_too_many_are_refused(text: str) -> None:
    with pytest.raises(InvalidAction):
        split_thought(text)


@given(ANY_TEXT)
def test_reading_text_gives_an_action_or_a_refusal(text: str) -> None:
    with suppress(InvalidAction):
        thought, action = split_thought(text)
        assert thought in text
        assert action in text


@given(ANY_TEXT.filter(lambda text: "\n" not in text and ":" not in text))
def test_a_thought_does_not_change_the_action(text: str) -> None:
    assert split_thought(f"Thought: why not\nAction: {text}") == ("why not", text.strip())


@given(ANY_TEXT, st.integers())
def test_tool_calls_round_trip(keywords: str, page: int) -> None:
    call = Call("search", {"keywords": keywords, "page": page})
    text = format_tool_call(call)
    assert parse_tool_call(text, TOOLS) == call
    if "<" not in keywords:
        assert parse_tool_call(f"thinking <tool_call>\n{text}\n</tool_call>", TOOLS) == call


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No function call"),
        ("stop", "No function call"),
        ("[1]", "No function call"),
        ('{"name": "stop"}', "No function call"),
        ('{"name": "stop", "arguments": {}, "extra": 1}', "No function call"),
        ('{"name": "stop", "arguments": {}} and more', "No function call"),
        ("[" * 100_000, "No function call"),
        ('{"name": "fly", "arguments": {}}', "There is no function 'fly'. Available: search, measure, stop."),
        ('{"name": ["stop"], "arguments": {}}', "There is no function"),
        ('{"name": "stop", "arguments": []}', "exactly these arguments: none"),
        ('{"name": "stop", "arguments": {"x": 1}}', "exactly these arguments: none"),
        ('{"name": "search", "arguments": {"keywords": "a"}}', "exactly these arguments: keywords, page"),
        ('{"name": "search", "arguments": {"keywords": 3, "page": 1}}', "'keywords' of search must be of type string"),
        ('{"name": "search", "arguments": {"keywords": "a", "page": true}}', "must be of type integer"),
        ('{"name": "search", "arguments": {"keywords": "a", "page": 1.0}}', "must be of type integer"),
        (2 * '<tool_call>{"name": "stop", "arguments": {}}</tool_call>', "Only one action"),
    ],
)
def test_calls_that_do_not_fit_say_why(text: str, says: str) -> None:
    with pytest.raises(InvalidAction) as refusal:
        parse_tool_call(text, TOOLS)
    assert says in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
CALL = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*TOOLS, "other"]) | JSON,
        "arguments": st.dictionaries(st.sampled_from([*"nbao", "keywords", "page"]), JSON) | JSON,
    }
)


@given(CALL | JSON)
def test_reading_json_gives_a_fitting_call_or_a_refusal(value: Any) -> None:
    with suppress(InvalidAction):
        call = parse_tool_call(json.dumps(value), TOOLS)
        assert call.name in TOOLS
        assert set(call.arguments) == set(TOOLS[call.name].parameters)


def test_every_json_type_is_checked() -> None:
    good = {"n": 0.5, "b": True, "a": [], "o": {}}
    assert parse_tool_call(format_tool_call(Call("measure", good)), TOOLS).arguments == good
    assert parse_tool_call(format_tool_call(Call("measure", {**good, "n": 3})), TOOLS).arguments["n"] == 3
    for name, wrong in {"n": "1", "b": 1, "a": {}, "o": []}.items():
        with pytest.raises(InvalidAction, match=f"'{name}' of measure"):
            parse_tool_call(format_tool_call(Call("measure", {**good, name: wrong})), TOOLS)


def test_the_published_schema() -> None:
    assert TOOLS["search"].schema() == {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Find.",
            "parameters": {
                "type": "object",
                "properties": {
                    "keywords": {"type": "string", "description": "words"},
                    "page": {"type": "integer", "description": "which page"},
                },
                "required": ["keywords", "page"],
                "additionalProperties": False,
            },
        },
    }
