"""Code correction: what the tasks are made of, what is thrown away, and how long things take.

python benchmarks/code_correction.py                  # about a minute on a quiet core
python benchmarks/code_correction.py --tasks 100

The row of Table 1 comes from: cmat-gym eval CodeCorrection --policy … --out DIR, then
python -m cmat_gym.evaluation.code_table DIR
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable

import gymnasium as gym

import cmat_gym  # noqa: F401 - registers the ids
from cmat_gym.core.env import base_env
from cmat_gym.core.sandbox.interpreter import Program, open_interpreters
from cmat_gym.envs.code_correction.backend import LIMITS
from cmat_gym.envs.code_correction.functions import library_folder, read_functions
from cmat_gym.envs.code_correction.generator import BuiltinCodeTasks, exercise

THINKING = 0.05  # seconds an agent takes before it hands in: in them the next cage is made


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def show(name: str, value: object) -> None:
    """One line of the table."""
    print(f"{name:<58}{value!s:>20}", flush=True)


def slowdown() -> float:
    """How many times longer than undisturbed a millisecond of work takes here and now: 1 on a quiet machine."""
    spent = [milliseconds(lambda: sum(range(50_000))) for _ in range(300)]
    return sum(spent) / len(spent) / min(spent)


def functions() -> None:
    """The functions of this library, and where their tests come from."""
    found = read_functions(library_folder())
    for split in ("train", "dev", "test"):
        own = [function for function in found.values() if function.split == split]
        modules = {function.source.module for function in own}
        untested, unknown = sum(not f.calls for f in own), sum(not f.frozen for f in own)
        show(
            f"functions of {split} (modules, untested, unknown)", f"{len(own)} ({len(modules)}, {untested}, {unknown})"
        )
    kinds = Counter(exercise(name).kind for name in found)
    show(
        "tests from (doctest and recorded, recorded, none)", f"{kinds['doctest']}, {kinds['recorded']}, {kinds['none']}"
    )
    counts = [len(exercise(name).tests) for name, function in found.items() if function.calls]
    show("tests per function, median (fewest)", f"{statistics.median(counts):.0f} ({min(counts)})")


def tasks(count: int) -> None:
    """Making tasks, and what was thrown away on the way."""
    source = BuiltinCodeTasks()
    for name in source.functions["train"]:
        exercise(name)  # recorded once per process; not part of making a task
    spent = [milliseconds(lambda index=index: source.make("train", index)) for index in range(count)]  # type: ignore[misc]
    show("making a train task, median ms", f"{statistics.median(spent):.1f}")
    for split in ("dev", "test"):
        show(f"making the panel {split}, s", f"{milliseconds(lambda: list(source.split(split))) / 1e3:.1f}")  # noqa: B023
    tried = sum(source.tried.values())
    for reason, number in sorted(source.tried.items()):
        show(f"mutants: {reason}", f"{number} ({100 * number / tried:.1f} %)")
    made = [task for split in ("dev", "test") for task in source.split(split)]
    mutations = Counter(mutation["kind"] for task in made for mutation in task.payload["mutations"])
    show("kinds of mistakes in the panels", len(mutations))


def judging(count: int) -> None:
    """The sandbox alone, and whole episodes."""
    cages = open_interpreters()
    program = Program("colorsys", False, "", ("1 + 1",))
    cold, warm, runs = [], [], []
    for _ in range(count):
        begin = time.perf_counter()
        cage = cages.start_cold(LIMITS)
        cold.append((time.perf_counter() - begin) * 1e3)
        cage.close()
        begin = time.perf_counter()
        cage = cages.start(LIMITS)
        warm.append((time.perf_counter() - begin) * 1e3)
        time.sleep(THINKING)
        runs.append(milliseconds(lambda cage=cage: cage.run(program)))  # type: ignore[misc]
        cage.close()
    show("cage from nothing, median ms", f"{statistics.median(cold):.1f}")
    show("cage with a warm spare, median ms", f"{statistics.median(warm[1:]):.2f}")
    show("an empty module and one call in it, median ms", f"{statistics.median(runs):.1f}")

    env = gym.make("cmat/CodeCorrection-v0", memory=None, split="dev")
    solved, spent = 0, []
    for index in range(len(base_env(env).split)):
        env.reset(options={"task": index})
        action = base_env(env).expert_action()
        begin = time.perf_counter()
        solved += env.step(action)[4]["success"]
        spent.append((time.perf_counter() - begin) * 1e3)
    env.close()
    show("dev tasks that the expert solves", f"{solved} of {len(spent)}")
    show("judging a fix, median ms (slowest)", f"{statistics.median(spent):.1f} ({max(spent):.0f})")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tasks", type=int, default=200, metavar="N", help="train tasks to make (default: %(default)s)"
    )
    parser.add_argument("--cages", type=int, default=50, metavar="N", help="cages to start (default: %(default)s)")
    args = parser.parse_args()
    show("work takes longer than undisturbed by a factor of", f"{slowdown():.1f}")
    functions()
    tasks(args.tasks)
    judging(args.cages)
    show("work takes longer than undisturbed by a factor of", f"{slowdown():.1f}")


if __name__ == "__main__":
    main()
