"""Tasks: real functions, really broken; splits apart; the same on every machine with the same library."""

from __future__ import annotations

import _imp
import importlib
import inspect
import json
import pickle
import subprocess
import sys
import warnings
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.sandbox import keeper
from cmat_gym.core.task import Task
from cmat_gym.envs.code_correction.arguments import KINDS, fill
from cmat_gym.envs.code_correction.backend import judge, record
from cmat_gym.envs.code_correction.freeze import READ
from cmat_gym.envs.code_correction.functions import library_folder, read_functions, table
from cmat_gym.envs.code_correction.generator import BuiltinCodeTasks, exercise, find_function, parses
from cmat_gym.envs.code_correction.tasks import open_tasks

FUNCTIONS = read_functions(library_folder())


def modules_of(split: str) -> set[str]:
    return {function.source.module for function in FUNCTIONS.values() if function.split == split}


def test_splits_share_no_module() -> None:
    splits = [modules_of(split) for split in ("train", "dev", "test")]
    assert all(len(modules) >= 6 for modules in splits)
    assert sum(map(len, splits)) == len(set().union(*splits))
    assert {task.payload["module"] for task in open_tasks().split("dev")[:40]} <= modules_of("dev")


@pytest.mark.slow
def test_the_manifest() -> None:
    """Of the libraries that were looked at; another one gives other tasks under other ids."""
    manifests = json.loads((files("cmat_gym.envs.code_correction") / "data" / "manifest.json").read_text())
    tasks = open_tasks()
    if tasks.fingerprint not in manifests:
        assert tasks.name.startswith("builtin-v0+")
        pytest.skip(f"no manifest for the library of Python {sys.version.split()[0]} ({tasks.fingerprint})")
    for split, size in tasks.sizes().items():
        published = manifests[tasks.fingerprint][split]
        assert published["size"] == READ.get(split, size)
        assert tasks.split(split).manifest(published["size"])._asdict() == published


def test_no_text_comes_twice_in_a_panel() -> None:
    for split in ("dev", "test"):
        texts = [task.payload["broken"] for task in open_tasks().split(split)]
        assert len(set(texts)) == len(texts)


def sample() -> list[Task]:
    tasks = open_tasks()
    return [*tasks.split("train")[:25], *tasks.split("dev")[:10], *tasks.split("test")[:10]]


def test_broken_functions_fail_and_originals_pass_in_a_cage_of_their_own() -> None:
    """What was recorded with a limit on lines holds with the real limits, too."""
    for task in sample():
        payload = task.payload
        function = find_function(f"{payload['module']}.{payload['qualname']}")
        assert payload["broken"] != payload["reference"]
        assert payload["mutations"]
        if not payload["tests"]:
            assert payload["tests_kind"] == "none"
            assert payload["mutations"][-1]["kind"] in ("colon", "bracket", "quote", "indentation", "name")
            continue
        sources = tuple(test[0] for test in payload["tests"])
        expected = tuple(tuple(test[1:]) for test in payload["tests"])
        assert judge(function, payload["reference"], sources).outcomes == expected
        if parses(payload["broken"]):
            report = judge(function, payload["broken"], sources)
            assert report.error or report.outcomes != expected, task.id
            if payload["failing"] is not None:
                source, *outcome = payload["failing"]
                assert tuple(outcome) == report.outcomes[sources.index(source)]
        else:
            assert payload["failing"] is None


def test_one_two_or_three_mistakes_of_all_kinds() -> None:
    tasks = [*open_tasks().split("dev"), *open_tasks().split("test")]
    assert set(Counter(len(task.payload["mutations"]) for task in tasks)) == {1, 2, 3}
    assert all(task.payload["difficulty"] == len(task.payload["mutations"]) for task in tasks)
    assert len({mutation["kind"] for task in tasks for mutation in task.payload["mutations"]}) == 20
    assert {task.payload["tests_kind"] for task in tasks} >= {"recorded", "none"}


def test_a_mutation_names_its_line() -> None:
    single = [task for task in open_tasks().split("dev")[:30] if task.payload["difficulty"] == 1]
    for task in single:
        [mutation] = task.payload["mutations"]
        line = mutation["line"] - 1
        reference, broken = (task.payload[key].splitlines() for key in ("reference", "broken"))
        assert reference[line].strip() == mutation["before"]
        assert reference[:line] == broken[:line]
        if line < len(broken):
            assert broken[line].strip() == mutation["after"]


def test_equivalent_and_endless_mutants_are_thrown_away() -> None:
    """The counts are kept, and a mutant that changes nothing is none."""
    tasks = BuiltinCodeTasks(seed=5)
    _ = tasks.split("train")[:30]
    assert tasks.tried["kept"] == 30
    assert tasks.tried["equivalent"] > 0
    found = exercise("colorsys._v")
    same = found.reference.replace("hue % 1.0", "(hue) % 1.0")
    assert same != found.reference
    sources = tuple(test.source for test in found.tests)
    assert record(found.function, same, sources).outcomes == tuple(test.outcome for test in found.tests)
    endless = found.reference.replace("    hue = ", "    for i in iter(int, 1):\n        hue = i\n    hue = ")
    assert {outcome.kind for outcome in record(found.function, endless, sources).outcomes} == {"fuel"}


