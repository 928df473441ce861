"""Right or wrong: a pure function of the task and of what the submitted function gave on its calls."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmat_gym.core.task import Score

__all__ = ["Submission", "edit_similarity", "first_failure", "imports_module", "passed", "same_tree", "score_code",
           "similarity_gain", "without_docstring"]  # fmt: skip

_LONG_STRING = re.compile(r"^[ \t]*[rR]?(\"\"\"|''').*?\1[ \t]*\n", re.DOTALL | re.MULTILINE)


class Submission(NamedTuple):
    """What an agent handed in, and what became of it.

    Attributes:
        code: Its text.
        problem: Why it was not run: it is no Python, or lacks the function. Empty where it was run, or needs no run.
        error: Why there are no outcomes although it was run.
        outcomes: What each call of the task's tests gave: kind and text.
    """

    code: str
    problem: str = ""
    error: str = ""
    outcomes: tuple[tuple[str, str], ...] = ()


def score_code(payload: Mapping[str, Any], submission: Submission | None) -> Score:
    """1 where every test passes, or for tasks without tests where the syntax tree is the original's; else 0."""
    if submission is None or submission.problem:
        return Score(0.0, False, {"exact": False, "passed": 0.0})
    name = payload["qualname"].rpartition(".")[2]
    exact = same_tree(submission.code, payload["reference"], name)
    count = passed(payload, submission)
    right = count == len(payload["tests"]) if payload["tests"] else exact
    share = count / len(payload["tests"]) if payload["tests"] else float(exact)
    flagged = imports_module(submission.code, payload["module"])
    return Score(float(right), right, {"exact": exact, "passed": share, "imports_module": flagged})


def passed(payload: Mapping[str, Any], submission: Submission) -> int:
    """How many tests pass."""
    if submission.error or len(submission.outcomes) != len(payload["tests"]):
        return 0
    pairs = zip(payload["tests"], submission.outcomes, strict=True)
    return sum(tuple(test[1:]) == tuple(outcome) for test, outcome in pairs)


def first_failure(payload: Mapping[str, Any], submission: Submission) -> tuple[list[str], tuple[str, str]] | None:
    """The first test that does not pass, with what came out; None where all pass or none was run."""
    for test, outcome in zip(payload["tests"], submission.outcomes, strict=False):
        if tuple(test[1:]) != tuple(outcome):
            return list(test), outcome
    return None


def same_tree(code: str, reference: str, name: str) -> bool:
    """Whether both texts define the function by the same syntax tree; docstring and formatting do not count."""
    trees = [_function(text, name) for text in (code, reference)]
    return trees[0] is not None and trees[1] is not None and ast.dump(trees[0]) == ast.dump(trees[1])


def imports_module(code: str, module: str) -> bool:
    """Whether a text imports the module whose function it should write."""
    try:
        tree = _parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name == module for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            if module in names:
                return True
    return False


def edit_similarity(one: str, other: str) -> float:
    """Share of equal characters, in order: 1 for equal texts, 0 for texts without a common letter."""
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def similarity_gain(payload: Mapping[str, Any], code: str) -> float:
    """How far a text has come from the broken one to the original: 0 for a copy or worse, 1 for the original."""
    before = edit_similarity(payload["broken"], payload["reference"])
    return max(0.0, (edit_similarity(code, payload["reference"]) - before) / (1.0 - before))


def without_docstring(code: str) -> str:
    """The text without the docstring of its first function; where it does not parse, without its first long string."""
    try:
        tree = _parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _LONG_STRING.sub("", code, count=1)
    function = next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)
    if function is None or ast.get_docstring(function) is None or len(function.body) == 1:
        return code
    first, last = function.body[0].lineno, function.body[0].end_lineno
    lines = code.splitlines(keepends=True)
    if function.body[1].lineno == last or function.lineno == first:
        return code
    return "".join([*lines[: first - 1], *lines[last:]])


def _parse(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in what others wrote
        return ast.parse(code)


def _function(code: str, name: str) -> ast.FunctionDef | None:
    """The definition, without its docstring; None where there is none."""
    try:
        tree = _parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                node.body = node.body[1:]
            return node
    return None
