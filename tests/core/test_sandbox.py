"""The interpreter in a cage: what it reports, its limits, and that nothing of one program reaches the next."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cmat_gym.core.errors import BackendError
from cmat_gym.core.sandbox.interpreter import Interpreter, Outcome, Program, open_interpreters
from cmat_gym.core.sandbox.limits import Limits, SandboxDied

SMALL = Limits(memory=96 << 20, processes=8, disk=1 << 20, inodes=100, file_size=1 << 16, cpu_seconds=4, open_files=32,
               command_seconds=1.5)  # fmt: skip


@pytest.fixture
def interpreter() -> Iterator[Interpreter]:
    try:
        found = open_interpreters().start(SMALL)
    except BackendError as error:
        if "namespace" in os.environ.get("CMAT_GYM_TEST_BACKENDS", "").split(","):
            raise
        pytest.skip(str(error))
    yield found
    found.close()


def program(text: str, *sources: str, module: str = "colorsys", fuel: int | None = None) -> Program:
    return Program(module, False, text, sources, fuel)


def test_values_errors_and_statements(interpreter: Interpreter) -> None:
    report = interpreter.run(program("def f(x):\n    return 1 / x", "f(2)", "f(0)", "y = f(4)\ny + 1", "1 +", "exit()"))
    assert report.error == ""
    assert report.outcomes == (
        Outcome("value", "0.5"),
        Outcome("error", "ZeroDivisionError"),
        Outcome("value", "1.25"),
        Outcome("error", "SyntaxError"),
        Outcome("error", "NameError"),
    )


def test_a_submodule_and_a_package_are_replaced(interpreter: Interpreter) -> None:
    report = interpreter.run(program("x = 1", "x", "__import__('email').utils.x", module="email.utils"))
    assert [outcome.text for outcome in report.outcomes] == ["1", "1"]
    package = Program("html", True, "from html.entities import html5\nx = len(html5) > 9", ("x", "html.x"))
    assert [outcome.text for outcome in interpreter.run(package).outcomes] == ["True", "True"]


def test_programs_do_not_see_one_another(interpreter: Interpreter) -> None:
    interpreter.run(program("import builtins\nbuiltins.left = 1"))
    [outcome] = interpreter.run(program("", "left")).outcomes
    assert outcome == Outcome("error", "NameError")


@pytest.mark.parametrize(
    ("text", "source", "error"),
    [
        ("raise ValueError('no')", "1", "ValueError"),
        ("def f(:", "1", "SyntaxError"),
        ("while True: pass", "1", "timeout"),
        ("import os; os._exit(0)", "1", "exit"),
        ("import os; os._exit(3)", "1", "crash"),
        ("import os; os.kill(os.getpid(), 11)", "1", "crash"),
        ("import os; os.write(3, b'[]'); os._exit(0)", "1", "exit"),
        ("import os; os.write(3, b'{' * 100_000); os._exit(0)", "1", "exit"),
        ("import os\nif os.fork(): os._exit(0)\nimport time; time.sleep(9)", "1", "timeout"),
    ],
)
def test_what_gives_no_outcomes(interpreter: Interpreter, text: str, source: str, error: str) -> None:
    report = interpreter.run(program(text, source))
    assert (report.error, report.outcomes) == (error, ())
    assert interpreter.run(program("", "1 + 1")).outcomes == (Outcome("value", "2"),), "the cage still works"


def test_fuel_is_counted_in_lines(interpreter: Interpreter) -> None:
    text = "def f(n):\n    for i in range(n):\n        n += 1\n    return n\n"
    text += "def g():\n    try:\n        f(10**9)\n    except BaseException:\n        return 1"
    report = interpreter.run(program(text, "f(10)", "f(10**9)", "g()", "f(20)", fuel=1000))
    assert [outcome.kind for outcome in report.outcomes] == ["value", "fuel", "fuel", "value"]


def test_memory_is_limited(interpreter: Interpreter) -> None:
    report = interpreter.run(program("", "len(bytearray(1 << 30))", "1"))
    assert report.error == "crash" or report.outcomes == (Outcome("error", "MemoryError"), Outcome("value", "1"))


def test_long_results_are_cut(interpreter: Interpreter) -> None:
    [outcome] = interpreter.run(program("", "'x' * 10**6")).outcomes
    assert len(outcome.text) == 2000


def test_the_interpreter_is_this_one(interpreter: Interpreter) -> None:
    [outcome] = interpreter.run(program("import sys", "sys.version")).outcomes
    assert outcome.text == repr(sys.version)


def test_a_closed_cage_is_gone(interpreter: Interpreter) -> None:
    interpreter.close()
    with pytest.raises(SandboxDied):
        interpreter.run(program("", "1"))


def test_a_spare_is_kept_for_each_set_of_limits(interpreter: Interpreter) -> None:
    cages = open_interpreters()
    assert SMALL in cages._spares
    other = cages.start(replace(SMALL, processes=9))
    assert other.run(program("", "1")).outcomes == (Outcome("value", "1"),)
    other.close()


def _child(queue: multiprocessing.Queue[object]) -> None:
    found = open_interpreters().start(SMALL)
    queue.put(found.run(program("", "6 * 7")).outcomes[0].text)
    found.close()


def test_a_forked_process_gets_its_own(interpreter: Interpreter) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[object] = context.Queue()
    process = context.Process(target=_child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == "42"
    process.join()
    assert interpreter.run(program("", "1")).outcomes == (Outcome("value", "1"),), "the parent's cage is as it was"
