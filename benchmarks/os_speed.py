"""Speed, memory and cleanliness of the operating-system world, beside Docker on the same machine.

python benchmarks/os_speed.py                         # 10,000 episodes at the end: some minutes
python benchmarks/os_speed.py --episodes 500
DOCKER_HOST=unix:///… python benchmarks/os_speed.py   # with the container backend, if its image is there
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium as gym

import cmat_gym  # noqa: F401 - registers the ids
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError
from cmat_gym.core.sandbox import cgroups
from cmat_gym.envs.os.backend import Limits, Machines, Sandbox, open_machines
from cmat_gym.envs.os.namespace import open_namespaces

THINKING = 0.05  # seconds an agent takes before it acts: in them the next machine is made
LIVE = 32
COMMANDS = (
    "ls /etc | wc -l",
    "find /usr/share/doc -maxdepth 1 | head -n 3",
    "grep -c root /etc/passwd",
    "mkdir -p /srv/a && echo hi > /srv/a/f && cat /srv/a/f",
    "for i in 1 2 3; do echo $i; done | sort -r",
    "awk -F: '{print $1}' /etc/passwd | head -n 2",
    "stat -c %a /etc/passwd",
    "cd /srv; pwd",
)


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def median_of(work: Callable[[], object], count: int) -> float:
    """Median of several calls, in milliseconds."""
    return statistics.median(milliseconds(work) for _ in range(count))


def show(name: str, value: str, target: str = "", docker: str = "") -> None:
    """One line of the table."""
    print(f"{name:<52}{value:>12}{target:>12}{docker:>12}", flush=True)


def resets(machines: Machines, cold: Callable[[Limits], Sandbox], count: int) -> tuple[float, float, float]:
    """Median time to a cold machine that has answered, to a warm one, and of an echo, in milliseconds."""
    limits = Limits()
    colds, warms, echoes = [], [], []
    for _ in range(count):
        start = time.perf_counter()
        sandbox = cold(limits)
        colds.append((time.perf_counter() - start) * 1e3)
        sandbox.run("true")
        echoes.append(median_of(partial(sandbox.run, "echo hi"), 20))
        sandbox.close()
        time.sleep(THINKING)
    for _ in range(count):
        start = time.perf_counter()
        sandbox = machines.start(limits)
        warms.append((time.perf_counter() - start) * 1e3)
        time.sleep(THINKING if machines.name == "namespace" else 1.0)
        sandbox.close()
    return statistics.median(colds), statistics.median(warms[1:]), statistics.median(echoes)


def docker_figures() -> tuple[str, str, str]:
    """The same of the container backend, where there is one."""
    try:
        machines = open_machines("docker")
    except (BackendError, ImportError) as error:
        print(f"docker: {str(error).splitlines()[0]}")
        return ("-", "-", "-")
    from cmat_gym.envs.os.containers import Containers, ContainerSandbox

    assert isinstance(machines, Containers)
    figures = resets(machines, lambda limits: ContainerSandbox(machines, limits), 5)
    return (f"{figures[0]:.0f}", f"{figures[1]:.1f}", f"{figures[2]:.2f}")


def steps_per_second() -> float:
    """Steps of real commands through `gym.make`."""
    env = gym.make("cmat/OS-v0", memory=None, backend="namespace", max_turns=10_000)
    env.reset(seed=0)
    rounds = 25
    spent = milliseconds(lambda: [env.step(f"bash[{command}]") for _ in range(rounds) for command in COMMANDS])
    env.close()
    return rounds * len(COMMANDS) / spent * 1e3


def expert_episodes() -> float:
    """Whole episodes a second: reset, the expert's actions, grading."""
    env = gym.make("cmat/OS-v0", memory=None, backend="namespace", split="dev")

    def play() -> None:
        for index in range(60):
            env.reset(options={"task": index})
            done = False
            while not done:
                done = env.step(base_env(env).expert_action())[2]

    rate = 60 / milliseconds(play) * 1e3
    env.close()
    return rate


