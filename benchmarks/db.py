"""Speed and memory of the database world, embedded and on MariaDB.

python benchmarks/db.py                      # both backends, each in a process of its own
python benchmarks/db.py --backend embedded --clock cpu     # processor time: the same on a machine that is shared
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym

import cmat_gym  # noqa: F401 - registers the ids
from cmat_gym.core.env import base_env
from cmat_gym.envs.db.mariadb import is_installed

ENVIRONMENTS = 64
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = time.perf_counter
ID = "cmat/DB-v0"


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = clock()
    work()
    return (clock() - start) * 1e3


def show(name: str, value: str, target: str = "") -> None:
    """One line of the table."""
    print(f"{name:<58}{value:>12}{target:>14}", flush=True)


def memory_mb() -> float:
    """The resident size of this process: now where the system tells, else its largest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def make(backend: str) -> gym.Env[str, str]:
    """One environment without memory."""
    env: gym.Env[str, str] = gym.make(ID, memory=None, backend=backend)
    return env


def measure_episodes(backend: str, episodes: int) -> None:
    """New tasks, played by the expert: every statement is new to the process, so nothing comes from a cache."""
    env = make(backend)
    world = base_env(env)
    env.reset(seed=0)
    resets: list[float] = []
    statements: list[float] = []
    steps: list[float] = []
    rates: list[float] = []
    for _ in range(5):
        busy = 0.0
        before = len(steps)
        for _ in range(episodes // 5):
            resets.append(milliseconds(env.reset))
            done = False
            while not done:
                action = world.expert_action()
                took: list[bool] = []

                def act(action: str = action, took: list[bool] = took) -> None:
                    _, _, terminated, truncated, _ = env.step(action)
                    took.append(terminated or truncated)

                steps.append(milliseconds(act))
                busy += steps[-1]
                done = took[0]
                if not done:
                    statements.append(steps[-1])
        rates.append((len(steps) - before) / busy * 1e3)
    embedded = backend == "embedded"
    show(f"reset with a new task, ms, {backend}", f"{statistics.median(resets):.3f}", "<= 0.6" if embedded else "")
    show(f"step, ms, {backend}", f"{statistics.median(steps):.3f}", "<= 1" if embedded else "")
    show("  of these: a statement never seen before, ms", f"{statistics.median(statements):.3f}")
    show(f"steps/s, {backend}", f"{statistics.median(rates):,.0f}", ">= 1,000" if embedded else "")
    env.close()


def measure_branches(backend: str) -> None:
    """Snapshot and restore, of a database as it came and of one that was changed."""
    env = make(backend)
    world = base_env(env)
    for title, kind in (("untouched", "other"), ("changed", "UPDATE")):
        index = next(i for i, task in enumerate(world.split) if task.payload["type"] == kind)
        env.reset(options={"task": index})
        if title == "changed":
            env.step(world.expert_action())
        state = world.snapshot()
        saves = [milliseconds(world.snapshot) for _ in range(300)]
        restores = [milliseconds(lambda: world.restore(state)) for _ in range(300)]  # noqa: B023
        target = "<= 1" if backend == "embedded" else ""
        show(f"snapshot, {title}, ms, {backend}", f"{statistics.median(saves):.3f}", target)
        show(f"restore, {title}, ms, {backend}", f"{statistics.median(restores):.3f}", target)
    env.close()


def measure_memory(backend: str) -> None:
    """The whole process with 64 environments, each in an episode (a MariaDB server is another process)."""
    environments = [make(backend) for _ in range(ENVIRONMENTS)]
    for number, env in enumerate(environments):
        env.reset(seed=number)
        env.step(base_env(env).expert_action())
    show(f"memory with {ENVIRONMENTS} environments, MB, {backend}", f"{memory_mb():.0f}", "< 250")
    for env in environments:
        env.close()


PARTS = ("episodes", "branches", "memory")


def main() -> None:
    """Run each part in a process of its own, so that none inherits memory or caches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="embedded or mariadb; both by default")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu leaves out a server's own work")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    global clock
    clock = CLOCKS[arguments.clock]
    if arguments.part == "episodes":
        measure_episodes(arguments.backend, arguments.episodes)
    elif arguments.part == "branches":
        measure_branches(arguments.backend)
    elif arguments.part == "memory":
        measure_memory(arguments.backend)
    else:
        backends = [arguments.backend] if arguments.backend else ["embedded", *(["mariadb"] if is_installed() else [])]
        show("", "here", "target")
        for backend in backends:
            for part in PARTS:
                command = [sys.executable, __file__, "--part", part, "--backend", backend]
                options = ["--episodes", str(arguments.episodes), "--clock", arguments.clock]
                subprocess.run([*command, *options], check=True)


if __name__ == "__main__":
    main()
