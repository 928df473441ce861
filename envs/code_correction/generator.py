"""Builtin tasks: functions of the standard library with seeded mistakes.

Splits never meet, as they share no module. A mistake counts only where a call shows it: mutants that do what the
original does, or that do not come to an end, are thrown away (`BuiltinCodeTasks.tried` counts them). Train draws
functions by chance and mostly one mistake; the panels take the functions in turn.
"""

from __future__ import annotations

import ast
import doctest
import hashlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import count
from typing import Any, NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.core.errors import BackendError, TaskError, UsageError, choose
from cmat_gym.core.sandbox.interpreter import Outcome
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.code_correction import prompts
from cmat_gym.envs.code_correction.arguments import fill
from cmat_gym.envs.code_correction.backend import record
from cmat_gym.envs.code_correction.functions import Function, library_folder, read_functions, table
from cmat_gym.envs.code_correction.mutations import KINDS, Code, Edit, apply
from cmat_gym.envs.code_correction.renaming import rename
from cmat_gym.envs.code_correction.slips import SLIPS

__all__ = ["NAMES", "BuiltinCodeTasks", "Exercise", "Mutant", "exercise", "find_function"]

MAX_TURNS = 1
NAMES = ("original", "renamed")
SIZES = {"train": 2**31, "dev": 120, "test": 240}
CALLS = 14  # per function
LONGEST_RESULT = 600
ATTEMPTS = 200
KEPT = 4096  # tasks that are not made again
MISTAKES = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)  # drawn from
SLIP = 0.15  # how often the last mistake is one of the pen
UNTESTED = 0.08  # how often train takes a function that only syntax is asked of
_BASE = "builtin-v0"


class Test(NamedTuple):
    """A source and what the original makes of it."""

    source: str
    outcome: Outcome


class Exercise(NamedTuple):
    """A function, ready to be broken: its text, and what its calls should give."""

    function: Function
    reference: str
    tests: tuple[Test, ...]
    kind: str  # where the tests come from: doctest (and recorded ones besides), recorded, none


class Mutant(NamedTuple):
    """A broken text, and the steps to it."""

    text: str
    mutations: tuple[Mapping[str, Any], ...]
    failing: Test | None  # the first test that shows it, with what came out; None where it does not even run


def find_function(name: str) -> Function:
    """The function of that name in the library of this Python.

    Raises:
        TaskError: There is none.
    """
    functions = read_functions(library_folder())
    if name not in functions:
        raise TaskError(f"The standard library of this Python has no function {name!r} that tasks can be made of")
    return functions[name]


@lru_cache(maxsize=512)
def exercise(name: str, names: str = "original") -> Exercise:
    """A function with its tests, recorded from the original.

    Raises:
        BackendError: The original could not be run.
    """
    function = find_function(name)
    if not function.calls:
        reference = rename(function.reference, parameters=False) if names == "renamed" else function.reference
        return Exercise(function, reference, (), "none")
    documented = _doctests(function)
    dice = Dice(int(hashlib.sha256(function.name.encode()).hexdigest()[:12], 16))
    templates = [function.calls[number % len(function.calls)] for number in range(CALLS)]
    sources = tuple(dict.fromkeys([*(test.source for test in documented), *(fill(t, dice) for t in templates)]))
    report = record(function, function.reference, sources)
    if report.error:
        raise BackendError(f"{name} of this Python cannot be run in the sandbox: {report.error}")
    wanted = {test.source: test.outcome for test in documented}
    tests = tuple(
        Test(source, outcome)
        for source, outcome in zip(sources, report.outcomes, strict=True)
        if outcome == wanted.get(source, outcome) and _lasting(outcome)
    )
    kind = "doctest" if any(test.source in wanted for test in tests) else "recorded"
    reference = _rename(function, tests) if names == "renamed" else function.reference
    return Exercise(function, reference, tests, kind)


def _lasting(outcome: Outcome) -> bool:
    """Whether a result is the same another time: no address, not cut."""
    return outcome.kind != "fuel" and " at 0x" not in outcome.text and len(outcome.text) <= LONGEST_RESULT


