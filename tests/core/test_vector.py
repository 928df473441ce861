"""The vector environment: every mode, every autoreset mode, failing worlds and dying workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.env import Outcome
from cmat_gym.core.errors import BackendError, TaskError, UnknownNameError, UsageError
from cmat_gym.core.protocol import Call
from cmat_gym.core.registry import make_world
from cmat_gym.core.task import Task
from cmat_gym.core.testing import CounterEnv
from cmat_gym.core.vector import MODES, TextVectorEnv, batch_infos

AUTORESET = list(AutoresetMode)
every_mode = pytest.mark.parametrize("mode", MODES)
every_autoreset = pytest.mark.parametrize("autoreset", AUTORESET, ids=lambda mode: mode.name)


class FragileEnv(CounterEnv):
    """A counter that breaks on demand: `boom` raises, `die` ends the process, and some tasks cannot be opened."""

    unlucky: set[str] = set()  # noqa: RUF012 - shared on purpose: it outlives the environment

    def _begin(self, task: Task) -> str:
        if task.id in self.unlucky or task.id.endswith("000013"):
            raise OSError("no power")
        return super()._begin(task)

    def _parse(self, action: str) -> Call:
        return Call(action)

    def _apply(self, call: Call) -> Outcome:
        if call.name == "boom":
            raise RuntimeError("it broke")
        if call.name == "die":
            os._exit(3)
        return super()._apply(call)

    def pid(self) -> int:
        """The process this environment lives in."""
        return os.getpid()

    def read_nothing(self) -> str:
        """Fails as files do; inside a worker that must not look like a broken pipe."""
        return Path("/no/such/file").read_text()

    def fail_strangely(self) -> None:
        """Fails with an exception that pickles but does not unpickle."""
        raise StrangeError("one", 2)


class StrangeError(Exception):
    """Takes other arguments than it passes on."""

    def __init__(self, word: str, number: int) -> None:
        super().__init__(f"{word} {number}")


class MortalEnv(FragileEnv):
    """Can be built while a file exists."""

    def __init__(self, *, lifeline: str) -> None:
        super().__init__()
        if not Path(lifeline).exists():
            raise BackendError("the service is down")


class StillbornEnv(CounterEnv):
    """Cannot be built."""

    def __init__(self) -> None:
        raise BackendError("the service is down")


def make(count: int, mode: str, autoreset: AutoresetMode = AutoresetMode.NEXT_STEP, **kwargs: Any) -> TextVectorEnv:
    """A vector of counters; two workers, so that processes and threads hold several environments each."""
    return TextVectorEnv.of(count, CounterEnv, kwargs, mode, autoreset, workers=2)  # type: ignore[arg-type]


def fragile(
    count: int, mode: str, autoreset: AutoresetMode = AutoresetMode.NEXT_STEP, workers: int = 2
) -> TextVectorEnv:
    """A vector of fragile counters."""
    return TextVectorEnv.of(count, FragileEnv, {}, mode, autoreset, workers=workers)  # type: ignore[arg-type]


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal values, types and array types, nested as they come."""
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tolist() == theirs.tolist()
    elif isinstance(theirs, tuple):
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)
    else:
        assert ours == theirs


@every_mode
@every_autoreset
def test_equals_gymnasiums_own_vector_environment(mode: str, autoreset: AutoresetMode) -> None:
    """Observations, rewards, flags and infos are those of Gymnasium's SyncVectorEnv at every step."""
    reference: Any = SyncVectorEnv([lambda: CounterEnv(max_turns=6)] * 5, autoreset_mode=autoreset)
    envs = make(5, mode, autoreset, max_turns=6)
    rng = np.random.default_rng(7)
    ended = np.zeros(5, dtype=bool)

    assert_same(envs.reset(seed=3), reference.reset(seed=3))
    for _ in range(60):
        if autoreset is AutoresetMode.DISABLED and ended.any():
            openings = [e.reset(options={"reset_mask": ended.copy()}) for e in (envs, reference)]
            assert_same(*openings)
        actions = tuple(rng.choice(["up", "down", "stop", "nonsense"], size=5, p=[0.4, 0.3, 0.2, 0.1]).tolist())
        ours, theirs = envs.step(actions), reference.step(actions)
        assert_same(ours, theirs)
        ended = ours[2] | ours[3]
    envs.close()


