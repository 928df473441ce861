"""AutoWebBench: prompts and calls, by made-up cases and over all its records."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError
from cmat_gym.core.protocol import Call
from cmat_gym.envs.mind2web.calls import balance, page_ids, parse_call, score_call, split_source, write_call

MIND2WEB = "cmat/Mind2Web-v0"
DATA = "mind2web/autowebbench_en_ind.json.xz"
SOURCE = (
    "< <h1| Tern Library> <input[A]| Title> <button[BC]| Find> >\n\nYou are a helpful assistant that …\ndef click(…)"
    "\n\n"
    "#Previous commands: None\n\n#Window tabs: 1. Tern <-- current tab\n\n#Current viewport (pages): 0 / 1.0\n\n"
    "#Task: Look up 'Heron' .\n\nYou should output one command to interact to the currrent webpage."
)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("click('A')", "click", ["A"]),
        ('click("A")', "click", ["A"]),
        (" hover( 'BC' ) ", "hover", ["BC"]),
        ("type_string('A', 'Heron', True)", "type_string", ["A", "Heron", True]),
        ("type_string('A', 'it\\'s, \"so\"', False)", "type_string", ["A", 'it\'s, "so"', False]),
        ("type_string('A', 'it's here', False)", "type_string", ["A", "it's here", False]),  # a bare quote
        ("select('A', 'Two, three')", "select", ["A", "Two, three"]),
        ("scroll_page('down')", "scroll_page", ["down"]),
        ("switch_tab(2)", "switch_tab", [2]),
        ("jump_to('http://x.org', False)", "jump_to", ["http://x.org", False]),
        ("finish()", "finish", [""]),
        ("finish(None)", "finish", [""]),
        ("finish('two\nlines')", "finish", ["two\nlines"]),
        ("finish('two\\nlines')", "finish", ["two\nlines"]),
        ("user_input('Please log in (now).')", "user_input", ["Please log in (now)."]),
    ],
)
def test_calls_are_read(text: str, name: str, arguments: list[Any]) -> None:
    call = parse_call(text)
    assert call is not None
    assert (call.name, list(call.arguments.values())) == (name, arguments)
    assert parse_call(write_call(call)) == call


@pytest.mark.parametrize(
    "text",
    [
        "", "click", "click(", "click()", "click(A)", "click('A'", "click('A', 'B')", "click('A',)", "press('A')",
        "click('A') click('B')", "click('A'); import os", "type_string('A', 'x', 'True')", "type_string('A', 'x', 1)",
        "switch_tab('1')", "switch_tab(True)", "switch_tab(1.5)", "finish(print('x'))", "__import__('os').abort()",
        "click('A' + 'B')", "click(f'A')", "finish('a' 'b'", "click(['A'])", "click(None)",
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused(text: str) -> None:
    assert parse_call(text) is None


@given(st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_call_or_none_and_any_string_survives(text: str) -> None:
    assert parse_call(text) is None or isinstance(parse_call(text), Call)
    for call in (
        Call("finish", {"answer": text}),
        Call("type_string", {"element_id": "A", "content": text, "press_enter": True}),
    ):
        assert parse_call(write_call(call)) == call


def test_prompts_are_taken_apart() -> None:
    record = split_source(SOURCE)
    assert record.page == "< <h1| Tern Library> <input[A]| Title> <button[BC]| Find> >"
    assert (record.previous, record.tabs, record.viewport) == ("None", "1. Tern <-- current tab", "0 / 1.0")
    assert record.task == "Look up 'Heron' ."
    assert page_ids(record.page) == ["A", "BC"]
    assert balance(record.page) == 0
    with pytest.raises(TaskError, match="sections"):
        split_source("just a page")


def test_ids_do_not_depend_on_balance_or_on_brackets_in_text() -> None:
    page = "< <a[A]| 3 < 4 > 2> <p| price <b> [B] <input[C]| >"
    assert page_ids(page) == ["A", "C"]
    assert balance("< <a[A]| x> ") == 1


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        ("click('A')", "click('A')", (True, True, True, 1.0)),
        ("click('B')", "click('A')", (True, False, True, 1.0)),
        ("hover('A')", "click('A')", (False, False, False, 0.0)),
        ("type_string('A', ' new  york', False)", "type_string('A', 'new york', False)", (True, True, True, 1.0)),
        ("type_string('A', '“new york”', False)", "type_string('A', '\"new york\"', False)", (True, True, True, 1.0)),
        ("type_string('A', 'new york', True)", "type_string('A', 'new york', False)", (True, True, False, 0.0)),
        ("type_string('A', 'New York', False)", "type_string('A', 'new york', False)", (True, True, False, 0.0)),
        ("scroll_page('up')", "scroll_page('down')", (True, True, False, 0.0)),
        ("finish('the red fox')", "finish('the fox')", (True, True, True, 0.8)),
        ("finish()", "finish('the fox')", (True, True, True, 0.0)),
        ("finish()", "finish()", (True, True, True, 1.0)),
        ("nonsense", "finish()", (False, False, False, 0.0)),
    ],
)
def test_calls_are_compared(predicted: str, target: str, expected: tuple[bool, bool, bool, float]) -> None:
    score = score_call(parse_call(predicted), parse_call(target))
    assert tuple(score) == pytest.approx(expected)
    assert score.success is all(expected[:3])


# The records ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records(data_file: Callable[[str], Path]) -> list[dict[str, str]]:
    return json.loads(lzma.decompress(data_file(DATA).read_bytes()))  # type: ignore[no-any-return]


def test_every_record_is_read(records: list[dict[str, str]]) -> None:
    names: Counter[str] = Counter()
    on_page = 0
    for record in records:
        parts, call = split_source(record["source"]), parse_call(record["target"])
        assert call is not None
        names[call.name] += 1
        ids = page_ids(parts.page)
        assert len(ids) == len(set(ids))
        assert balance(parts.page) == 0
        if "element_id" in call.arguments:
            on_page += call.arguments["element_id"] in ids
    assert names == {
        "click": 183,
        "finish": 79,
        "scroll_page": 38,
        "go": 16,
        "hover": 16,
        "type_string": 11,
        "user_input": 6,
    }
    assert on_page == 210
    assert max(len(record["source"]) for record in records) == 21_833


@pytest.mark.parametrize("protocol", ["text", "tools"])
def test_the_oracle_scores_one_on_every_record(data_file: Callable[[str], Path], protocol: str) -> None:
    folder = data_file(DATA).parent.parent
    env = gym.make(MIND2WEB, source=folder, split="en-ind", protocol=protocol, memory=None)
    assert len(base_env(env).split) == 349
    for index in range(349):
        observation, _ = env.reset(options={"task": index})
        assert base_env(env).task.instruction in observation
        _, reward, terminated, _, info = env.step(base_env(env).expert_action())
        assert (reward, terminated, info["success"]) == (1.0, True, True)


@pytest.mark.parametrize(("answer", "right"), [("finish()", 79), ("scroll_page('down')", None), ("click('A')", None)])
def test_a_constant_answer_scores_its_frequency(
    data_file: Callable[[str], Path], records: list[dict[str, str]], answer: str, right: int | None
) -> None:
    if right is None:
        right = sum(parse_call(record["target"]) == parse_call(answer) for record in records)
    env = gym.make(MIND2WEB, source=data_file(DATA), split="en-ind", memory=None)
    total = 0.0
    for index in range(349):
        env.reset(options={"task": index})
        total += float(env.step(answer)[1])
    assert total == right


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "autowebbench_en_ind.json.xz"
    path.write_bytes(b"not the file")
    with pytest.raises(TaskError, match="SHA-256"):
        gym.make(MIND2WEB, source=path, split="en-ind")
    (tmp_path / "en" / "ood").mkdir(parents=True)
    (tmp_path / "en" / "ood" / "test.json").write_text('[{"source": 1}]', encoding="utf-8")
    path.unlink()
    with pytest.raises(TaskError, match=r"test\.json"):
        gym.make(MIND2WEB, source=tmp_path, split="en-ood")


def test_the_folder_layout_of_the_checkout_is_read(tmp_path: Path) -> None:
    for language, kind in (("en", "ind"), ("zh", "ood")):
        (tmp_path / language / kind).mkdir(parents=True)
        record = {"source": SOURCE, "target": "type_string('A', 'Heron', True)"}
        (tmp_path / language / kind / "test.json").write_text(json.dumps([record]), encoding="utf-8")
    env = gym.make(MIND2WEB, source=tmp_path, split="zh-ood", memory=None)
    env.reset(seed=0)
    assert set(base_env(env).tasks.sizes()) == {"en-ind", "zh-ood"}
    assert env.step("I think.\nAction: click('A')")[1] == 0.0