def _doctests(function: Function) -> list[Test]:
    """The examples of the docstring that are one expression; those before them that are none set them up."""
    docstring = ast.get_docstring(Code(function.reference).function) or ""
    setup: list[str] = []
    found: list[Test] = []
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:
        return []
    for example in examples:
        source = example.source.rstrip("\n")
        if not example.want and "\n" not in source:
            setup.append(source)
        elif example.exc_msg:
            error = example.exc_msg.partition(":")[0].strip().rpartition(".")[2]
            found.append(Test("\n".join([*setup, source]), Outcome("error", error)))
        elif "\n" not in source:
            found.append(Test("\n".join([*setup, source]), Outcome("value", example.want.rstrip("\n"))))
    return found


def _rename(function: Function, tests: tuple[Test, ...]) -> str:
    """The function with other names, as many as can be changed without changing what it does."""
    for parameters in (True, False):
        text = rename(function.reference, parameters=parameters)
        report = record(function, text, tuple(test.source for test in tests))
        if not report.error and report.outcomes == tuple(test.outcome for test in tests):
            return text
    return function.reference


@lru_cache(maxsize=1024)
def _edits(text: str) -> Mapping[str, tuple[Edit, ...]]:
    """All edits of a text, by kind; none of one that does not parse."""
    try:
        code = Code(text)
    except SyntaxError:
        return {}
    return {kind: found for kind, edits in {**KINDS, **SLIPS}.items() if (found := tuple(edits(code)))}


def _draw(dice: Dice, text: str, kinds: Mapping[str, Any]) -> Edit | None:
    edits = _edits(text)
    possible = [kind for kind in kinds if kind in edits]
    return dice.pick(edits[dice.pick(possible)]) if possible else None


def _step(text: str, edit: Edit) -> dict[str, Any]:
    line = text.count("\n", 0, edit.start) + 1
    lines, after = text.splitlines(), apply(text, edit).splitlines()
    shown = [side[line - 1].strip() if line <= len(side) else "" for side in (lines, after)]
    return {"kind": edit.kind, "line": line, "before": shown[0], "after": shown[1]}