def family_of(pid: int) -> list[int]:
    """A process and all that descend from it, or from the keeper that it started."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def memory_mb(pids: list[int]) -> float:
    """Their proportional memory together: what is shared counts once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def keepers() -> list[int]:
    """Processes called `init` with our cages below them: keepers outlive nobody, but their parent is PID 1."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/cmdline").read_bytes().startswith(b"init\0"):
                found.append(int(name))
        except OSError:
            continue
    return found


def live_memory() -> float:
    """What many live episodes add, the environments in this process included."""
    before_keepers = set(keepers())
    own = memory_mb([os.getpid()])
    machines = open_namespaces()
    environments = [gym.make("cmat/OS-v0", memory=None, backend="namespace") for _ in range(LIVE)]
    for seed, env in enumerate(environments):
        env.reset(seed=seed)
        env.step("bash[ls]")
    mine = [pid for pid in keepers() if pid not in before_keepers or machines]
    pids = {pid for keeper in mine for pid in family_of(keeper)}
    total = memory_mb(sorted(pids)) + memory_mb([os.getpid()]) - own
    for env in environments:
        env.close()
    return total


def leftovers(episodes: int) -> tuple[float, dict[str, int]]:
    """Play many short episodes; the rate, and how many more things there are afterwards than before."""
    env = gym.make("cmat/OS-v0", memory=None, backend="namespace")
    env.reset(seed=0)
    env.close()
    settle()
    before = count_things()
    env = gym.make("cmat/OS-v0", memory=None, backend="namespace")

    def play() -> None:
        for seed in range(episodes):
            env.reset(seed=seed)
            env.step("bash[sleep 1000 & echo $$ > /tmp/f]")

    rate = episodes / milliseconds(play) * 1e3
    env.close()
    settle()
    after = count_things()
    return rate, {name: after[name] - before[name] for name in before}


def settle() -> None:
    """Wait until the machines that were closed are gone."""
    time.sleep(1)
    cgroups.remove_dead(patience=5.0)


def count_things() -> dict[str, int]:
    """Processes, mounts, control groups, temporary folders and open files of this process."""
    return {
        "processes": sum(map(is_ours, os.listdir("/proc"))),
        "mounts": len(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()),
        "groups": sum(len(list(folder.glob(f"cmat-gym-{os.getpid()}-*"))) for folder in cgroups.hierarchies()),
        "folders in /tmp": len(os.listdir("/tmp")),
        "open files": len(os.listdir("/proc/self/fd")),
    }


def is_ours(name: str) -> bool:
    """Whether a process is in a control group of this one; where there are none, any process counts."""
    if not name.isdigit() or not cgroups.hierarchies():
        return name.isdigit()
    try:
        return f"/cmat-gym-{os.getpid()}-" in Path(f"/proc/{name}/cgroup").read_text(encoding="ascii")
    except OSError:
        return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000, help="for what is left behind")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start, Linux {os.uname().release}, uid {os.getuid()}\n")
    machines = open_namespaces()
    cold, warm, echo = resets(machines, machines.start_cold, 40)
    docker = docker_figures()
    show("", "namespace", "target", "docker")
    show("reset, ms, from nothing", f"{cold:.1f}", "<= 15", docker[0])
    show("reset, ms, with a warm spare", f"{warm:.2f}", "<= 5", docker[1])
    show("step, ms, echo", f"{echo:.3f}", "<= 1", docker[2])
    show("steps/s of real commands through gym.make", f"{steps_per_second():,.0f}", ">= 300")
    show("episodes/s of the expert, graded", f"{expert_episodes():.0f}")
    show(f"memory of {LIVE} live episodes, MB", f"{live_memory():.0f}", "< 400")
    rate, left = leftovers(arguments.episodes)
    show(f"episodes/s, reset and one command ({arguments.episodes:,})", f"{rate:.0f}")
    for name, number in left.items():
        show(f"  {name} left behind", f"{number}", "0")
    show("largest size of this process, MB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


if __name__ == "__main__":
    main()
