"""What the core itself costs: `python benchmarks/core.py`.

A trivial world (a counter) is stepped through `gym.make`, with and without memory, and in `gym.make_vec`. Medians of
several repetitions, in steps per second of wall time and of CPU time (the second does not suffer from busy neighbours).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

import cmat_gym  # noqa: F401 - registers the worlds

REPETITIONS = 11
COUNTER_ID = "cmat-bench/Counter-v0"


class Rate(NamedTuple):
    """Medians of steps per second."""

    wall: float
    cpu: float


def main() -> None:
    """Measure everything and print one line each, with the target beside it."""
    gym.register(
        id=COUNTER_ID,
        entry_point="cmat_gym.core.registry:make_world",
        vector_entry_point="cmat_gym.core.registry:make_vector_world",
        kwargs={"world": "cmat_gym.core.testing:CounterEnv"},
    )
    print(f"{'':44}{'wall clock':>12}{'CPU time':>12}{'target':>12}")
    report("import cmat_gym [s]", import_seconds(), "< 0.3", digits=3)
    report("step, memory=None [1/s]", single(memory=None), ">= 100,000")
    report("step, memory='dual' [1/s]", single(memory="dual"), ">= 20,000")
    report("make_vec, 8 worlds, sync [env-steps/s]", vector("sync"), ">= 150,000")
    report("make_vec, 8 worlds, threads [env-steps/s]", vector("threads"), "")
    report("make_vec, 8 worlds, processes [env-steps/s]", vector("processes"), "")


def report(name: str, rate: Rate, target: str, digits: int = 0) -> None:
    """Print one line of the table."""
    print(f"{name:44}{rate.wall:12,.{digits}f}{rate.cpu:12,.{digits}f}{target:>12}", flush=True)


def measure(play: Callable[[], int]) -> Rate:
    """Medians over repetitions of `play`, which returns how many steps it took."""
    play()
    rates: list[Rate] = []
    for _ in range(REPETITIONS):
        wall, cpu = time.perf_counter(), time.process_time()
        steps = play()
        rates.append(Rate(steps / (time.perf_counter() - wall), steps / (time.process_time() - cpu)))
    return Rate(statistics.median(rate.wall for rate in rates), statistics.median(rate.cpu for rate in rates))


def single(**kwargs: Any) -> Rate:
    """One world, episodes of 20 turns, resets included."""
    env: gym.Env[str, str] = gym.make(COUNTER_ID, **kwargs)
    env.reset(seed=0)

    def play() -> int:
        for _ in range(10_000):
            _, _, terminated, truncated, _ = env.step("up")
            if terminated or truncated:
                env.reset()
        return 10_000

    return measure(play)


def vector(mode: str) -> Rate:
    """Eight worlds, episodes of 20 turns; the resets of the autoreset count as steps, as Gymnasium counts them."""
    envs: Any = gym.make_vec(COUNTER_ID, num_envs=8, mode=mode, memory=None)
    envs.reset(seed=0)
    actions = ["up"] * 8

    def play() -> int:
        for _ in range(2_000):
            envs.step(actions)
        return 2_000 * 8

    rate = measure(play)
    envs.close()
    return rate


def import_seconds() -> Rate:
    """Median time of `import cmat_gym` in a fresh interpreter, without the interpreter's own start."""
    program = (
        "import time; wall, cpu = time.perf_counter(), time.process_time(); import cmat_gym; "
        "print(time.perf_counter() - wall, time.process_time() - cpu)"
    )
    runs = [
        [float(number) for number in subprocess.check_output([sys.executable, "-c", program], text=True).split()]
        for _ in range(REPETITIONS)
    ]
    return Rate(statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs))


if __name__ == "__main__":
    main()
