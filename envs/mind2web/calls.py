"""AutoWebBench: one page, one task, one call.

Pages are texts of nested `<tag[ID]| text children >`. Calls are read by a tokenizer of our own, never evaluated: some
recorded ones hold raw line breaks or quotes.

Source: Lai et al., "AutoWebGLM", 2024, github.com/THUDM/AutoWebGLM.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmat_gym.core.env import Outcome
from cmat_gym.core.errors import InvalidAction, TaskError
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task, TaskSource
from cmat_gym.envs.mind2web import prompts
from cmat_gym.envs.mind2web.play import Play

__all__ = ["AutoWebTasks", "CallPlay", "CallRecord", "page_ids", "parse_call", "score_call", "split_source"]

CHECKSUMS = {"autowebbench_en_ind.json.xz": "b5977b08524f6d173a9c1b72ef9994dcd397cb6c8f819289dff45c71223f6f81"}
TYPES: Mapping[str, Mapping[str, str]] = {
    "type_string": {"press_enter": "boolean"},
    "jump_to": {"new_tab": "boolean"},
    "switch_tab": {"tab_index": "integer"},
}
FREE_TEXT = ("finish", "user_input")  # whose argument is a sentence: scored by its name, the text apart

_ID = re.compile(r"<[a-z0-9_-]+\[([A-Z]+)\]\|")
_OPEN = re.compile(r"<[a-z0-9_-]+(?:\[[A-Z]+\])?\||<(?=[ \n])", re.IGNORECASE)
_ELEMENT = re.compile(r"[A-Z]+")
_CLOSE = re.compile(r">(?=[ \n>]|$)")
_NAME = re.compile(r"\s*([A-Za-z_]+)\s*\(")
_SECTIONS = re.compile(r"^#(Previous commands|Window tabs|Current viewport \(pages\)|Task): ?", re.MULTILINE)
_FUNCTIONS = "\n\nYou are a helpful assistant"
_ADVICE = "\n\nYou should output one command"
Literal = str | bool | int | None


# The records ----------------------------------------------------------------------------------------------------------


class CallRecord(NamedTuple):
    """A record's prompt, taken apart, and its target."""

    page: str
    previous: str
    tabs: str
    viewport: str
    task: str
    target: str


def split_source(source: str, target: str = "") -> CallRecord:
    """Take a prompt apart. The page comes first, then a block of function descriptions, then four sections.

    Raises:
        TaskError: A section is missing.
    """
    page, _, rest = source.partition(_FUNCTIONS)
    rest = rest.rpartition(_ADVICE)[0] or rest
    pieces = _SECTIONS.split(rest)
    sections = dict(zip(pieces[1::2], (piece.strip() for piece in pieces[2::2]), strict=True))
    if set(sections) != {"Previous commands", "Window tabs", "Current viewport (pages)", "Task"}:
        raise TaskError(f"This is no prompt of AutoWebBench: its sections are {sorted(sections)}")
    return CallRecord(
        page.strip(),
        sections["Previous commands"],
        sections["Window tabs"],
        sections["Current viewport (pages)"],
        sections["Task"],
        target,
    )


def page_ids(page: str) -> list[str]:
    """The ids of a page's elements, in order; this does not depend on whether the page balances."""
    return _ID.findall(page)


def balance(page: str) -> int:
    """Openings minus closings of a page's groups: 0 for a balanced page."""
    return len(_OPEN.findall(page)) - len(_CLOSE.findall(page))


# Calls ----------------------------------------------------------------------------------------------------------------


def parse_call(text: str) -> Call | None:
    """Read one call with literal arguments; None where the text is none.

    Strings in single or double quotes may hold line breaks, escaped quotes, and (in a last argument) bare quotes.
    """
    match = _NAME.match(text)
    text = text.rstrip()
    if match is None or not text.endswith(")"):
        return None
    values = _arguments(text[match.end() : -1])
    name = match[1]
    if values is None or name not in prompts.CALL_TOOLS:
        return None
    parameters = list(prompts.CALL_TOOLS[name][1])
    if name == "finish" and (not values or values == [None]):
        values = [""]
    if len(values) != len(parameters):
        return None
    types = TYPES.get(name, {})
    for parameter, value in zip(parameters, values, strict=True):
        kind = {"boolean": bool, "integer": int}.get(types.get(parameter, ""), str)
        if type(value) is not kind:
            return None
    if "element_id" in parameters and not _ELEMENT.fullmatch(str(values[0])):
        return None
    return Call(name, dict(zip(parameters, values, strict=True)))