def test_functions_cannot_be_had_elsewhere() -> None:
    """Python functions of a module that neither the sandbox's own process nor the interpreter holds a copy of."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(keeper.__file__).parent)!r}); from cage import keeper; "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=True)
    held = set(done.stdout.split())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, function in FUNCTIONS.items():
            module = function.source.module
            assert module not in held, f"the keeper has {module} in memory"
            assert not _imp.is_frozen(module)
            found: object = importlib.import_module(module)
            for part in function.qualname.split("."):
                found = inspect.getattr_static(found, part)
            found = getattr(found, "__func__", getattr(found, "fget", None) or found)
            assert inspect.isfunction(found), f"{name} is written in C, or replaced by something"


@pytest.mark.slow
def test_the_table_is_whole() -> None:
    """Every function is there in this or in another version, its calls are Python, and there are enough of them."""
    assert set(_versions()["python3.11"]) == {
        f"{module}.{name}"
        for module, entry in table().items()
        for name in [*entry["calls"], *entry.get("untested", [])]
    }
    for name, function in FUNCTIONS.items():
        if function.calls:
            tests = exercise(name).tests
            assert len(tests) >= 3, name
            assert len({test.outcome for test in tests}) >= 2, f"{name} gives the same whatever it is called with"
            assert all(test.outcome.text not in ("NameError", "SyntaxError") for test in tests), name


def _versions() -> dict[str, dict[str, list[str]]]:
    text = (files("cmat_gym.envs.code_correction") / "data" / "sources.json").read_text(encoding="utf-8")
    versions: dict[str, dict[str, list[str]]] = json.loads(text)
    return versions


def test_results_do_not_hang_on_the_seed_of_hashes() -> None:
    """Two keepers have two seeds; what differs between them would differ between machines."""
    program = (
        "import hashlib\nfrom cmat_gym.envs.code_correction.generator import exercise\n"
        "from cmat_gym.envs.code_correction.functions import *\n"
        "names = [n for n, f in read_functions(library_folder()).items() if f.calls]\n"
        "print(hashlib.sha256(repr([exercise(n).tests for n in names[::6]]).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


def test_doctests_are_taken_where_they_hold() -> None:
    kinds = Counter(exercise(name).kind for name, function in FUNCTIONS.items() if function.calls)
    assert kinds["doctest"] > 5
    found = exercise("statistics.median")
    assert found.kind == "doctest"
    assert ("median([1, 3, 5])", "3") in {(test.source, test.outcome.text) for test in found.tests}


def test_renamed_functions_do_the_same_under_other_ids() -> None:
    plain, renamed = open_tasks(), open_tasks(names="renamed")
    assert renamed.name == plain.name.replace("builtin-v0", "builtin-v0-renamed")
    changed = 0
    for name in list(FUNCTIONS)[::9]:
        one, other = exercise(name), exercise(name, "renamed")
        assert one.tests == other.tests
        changed += one.reference != other.reference
        if other.tests:
            outcomes = record(other.function, other.reference, tuple(test.source for test in other.tests)).outcomes
            assert outcomes == tuple(test.outcome for test in other.tests)
    assert changed > 15


def test_a_text_that_is_not_known_stays_out_of_the_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(name for name, function in FUNCTIONS.items() if function.split == "dev")
    trained = next(name for name, function in FUNCTIONS.items() if function.split == "train")
    known = {key: function.sha256 for key, function in FUNCTIONS.items() if key not in (name, trained)}
    monkeypatch.setattr(
        "cmat_gym.envs.code_correction.functions.known_hashes",
        lambda: {key: frozenset({value}) for key, value in known.items()},
    )
    tasks = BuiltinCodeTasks()
    assert name not in tasks.functions["dev"]
    assert trained in tasks.functions["train"]
    assert not FUNCTIONS[trained].frozen


def test_another_library_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmat_gym.envs.code_correction.generator._published", lambda: "00000000")
    tasks = BuiltinCodeTasks()
    assert tasks.name == f"builtin-v0+{tasks.fingerprint}"


def test_sources_are_pickled_by_what_they_were_made_of() -> None:
    tasks = BuiltinCodeTasks(seed=3, names="renamed")
    _ = tasks.split("train")[0]
    copy = pickle.loads(pickle.dumps(tasks))
    assert (copy.seed, copy.names, copy.name) == (3, "renamed", tasks.name)
    assert len(pickle.dumps(tasks)) < 200


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'reversed'.*original, renamed"):
        open_tasks(names="reversed")
    with pytest.raises(UsageError, match="-1"):
        open_tasks(seed=-1)
    with pytest.raises(UnknownNameError, match="builtin"):
        open_tasks("/some/folder")
    with pytest.raises(TaskError, match=str(tmp_path)):
        read_functions(tmp_path)
    with pytest.raises(TaskError, match=r"os\.nothing"):
        find_function("os.nothing")


def test_templates_use_known_kinds_only() -> None:
    """A misspelt `$kind` would stay in the text unnoticed."""
    dollars = {"$who", "$name", "$other", "$b", "$x"}  # of the languages of templates themselves
    for function in FUNCTIONS.values():
        for template in function.calls:
            for word in template.replace("(", " ").replace(")", " ").replace(",", " ").replace("'", " ").split():
                name = word.lstrip("*-").rstrip("]}:.;").split(".")[0].split("[")[0]
                if name.startswith("$") and name.strip("$") and name.lstrip("$").isidentifier():
                    assert name[1:] in KINDS or name in dollars, (function.name, word)
    from cmat_gym.core.dice import Dice

    assert fill("f($small, '$who')", Dice(1)) in {f"f({number}, '$who')" for number in range(1, 6)}
