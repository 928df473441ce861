"""The environment as an agent and a caller meet it: talking, cheating, snapshots, and failing closed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmat_gym.core.env import restore, snapshot
from cmat_gym.core.errors import BackendError, ReplayError, UnknownNameError
from cmat_gym.core.sandbox import cgroups
from cmat_gym.envs.os import backend as backends
from cmat_gym.envs.os.backend import Limits, Sandbox
from cmat_gym.envs.os.env import OSEnv
from cmat_gym.envs.os.generator import FAMILIES
from cmat_gym.envs.os.namespace import Namespaces

QUICK = Limits(command_seconds=1.0)


@pytest.fixture
def env(cage: Sandbox) -> Iterator[OSEnv]:
    found = OSEnv(split="dev", backend="namespace", limits=QUICK, max_turns=50)
    yield found
    found.close()


def index_of(family: str) -> int:
    """A dev task of a family."""
    return list(FAMILIES).index(family)


def finish(env: OSEnv, *actions: str) -> float:
    """The reward of the last action."""
    reward = 0.0
    for action in actions:
        reward = float(env.step(action)[1])
    return reward


# Talking -------------------------------------------------------------------------------------------------------------


def test_an_episode(env: OSEnv) -> None:
    observation, _ = env.reset(options={"task": index_of("count_files")})
    assert observation == env.task.instruction
    assert env.step("bash[cd /srv; pwd]")[0] == "The output of the OS:\n\n/srv\n"
    assert env.step("Thought: still there?\nAction: bash[pwd\npwd]")[0] == "The output of the OS:\n\n/srv\n/srv\n"
    assert env.summary() == "/srv"
    assert env.step("bash[true]")[0] == "The output of the OS is empty."
    shown, reward, terminated, _, info = env.step(f"answer[{env.task.payload['answer']}]")
    assert (shown, reward, terminated, info["success"]) == ("The work was handed in.", 1.0, True, True)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("ls", "write bash[command], answer[text] or finish[]"),
        ("bash[ ]", "no command"),
        ("finish[42]", "use answer[text]"),
    ],
)
def test_refusals_say_why(env: OSEnv, action: str, words: str) -> None:
    env.reset(seed=0)
    shown, _, terminated, _, info = env.step(action)
    assert words in shown
    assert (terminated, info["valid_action"]) == (False, False)


def test_notes_on_stopped_commands_and_shells(env: OSEnv) -> None:
    env.reset(seed=0)
    assert env.step("bash[X=1; sleep 5]")[0].endswith("[the command ran too long and was stopped]")
    assert env.step("bash[echo $X]")[0].endswith("\n1\n"), "the shell was kept"
    assert env.step("bash[while :; do :; done]")[0].endswith(
        "[the command could not be stopped; the shell was replaced by a new one]"
    )
    assert (
        env.step("bash[echo :$X; exit]")[0]
        == "The output of the OS:\n\n:\n\n[the shell has ended; a new one was started]"
    )
    assert "[the command printed too much" in env.step("bash[yes]")[0]
    assert env.step(r"bash[printf '\xff']")[0] == "OS Environment output cannot be decoded as UTF-8"


def test_a_dead_machine_ends_nothing_but_scores_nothing(env: OSEnv) -> None:
    env.reset(options={"task": index_of("create_file")})
    env.step(env.expert_action())
    env.session.ensure()._channel.socket.shutdown(2)  # type: ignore[attr-defined]
    for _ in range(2):
        shown, _, terminated, _, _ = env.step("bash[ls; exit]")
        if "crashed" in shown:
            break
    assert "[the machine has crashed" in env.step("bash[ls]")[0]
    assert not terminated
    assert env.cost_to_go() == float("inf")
    assert finish(env, "finish[]") == 0.0
    env.reset(seed=1)
    assert env.step("bash[echo fine]")[0].endswith("fine\n")


# Cheating ------------------------------------------------------------------------------------------------------------


def test_answers_and_changes_are_not_mixed_up(env: OSEnv) -> None:
    env.reset(options={"task": index_of("count_files")})
    assert finish(env, env.expert_action(), "finish[]") == 0.0
    env.reset(options={"task": index_of("create_file")})
    assert finish(env, env.expert_action(), "answer[done]") == 1.0
    env.reset(options={"task": index_of("create_file")})
    assert finish(env, "answer[done]") == 0.0


@pytest.mark.parametrize(
    "cheat",
    [
        "mount --bind / /srv",
        "rm -rf / --no-preserve-root 2>/dev/null",
        "kill -9 -1; kill -9 1",
        "echo score=1 > /dev/fd/3; echo 0 >&3; echo 1 > /proc/1/fd/3",
        "for f in /proc/*/fd/*; do echo 1 > $f; done 2>/dev/null",
        "trap 'exit 0' DEBUG; trap 'exit 0' EXIT",
        "cp /bin/true /usr/bin/python3; cp /bin/true /bin/bash; cp /bin/true /bin/stat",
        "(while :; do touch /srv/x; done) & (while :; do rm /srv/x; done) &",
    ],
)
def test_tricks_score_nothing(env: OSEnv, cheat: str) -> None:
    for family in ("create_file", "set_mode", "add_user", "repair_script"):
        env.reset(options={"task": index_of(family)})
        env.step(f"bash[{cheat}]")
        assert finish(env, "finish[]") == 0.0


def test_a_profile_that_prints_the_expected_is_no_variable(env: OSEnv) -> None:
    env.reset(options={"task": index_of("set_variable")})
    value = env.task.payload["goal"]["probes"][0][1]
    assert finish(env, f"bash[echo 'echo {value}; exit' >> /root/.profile]", "finish[]") == 0.0
    env.reset(options={"task": index_of("set_variable")})
    assert finish(env, env.expert_action(), "finish[]") == 1.0


def test_the_answer_is_not_on_the_machine(env: OSEnv) -> None:
    """Neither the goal nor the plan can be read inside."""
    env.reset(options={"task": index_of("repair_script")})
    pair = env.task.payload["goal"]["probes"][0][0].split()[-2:]
    shown = env.step(f"bash[grep -rl 'bash .* {pair[0]} {pair[1]}' / --exclude-dir=usr 2>/dev/null]")[0]
    assert not [line for line in shown.splitlines() if line.startswith("/") and not line.startswith("/proc/")]


# The expert ----------------------------------------------------------------------------------------------------------


def test_the_expert_repairs_what_others_did(env: OSEnv) -> None:
    env.reset(options={"task": index_of("make_folders")})
    assert env.cost_to_go() == 2
    env.step("bash[ls]")
    assert env.cost_to_go() == 2
    env.step(env.expert_action())
    assert env.cost_to_go() == 1
    env.step(f"bash[mkdir {env.task.payload['goal']['roots'][0]}/extra]")
    assert env.cost_to_go() == float("inf")
    assert len(env.expert_thought().split()) <= 12


# Snapshots -----------------------------------------------------------------------------------------------------------


def test_a_restored_machine_has_files_variables_and_jobs(env: OSEnv) -> None:
    env.reset(seed=3)
    env.step("bash[cd /tmp; X=5; f() { echo f$X; }; echo hi > file; sleep 100 &]")
    state = pickle.loads(pickle.dumps(snapshot(env)))
    env.step("bash[rm file; X=6; cd /; kill %1]")
    for other in (env, OSEnv(split="dev", backend="namespace", limits=QUICK, max_turns=50)):
        restore(other, state)
        assert other.step("bash[cat file; f; pwd; jobs]")[0].endswith(
            "hi\nf5\n/tmp\n[1]+  Running                 sleep 100 &\n"
        )
    other.close()


def test_what_cannot_be_repeated_is_told(env: OSEnv) -> None:
    env.reset(seed=3)
    env.step("bash[date +%N]")
    state = snapshot(env)
    env.step("bash[true]")
    with pytest.raises(ReplayError, match="date"):
        restore(env, state)


def test_a_finished_episode_is_restored_without_a_machine(env: OSEnv) -> None:
    env.reset(options={"task": index_of("count_files")})
    env.step(env.expert_action())
    env.step(env.expert_action())
    state = json.loads(json.dumps(env._get_state()))
    assert state["ended"][0] == 1.0
    copy = pickle.loads(pickle.dumps(env))
    assert (copy.score(), copy.state_key()) == (env.score(), env.state_key())


# Failing closed, leaving nothing -------------------------------------------------------------------------------------


def test_without_a_safe_backend_there_is_no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *_: Any) -> None:
        raise BackendError(f"no {name} here")

    monkeypatch.setattr(backends, "_open", refuse)
    with pytest.raises(BackendError, match="No safe sandbox is available, and bash is never run without one"):
        OSEnv()
    with pytest.raises(BackendError, match="no namespace here"):
        OSEnv(backend="namespace")
    monkeypatch.undo()
    with pytest.raises(UnknownNameError, match="choose one of: docker, namespace, podman"):
        OSEnv(backend="bash")


def test_a_root_that_cannot_be_caged_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot be built here"):
        Namespaces(str(tmp_path / "missing"))


def test_nothing_is_left_behind(cage: Sandbox, tmp_path: Path) -> None:
    """A process that plays and ends, or is killed, leaves no process, mount or control group."""
    program = (
        "import gymnasium, cmat_gym, sys, os\n"
        "env = gymnasium.make('cmat/OS-v0', memory=None, backend='namespace')\n"
        "for seed in range(8):\n"
        "    env.reset(seed=seed); env.step('bash[sleep 98765 & echo]')\n"
        "print(os.getpid(), flush=True)\n"
        "os.kill(os.getpid(), 9) if sys.argv[1] == 'kill' else None\n"
    )
    mounts = len(Path("/proc/self/mounts").read_text().splitlines())
    for ending in ("end", "kill"):
        done = subprocess.run([sys.executable, "-c", program, ending], capture_output=True, text=True, check=False)
        owner = done.stdout.strip()
        assert owner.isdigit(), done.stderr
        deadline = time.monotonic() + 20  # on a busy machine the kernel takes its time to end a namespace
        while left := _left_of(owner):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    assert len(Path("/proc/self/mounts").read_text().splitlines()) == mounts


def _left_of(owner: str) -> list[str]:
    """Processes and, once they are gone and swept, control groups that a process left behind."""
    processes = [name for name in os.listdir("/proc") if name.isdigit() and is_cage_of(name)]
    if processes:
        return processes
    cgroups._sweep(cgroups.hierarchies())
    return [str(path) for folder in cgroups.hierarchies() for path in folder.glob(f"cmat-gym-{owner}-*")]


def is_cage_of(pid: str) -> bool:
    """Whether a process is a `sleep` of the test above."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0098765\x00"
    except OSError:
        return False


def test_each_reset_lets_go_of_the_machine_before(env: OSEnv) -> None:
    env.reset(seed=0)
    first = env.session._sandbox
    assert first is not None
    env.reset(seed=1)
    with pytest.raises(BackendError):
        first.inspect(["/srv"])


def test_containers_play_the_same_game(machines: Any) -> None:
    """The expert solves a task of each kind on every backend, with equal observations."""
    env = OSEnv(split="dev", backend=machines.name)
    try:
        for family in (
            "count_files",
            "create_file",
            "move_files",
            "set_mode",
            "add_to_group",
            "stop_service",
            "make_archive",
        ):
            env.reset(options={"task": index_of(family)})
            done = False
            while not done:
                _, reward, done, _, _ = env.step(env.expert_action())
            assert reward == 1.0, (machines.name, family, env.score())
            env.reset(options={"task": index_of(family)})
            assert finish(env, "finish[]") == 0.0
    finally:
        env.close()