@every_mode
def test_is_what_gymnasium_expects_of_a_vector_environment(mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs: Any = gym.make_vec("cmat-test/Counter-v0", num_envs=3, mode=mode, autoreset_mode="SameStep", memory=None)
    assert isinstance(envs, VectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert envs.spec is not None
    assert envs.spec.id == "cmat-test/Counter-v0"
    assert envs.spec.kwargs["num_envs"] == envs.num_envs == 3
    assert envs.observation_space == gym.spaces.Tuple([envs.single_observation_space] * 3)
    assert envs.action_space == gym.spaces.Tuple([envs.single_action_space] * 3)
    observations, infos = envs.reset(seed=0)
    assert observations in envs.observation_space
    for _ in range(5):
        observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert observations in envs.observation_space
        assert (rewards.shape, terminated.dtype, truncated.dtype) == ((3,), bool, bool)
        assert infos["_turn"].all()
    # Gymnasium's own vector wrappers work on it.
    counted = gym.wrappers.vector.DictInfoToList(envs)
    assert [info["turn"] for info in counted.reset(seed=1)[1]] == [0, 0, 0]
    envs.close()
    again = gym.make_vec(envs.spec)
    assert again.num_envs == 3
    again.close()


@every_mode
def test_tasks_and_seeds(mode: str) -> None:
    envs = make(3, mode)
    _, infos = envs.reset(options={"task": 5})
    assert len(set(infos["task_id"])) == 1
    ids = ["counter/builtin-v0/dev/000001", None, "counter/builtin-v0/test/000002"]
    _, infos = envs.reset(seed=11, options={"task": ids})
    assert infos["task_id"][[0, 2]].tolist() == [ids[0], ids[2]]
    drawn = envs.reset(seed=4)[1]["task_id"].tolist()
    assert drawn == envs.reset(seed=[4, 5, 6])[1]["task_id"].tolist()
    assert drawn[1] == CounterEnv().reset(seed=5)[1]["task_id"]
    assert drawn != envs.reset(seed=[6, 5, 4])[1]["task_id"].tolist()
    envs.close()


@every_mode
def test_only_the_masked_environments_are_reset(mode: str) -> None:
    envs = make(3, mode, AutoresetMode.DISABLED)
    envs.reset(seed=0)
    before = envs.step(["up", "stop", "up"])[0]
    with pytest.raises(UsageError, match=r"Environments \[1\] have finished"):
        envs.step(["up"] * 3)
    options = {"reset_mask": np.array([False, True, False])}
    after, infos = envs.reset(options=options)
    assert (after[0], after[2]) == (before[0], before[2])
    assert infos["_turn"].tolist() == [False, True, False]
    assert list(options) == ["reset_mask"], "the caller's dict was changed"
    assert envs.step(["up"] * 3)[4]["turn"].tolist() == [2, 1, 2]
    envs.close()


@every_mode
@every_autoreset
def test_a_failing_world_ends_its_own_episode(mode: str, autoreset: AutoresetMode, caplog: Any) -> None:
    envs = fragile(3, mode, autoreset)
    envs.reset(seed=0)
    envs.step(["up"] * 3)
    observations, rewards, terminated, truncated, infos = envs.step(["up", "boom", "up"])
    assert rewards.tolist() == [0, 0, 0]
    assert terminated.tolist() == [False] * 3
    assert truncated.tolist() == [False, True, False]
    assert infos["turn"][[0, 2]].tolist() == [2, 2]
    final = infos["final_info"] if autoreset is AutoresetMode.SAME_STEP else infos
    assert final["error"].tolist() == [None, "RuntimeError: it broke", None]
    assert final["_error"].tolist() == [False, True, False]
    assert observations in envs.observation_space
    if mode != "processes":  # a worker process writes its log to standard error
        assert "it broke" in caplog.text

    # It is built anew and plays on, the others are undisturbed.
    if autoreset is AutoresetMode.DISABLED:
        envs.reset(options={"reset_mask": truncated})
    elif autoreset is AutoresetMode.NEXT_STEP:
        assert envs.step(["up"] * 3)[4]["turn"].tolist() == [3, 0, 3]
    turns = envs.step(["up"] * 3)[4]["turn"].tolist()
    assert turns == ([4, 1, 4] if autoreset is AutoresetMode.NEXT_STEP else [3, 1, 3])
    envs.close()


@every_mode
@every_autoreset
def test_a_reset_that_fails_is_reported_and_tried_again(mode: str, autoreset: AutoresetMode) -> None:
    envs = fragile(2, mode, autoreset)
    unlucky = "counter/builtin-v0/train/000013"
    observations, infos = envs.reset(seed=0, options={"task": [unlucky, 1]})
    assert observations[0] == ""
    assert infos["error"].tolist() == ["OSError: no power", None]
    assert infos["_turn"].tolist() == [False, True]

    _, rewards, _, truncated, infos = envs.step(["up", "up"])
    assert rewards.tolist() == [0, 0]
    if autoreset is AutoresetMode.DISABLED:
        assert truncated.tolist() == [True, False]
        assert "reset it first" in infos["error"][0]
        envs.reset(options={"reset_mask": np.array([True, False])})
    else:
        assert truncated.tolist() == [False, False]
        assert infos["turn"].tolist() == [0, 1]
    assert envs.step(["up", "up"])[4]["turn"].tolist() == [1, 2]
    envs.close()


@every_autoreset
def test_resets_that_keep_failing_keep_being_reported(
    autoreset: AutoresetMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = fragile(2, "sync", autoreset)
    envs.reset(seed=0)
    monkeypatch.setattr(FragileEnv, "_begin", lambda self, task: 1 / 0)
    reports = []
    for _ in range(3):
        _, _, _, truncated, infos = envs.step(["boom", "up"])
        reports.append(infos["error"][0])
        assert truncated.tolist() == [True, False]
        if autoreset is AutoresetMode.DISABLED:
            _, infos = envs.reset(options={"reset_mask": truncated})
            assert infos["error"].tolist() == ["ZeroDivisionError: division by zero", None]
    if autoreset is not AutoresetMode.DISABLED:
        assert reports[1:] == ["ZeroDivisionError: division by zero"] * 2
    monkeypatch.undo()
    envs.reset(seed=1)
    assert envs.step(["up", "up"])[4]["turn"].tolist() == [1, 1]


@every_autoreset
def test_a_dying_worker_ends_its_own_episodes(autoreset: AutoresetMode, caplog: Any) -> None:
    envs = fragile(4, "processes", autoreset)
    envs.reset(seed=0)
    pids = envs.call("pid")
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    envs.step(["up"] * 4)
    _, rewards, terminated, truncated, infos = envs.step(["up", "up", "die", "up"])
    assert rewards.tolist() == [0] * 4
    assert not terminated.any()
    assert truncated.tolist() == [False, False, True, True]
    assert f"Worker process {pids[2]} died (exit code 3)" in infos["error"][3]
    assert infos["turn"].tolist() == [2, 2, 0, 0]
    assert "died" in caplog.text

    if autoreset is AutoresetMode.DISABLED:
        _, infos = envs.reset(options={"reset_mask": truncated})
        assert infos["turn"][2:].tolist() == [0, 0]
        assert envs.step(["up"] * 4)[4]["turn"].tolist() == [3, 3, 1, 1]
    else:
        assert envs.step(["up"] * 4)[4]["turn"].tolist() == [3, 3, 0, 0]
        assert envs.step(["up"] * 4)[4]["turn"].tolist() == [4, 4, 1, 1]
    assert envs.call("pid")[:2] == pids[:2]
    assert envs.call("pid")[2] != pids[2]
    envs.close()


def test_exceptions_of_calls_come_back_from_workers() -> None:
    envs = fragile(2, "processes")
    with pytest.raises(FileNotFoundError, match="/no/such/file"):
        envs.call("read_nothing")
    with pytest.raises(BackendError, match="StrangeError: one 2"):
        envs.call("fail_strangely")
    envs.reset(seed=0)
    assert envs.step(["up", "up"])[4]["turn"].tolist() == [1, 1]
    envs.close()


def test_a_worker_that_cannot_be_replaced_keeps_being_reported(tmp_path: Path) -> None:
    lifeline = tmp_path / "service"
    lifeline.touch()
    envs = TextVectorEnv.of(2, MortalEnv, {"lifeline": str(lifeline)}, "processes", workers=2)
    envs.reset(seed=0)
    lifeline.unlink()
    assert "exit code 3" in envs.step(["up", "die"])[4]["error"][1]
    for turn in (2, 3):
        _, _, _, truncated, infos = envs.step(["up", "up"])
        assert truncated.tolist() == [False, True]
        assert infos["turn"][0] == turn
        assert "the service is down" in infos["error"][1]
    lifeline.touch()
    envs.step(["up", "up"])
    assert envs.step(["up", "up"])[4]["turn"].tolist() == [5, 1]
    envs.close()


def test_a_worker_killed_from_outside_between_two_calls() -> None:
    envs = fragile(2, "processes")
    envs.reset(seed=0)
    victim = envs.call("pid")[1]
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.1)
    with pytest.raises(BackendError, match=f"Worker process {victim} died \\(exit code -9\\)"):
        envs.call("pid")
    # The dead worker is replaced; a death before a reset is reported by it, and the next step opens the episode.
    envs.reset(seed=0)
    victim = envs.call("pid")[0]
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.1)
    observations, infos = envs.reset(seed=5)
    assert f"Worker process {victim} died" in infos["error"][0]
    assert infos["_error"].tolist() == [True, False]
    assert observations[0] == ""
    assert envs.step(["up", "up"])[4]["turn"].tolist() == [0, 1]
    envs.close()


def test_worker_processes_end_with_the_vector_environment() -> None:
    envs = fragile(2, "processes")
    pids = envs.call("pid")
    del envs
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_scripts_need_no_guard_and_orphans_end() -> None:
    """A script from standard input may use processes as it likes; workers end even if it is killed."""
    program = (
        "import gymnasium as gym, cmat_gym, sys\n"
        "from cmat_gym.core.vector import TextVectorEnv\n"
        "from cmat_gym.core.testing import CounterEnv\n"
        "envs = TextVectorEnv.of(2, CounterEnv, {}, 'processes', workers=2)\n"
        "envs.reset(seed=0)\n"
        "print(*[crew._process.pid for crew in envs._crews], flush=True)\n"
        "while True: envs.step(['up', 'down'])\n"
    )
    command = [sys.executable, "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(program)
        parent.stdin.close()
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    deadline = time.monotonic() + 20
    while any(_is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie that nobody has waited for."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@every_mode
def test_attributes_methods_and_rendering(mode: str) -> None:
    envs = make(3, mode, render_mode="ansi")
    observations, _ = envs.reset(seed=0)
    assert envs.render() == observations
    assert envs.get_attr("target") == tuple(int(text.split("to ")[1].split(".")[0]) for text in observations)
    envs.set_attr("count", [1, 2, 3])
    assert envs.get_attr("count") == envs.call("count") == (1, 2, 3)
    envs.set_attr("count", 9)
    assert envs.get_attr("count") == (9, 9, 9)
    assert envs.call("expert_action") == ("up",) * 3
    with pytest.raises(AttributeError, match="no_such_thing"):
        envs.get_attr("no_such_thing")
    with pytest.raises(UsageError, match="2 entries for 3 environments"):
        envs.set_attr("count", [1, 2])
    # One failed call does not spoil the next.
    assert envs.step(["up"] * 3)[4]["turn"].tolist() == [1, 1, 1]
    envs.close()
    envs.close()
    with pytest.raises(UsageError, match="closed"):
        envs.step(["up"] * 3)


@every_mode
def test_wrapped_worlds(mode: str) -> None:
    kwargs = {"world": "cmat_gym.core.testing:CounterEnv", "memory": "dual"}
    envs = TextVectorEnv.of(2, make_world, kwargs, mode)  # type: ignore[arg-type]
    envs.reset(seed=0)
    observations = envs.step(["up", "down"])[0]
    assert "1. up" in observations[0]
    assert "1. down" in observations[1]
    envs.call("remember", "Count carefully to the target.")
    assert all("Count carefully" in text for text in envs.reset(seed=1)[0])
    envs.close()


@every_mode
def test_callers_mistakes_are_raised(mode: str) -> None:
    envs = make(3, mode)
    with pytest.raises(UsageError, match="reset"):
        envs.step(["up"] * 3)
    with pytest.raises(TaskError, match="Unknown task id 'counter/nowhere'"):
        envs.reset(options={"task": "counter/nowhere"})
    with pytest.raises(IndexError, match="outside split"):
        envs.reset(options={"task": [0, 1, 10**9]})
    with pytest.raises(UsageError, match="2 entries for 3 environments"):
        envs.reset(options={"task": [0, 1]})
    with pytest.raises(UsageError, match="2 entries for 3 environments"):
        envs.reset(seed=[0, 1])
    with pytest.raises(UsageError, match="Unknown reset option 'difficulty'"):
        envs.reset(options={"difficulty": 3})
    with pytest.raises(UsageError, match="reset_mask"):
        envs.reset(options={"reset_mask": [True, False, False]})
    envs.reset(seed=0)
    with pytest.raises(UsageError, match="2 actions for 3 environments"):
        envs.step(["up"] * 2)
    with pytest.raises(UsageError, match="An action is a string, got int: 3"):
        envs.step(["up", 3, "up"])  # type: ignore[list-item]
    assert envs.step(["up"] * 3)[4]["turn"].tolist() == [1, 1, 1]
    envs.close()


@every_mode
def test_worlds_that_cannot_be_built(mode: str) -> None:
    with pytest.raises(BackendError, match="the service is down"):
        TextVectorEnv.of(2, StillbornEnv, {}, mode)  # type: ignore[arg-type]


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(UnknownNameError, match="processes, sync, threads"):
        TextVectorEnv.of(1, CounterEnv, {}, "fibres")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="DISABLED, NEXT_STEP, SAME_STEP"):
        TextVectorEnv.of(1, CounterEnv, {}, "sync", "sometimes")
    with pytest.raises(UsageError, match="at least 1"):
        TextVectorEnv.of(0, CounterEnv, {})
    with pytest.raises(UsageError, match="importable"):
        TextVectorEnv.of(1, lambda: CounterEnv(), {}, "processes")


_VALUES = {
    "number": st.integers(-5, 5),
    "share": st.floats(0, 1),
    "flag": st.booleans(),
    "word": st.text(max_size=3),
    "choices": st.lists(st.text(max_size=2), min_size=2, max_size=2),
    "vector": st.lists(st.floats(0, 1), min_size=3, max_size=3).map(np.array),
}
_INFO = st.fixed_dictionaries({}, optional={**_VALUES, "nested": st.fixed_dictionaries({}, optional=_VALUES)})


@settings(deadline=None)
@given(st.lists(st.none() | _INFO, min_size=1, max_size=5))
def test_infos_are_batched_as_gymnasium_does(infos: list[dict[str, Any] | None]) -> None:
    reference: Any = VectorEnv()
    reference.num_envs = len(infos)
    expected: dict[str, Any] = {}
    for index, info in enumerate(infos):
        if info is not None:
            expected = reference._add_info(expected, info, index)
    assert_same(batch_infos(infos), expected)


def test_mixed_and_uneven_values_become_objects() -> None:
    batched = batch_infos([{"a": 1, "b": np.zeros(2)}, {"a": "one", "b": np.zeros(3)}])
    assert batched["a"].tolist() == [1, "one"]
    assert batched["b"].dtype == object