def _arguments(text: str) -> list[Literal] | None:
    """The literals between a call's brackets."""
    values: list[Literal] = []
    rest = text.strip()
    while rest:
        if rest[0] in "'\"":
            end = _end_of_string(rest)
            if end is None:
                return None
            values.append(_unescape(rest[1:end]))
            rest = rest[end + 1 :].lstrip()
        else:
            word, comma, tail = rest.partition(",")
            value = _literal(word.strip())
            if value is _UNKNOWN:
                return None
            values.append(value)
            rest = f",{tail}" if comma else ""
        if rest and rest[0] != ",":
            return None
        if rest and not rest[1:].strip():
            return None  # a comma and nothing behind it
        rest = rest[1:].lstrip()
    return values


def _end_of_string(text: str) -> int | None:
    """Where the string that starts `text` ends: at a quote with a comma or nothing behind it."""
    quote, at = text[0], 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == quote and (not (tail := text[at + 1 :].lstrip()) or tail[0] == ","):
            return at
        at += 1
    return None


_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_UNKNOWN = object()


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)


def _literal(word: str) -> Any:
    if word in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[word]
    return int(word) if re.fullmatch(r"-?[0-9]{1,9}", word) else _UNKNOWN


def write_call(call: Call) -> str:
    """The inverse of `parse_call`."""
    if call.name == "finish" and not call.arguments["answer"]:
        return "finish()"
    return f"{call.name}({', '.join(_quote(value) for value in call.arguments.values())})"


def _quote(value: Any) -> str:
    if not isinstance(value, str):
        return repr(value)
    text = (
        value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )
    return f"'{text}'"


class CallScore(NamedTuple):
    """How a call compares with the recorded one. `text_f1` is about the sentence of `finish` and `user_input`."""

    operation: bool
    element: bool
    value: bool
    text_f1: float

    @property
    def success(self) -> bool:
        """All equal; a sentence does not count."""
        return self.operation and self.element and self.value


def score_call(predicted: Call | None, target: Call | None) -> CallScore:
    """Compare two calls."""
    if predicted is None or target is None or predicted.name != target.name:
        return CallScore(False, False, False, 0.0)
    if target.name in FREE_TEXT:
        (mine,), (gold,) = predicted.arguments.values(), target.arguments.values()
        return CallScore(True, True, True, _token_f1(str(mine), str(gold)))
    element = predicted.arguments.get("element_id") == target.arguments.get("element_id")
    rest = [[_normal(v) for k, v in call.arguments.items() if k != "element_id"] for call in (predicted, target)]
    return CallScore(True, element, rest[0] == rest[1], float(rest[0] == rest[1]))


def _normal(value: Any) -> Any:
    """Quotes made straight, white space collapsed."""
    if not isinstance(value, str):
        return value
    return " ".join(value.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}).split())


def _token_f1(predicted: str, gold: str) -> float:
    left, right = Counter(_normal(predicted).split()), Counter(_normal(gold).split())
    if not left or not right:
        return float(left == right)
    shared = sum((left & right).values())
    return 2 * shared / (sum(left.values()) + sum(right.values()))


# Tasks and play -------------------------------------------------------------------------------------------------------


