"""The score as a pure function, against values that were worked out by hand."""

from __future__ import annotations

import pytest

from cmat_gym.envs.code_correction.scorer import (
    Submission,
    edit_similarity,
    first_failure,
    imports_module,
    passed,
    same_tree,
    score_code,
    similarity_gain,
    without_docstring,
)

PAYLOAD = {
    "module": "demo.inner",
    "qualname": "Mean.of",
    "broken": "def of(xs):\n    return sum(xs) / (len(xs) + 1)\n",
    "reference": "def of(xs):\n    return sum(xs) / len(xs)\n",
    "tests": [["of([1, 3])", "value", "2.0"], ["of([])", "error", "ZeroDivisionError"]],
}
UNTESTED = {**PAYLOAD, "tests": []}
ALL = (("value", "2.0"), ("error", "ZeroDivisionError"))


@pytest.mark.parametrize(
    ("submission", "value", "share"),
    [
        (None, 0.0, 0.0),
        (Submission("", problem="no Python"), 0.0, 0.0),
        (Submission("def of(xs): pass", outcomes=ALL), 1.0, 1.0),
        (Submission("def of(xs): pass", outcomes=(ALL[0], ("value", "0"))), 0.0, 0.5),
        (Submission("def of(xs): pass", outcomes=(ALL[0], ("value", "ZeroDivisionError"))), 0.0, 0.5),
        (Submission("def of(xs): pass", outcomes=(ALL[0], ("error", "TypeError"))), 0.0, 0.5),
        (Submission("def of(xs): pass", outcomes=ALL[:1]), 0.0, 0.0),
        (Submission("def of(xs): pass", outcomes=(*ALL, ALL[0])), 0.0, 0.0),
        (Submission("def of(xs): pass", error="crash", outcomes=ALL), 0.0, 0.0),
    ],
)
def test_every_test_must_pass(submission: Submission | None, value: float, share: float) -> None:
    score = score_code(PAYLOAD, submission)
    assert (score.value, score.success, score.details["passed"]) == (value, value == 1.0, share)


def test_without_tests_the_tree_decides() -> None:
    assert score_code(UNTESTED, Submission(PAYLOAD["reference"])).success
    assert score_code(UNTESTED, Submission("def of(xs):\n\n    'Doc.'\n    return (sum(xs)/len(xs))")).success
    assert not score_code(UNTESTED, Submission(PAYLOAD["broken"])).success
    assert not score_code(UNTESTED, Submission("def of(ys):\n    return sum(ys) / len(ys)\n")).success


def test_counting_and_the_first_failure() -> None:
    submission = Submission("x", outcomes=(("value", "2.0"), ("value", "None")))
    assert passed(PAYLOAD, submission) == 1
    assert first_failure(PAYLOAD, submission) == (["of([])", "error", "ZeroDivisionError"], ("value", "None"))
    assert first_failure(PAYLOAD, Submission("x", outcomes=ALL)) is None


def test_same_tree() -> None:
    assert same_tree("def f(a):\n  return a", "@d\ndef f(a): return a", "f") is False
    assert same_tree("import x\ndef f(a): return (a)", "def f(a):\n    'Doc'\n    return a", "f")
    assert same_tree("def f(", "def f(", "f") is False


def test_similarity_gain() -> None:
    assert edit_similarity("abcd", "abxd") == 0.75
    assert similarity_gain(PAYLOAD, PAYLOAD["broken"]) == 0.0
    assert similarity_gain(PAYLOAD, "nonsense") == 0.0
    assert similarity_gain(PAYLOAD, PAYLOAD["reference"]) == 1.0
    assert 0.0 < similarity_gain(PAYLOAD, "def of(xs):\n    return sum(xs) / (len(xs))\n") < 1.0


@pytest.mark.parametrize(
    ("code", "flagged"),
    [
        ("import demo.inner", True),
        ("from demo import inner as x", True),
        ("from demo.inner import Mean", True),
        ("def of():\n    import demo.inner", True),
        ("import demo", False),
        ("from . import inner", False),
        ("import (", False),
    ],
)
def test_imports_are_flagged(code: str, flagged: bool) -> None:
    assert imports_module(code, "demo.inner") is flagged


def test_without_docstring() -> None:
    assert without_docstring('def f():\n    """A\n    b."""\n    return 1\n') == "def f():\n    return 1\n"
    assert without_docstring('def f(:\n    """A\n    b."""\n    return 1\n') == "def f(:\n    return 1\n"
    assert without_docstring("def f():\n    return 1\n") == "def f():\n    return 1\n"
    assert without_docstring('def f():\n    """Alone."""\n') == 'def f():\n    """Alone."""\n'