def parses(text: str) -> bool:
    """Whether a text of our own is Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<function>", "exec")
        except (SyntaxError, ValueError):
            return False
    return True


class BuiltinCodeTasks(TaskSource):
    """Broken functions: a practically endless `train` split, and panels for `dev` and `test`.

    The panels hold functions whose text is known (`data/sources.json`) only. The name of the source says so where the
    functions of this Python are others than the ones that the published manifest was made of.

    Args:
        seed: Another seed gives other mistakes, with other ids.
        names: `original`, or `renamed` for functions with other names of variables.

    Raises:
        UsageError: The seed is negative.
        UnknownNameError: Unknown `names`.
    """

    domain = "code_correction"

    def __init__(self, seed: int = 0, names: str = "original") -> None:
        if seed < 0:
            raise UsageError(f"task_seed must be 0 or more, got {seed}")
        self.seed = seed
        self.names = choose("names", names, NAMES)
        functions = read_functions(library_folder()).values()
        self.functions = {
            split: tuple(f.name for f in functions if f.split == split and (f.frozen or split == "train"))
            for split in SIZES
        }
        variant = ("" if seed == 0 else f"-seed{seed}") + ("" if names == "original" else f"-{names}")
        self.fingerprint = content_hash([[f.name, f.sha256] for f in functions])[:8]
        self.name = f"{_BASE}{variant}" + ("" if self.fingerprint == _published() else f"+{self.fingerprint}")
        self.tried: Counter[str] = Counter()  # mutants by what became of them
        self._made: dict[tuple[str, int], Task] = {}
        self._panels: dict[tuple[str, str], list[Mutant]] = {}

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again where it is unpickled, without what was drawn so far."""
        return BuiltinCodeTasks, (self.seed, self.names)

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`; the last ones made are kept."""
        key = split, index
        if key not in self._made:
            if len(self._made) >= KEPT:
                self._made.clear()
            self._made[key] = self._make(split, index)
        return self._made[key]

    def _make(self, split: str, index: int) -> Task:
        found, mutant = self._train(index) if split == "train" else self._panel(split, index)
        function = found.function
        payload = {
            "module": function.source.module,
            "qualname": function.qualname,
            "python": "{}.{}".format(*sys.version_info),
            "broken": mutant.text,
            "reference": found.reference,
            "mutations": [dict(mutation) for mutation in mutant.mutations],
            "tests": [[test.source, *test.outcome] for test in found.tests],
            "tests_kind": found.kind,
            "failing": None if mutant.failing is None else [mutant.failing.source, *mutant.failing.outcome],
            "difficulty": len(mutant.mutations),
            "frozen": function.frozen,
        }
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=prompts.problem(function.source.module, function.qualname, mutant.text),
            payload=payload,
            max_turns=MAX_TURNS,
        )

    def _train(self, index: int) -> tuple[Exercise, Mutant]:
        dice = Dice(self.seed, 0, index)
        names = self.functions["train"]
        untested = set(_untested())
        pools = [[n for n in names if n not in untested], [n for n in names if n in untested]]
        while True:
            found = exercise(dice.pick(pools[dice.chance(UNTESTED)]), self.names)
            mutant = self._mutant(found, dice, dice.pick(MISTAKES), set())
            if mutant is not None:
                return found, mutant

    def _panel(self, split: str, index: int) -> tuple[Exercise, Mutant]:
        """Functions in turn; no broken text comes twice."""
        order = Dice(self.seed, 1).sample(self.functions[split], len(self.functions[split]))
        name, number = order[index % len(order)], index // len(order)
        found = exercise(name, self.names)
        made = self._panels.setdefault((split, name), [])
        while len(made) <= number:
            dice = Dice(self.seed, 2, int(hashlib.sha256(name.encode()).hexdigest()[:12], 16), len(made))
            taken = {mutant.text for mutant in made}
            wanted = dice.pick(MISTAKES)
            drawn = (self._mutant(found, dice, wanted + more, taken) for more in count())
            made.append(next(mutant for mutant in drawn if mutant is not None))
        return found, made[number]

    def _mutant(self, found: Exercise, dice: Dice, mistakes: int, taken: set[str]) -> Mutant | None:
        """A broken text that is not taken; None where many tries gave none."""
        for _ in range(ATTEMPTS):
            text, steps = found.reference, list[dict[str, Any]]()
            for number in range(mistakes if found.tests else 1):
                last = number == mistakes - 1
                slips = not found.tests or (last and dice.chance(SLIP))
                edit = _draw(dice, text, SLIPS if slips else KINDS)
                if edit is None:
                    break
                steps.append(_step(text, edit))
                text = apply(text, edit)
            fate, failing = _fate(found, text, steps) if text not in {found.reference, *taken} else ("repeated", None)
            self.tried[fate] += 1
            if fate == "kept":
                return Mutant(text, tuple(steps), failing)
        return None


def _fate(found: Exercise, text: str, steps: Sequence[Mapping[str, Any]]) -> tuple[str, Test | None]:
    """Whether a text is kept, with the first test that fails on it; or why it is not."""
    if not parses(text):
        return "kept", None
    if not found.tests:
        return ("kept" if steps[-1]["kind"] == "name" else "equivalent"), None
    report = record(found.function, text, tuple(test.source for test in found.tests))
    if report.error in ("timeout", "crash", "exit") or any(outcome.kind == "fuel" for outcome in report.outcomes):
        return "endless", None
    if report.error:
        return "kept", None
    for test, outcome in zip(found.tests, report.outcomes, strict=True):
        if outcome != test.outcome:
            return "kept", Test(test.source, outcome)
    return "equivalent", None


@lru_cache(maxsize=1)
def _published() -> str:
    """The fingerprint of the functions that the first manifest is about; the tasks of others have other ids."""
    text = (files("cmat_gym.envs.code_correction") / "data" / "manifest.json").read_text(encoding="utf-8")
    return next(iter(json.loads(text)), "")


@lru_cache(maxsize=1)
def _untested() -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for module, entry in table().items() for name in entry.get("untested", ()))