class AutoWebTasks(TaskSource):
    """AutoWebBench's files: a folder `{en,zh}/{ind,ood}/test.json`, or one such file, maybe packed.

    Raises:
        TaskError: There is no such file, or it is damaged.
    """

    domain = "mind2web"
    name = "autowebbench"
    official = True

    def __init__(self, place: Path) -> None:
        self.place = place
        self._records = {split: _read_file(path) for split, path in find_files(place).items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its place."""
        return AutoWebTasks, (self.place,)

    def sizes(self) -> Mapping[str, int]:
        """Number of records by split."""
        return {split: len(records) for split, records in self._records.items()}

    def make(self, split: str, index: int) -> Task:
        """The record at `index`."""
        record = self._records[split][index]
        payload = {"source": record["source"], "target": record["target"]}
        instruction = split_source(record["source"]).task
        return Task(self.task_id(split, index), self.domain, split, self.name, instruction, payload, 1)


def find_files(place: Path) -> dict[str, Path]:
    """AutoWebBench's files in a folder, or a file itself; empty where there are none."""
    if place.is_file():
        named = re.search(r"(en|zh)_(ind|ood)", place.name)
        return {f"{named[1]}-{named[2]}" if named else "test": place}
    found = {
        f"{language}-{kind}": place / language / kind / "test.json"
        for language in ("en", "zh")
        for kind in ("ind", "ood")
    }
    found = {split: path for split, path in found.items() if path.exists()}
    for folder in (place, place / "mind2web"):
        for path in sorted(folder.glob("autowebbench_*.json*")):
            found.update(find_files(path))
    return found


def _read_file(path: Path) -> Sequence[Mapping[str, str]]:
    try:
        data = path.read_bytes()
        expected = CHECKSUMS.get(path.name)
        if expected and (actual := hashlib.sha256(data).hexdigest()) != expected:
            raise TaskError(f"{path} is damaged: its SHA-256 is {actual}, expected {expected}; fetch the file again")
        records = json.loads(lzma.decompress(data) if path.suffix == ".xz" else data)
        if not isinstance(records, list) or not all({"source", "target"} <= set(record) for record in records):
            raise TaskError(f"{path} holds no records with a source and a target")
    except (OSError, EOFError, lzma.LZMAError, ValueError, TypeError) as error:
        if isinstance(error, TaskError):
            raise
        raise TaskError(f"{path} cannot be read ({error}); fetch the file again") from error
    return records


class CallPlay(Play):
    """One record, one turn."""

    tools = tuple(
        Tool(name, text, parameters, TYPES.get(name, {})) for name, (text, parameters) in prompts.CALL_TOOLS.items()
    )
    text_prompt = prompts.CALLS_TEXT_PROMPT
    tools_prompt = prompts.CALLS_TOOLS_PROMPT

    def begin(self, task: Task) -> str:
        if not {"source", "target"} <= set(task.payload):
            raise TaskError(f"Task {task.id!r} is none of AutoWebBench: play it in the environment it comes from")
        self.record = split_source(task.payload["source"], task.payload["target"])
        self._said: Call | None = None
        record = self.record
        return prompts.CALL_OBSERVATION.format(
            task=record.task, previous=record.previous, tabs=record.tabs, viewport=record.viewport, page=record.page
        )

    def parse(self, action: str) -> Call:
        call = parse_call(action)
        if call is None:
            raise InvalidAction(prompts.NOT_A_CALL)
        return call

    def write(self, call: Call) -> str:
        return write_call(call)

    def apply(self, call: Call) -> Outcome:
        self._said = call
        return Outcome(prompts.STEPS_OVER, terminated=True)

    def score(self) -> Score:
        score = score_call(self._said, parse_call(self.record.target))
        details = {
            "operation": score.operation,
            "element": score.element,
            "value": score.value,
            "text_f1": score.text_f1,
        }
        return Score(float(score.success), score.success, details)

    def get_state(self) -> Any:
        return None if self._said is None else [self._said.name, dict(self._said.arguments)]

    def set_state(self, state: Any) -> None:
        self._said = None if state is None else Call(*state)

    def admissible(self) -> list[Call] | None:
        return None

    def expert(self) -> Call:
        call = parse_call(self.record.target)
        return Call("finish", {"answer": ""}) if call is None else call

    def thought(self) -> str:
        return prompts.THINK_STEP

    def cost_to_go(self) -> float:
        return 1.0 if self._said is None else (0.0 if self.score().success else float("inf"))

    def summary(self) -> str:
        return prompts.SUMMARY_DONE if self._said is not None else prompts.SUMMARY_STEP.format(number=1, count=1)
