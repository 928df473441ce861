"""AgentBench's task files: their variants of spelling, and their episodes and grading on a real machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Manifest
from cmat_gym.envs.os.backend import Sandbox
from cmat_gym.envs.os.env import OSEnv
from cmat_gym.envs.os.official import OSTasks, read_record

INTEGER = {"language": "python", "file": "check/integer-match.py"}
COUNT: dict[str, Any] = {
    "description": "How many lines of /srv/box.txt start with 'red'?",
    "create": {"local": "default", "init": {"code": "printf 'red 1\nblue 2\nred 3\n' > /srv/box.txt"}},
    "evaluation": {"check": [None, INTEGER], "example": {"code": "grep -c ^red /srv/box.txt"}},
}
MANIFESTS = {
    "dev": Manifest(26, "96292da83f0418310fe4b992a7b4c0d06aae14b5e7958a3a2a1268e745bd1c2a"),
    "train": Manifest(1000, "6da17f26d29b30fdcdebdaede51509b3ea6453598a297f8c5b1932849b81ddd8"),
}


def payload(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return read_record({**record, **changes}, Path("/nowhere"), "x-00000")


def test_spellings_of_a_record() -> None:
    for create in (None, [], {}, [None, INTEGER]):
        assert payload(COUNT, create=create)["init"] == []
        assert payload(COUNT, create=create)["image"] == "default"
    assert "create" not in (bare := {key: value for key, value in COUNT.items() if key != "create"})
    assert payload(bare)["start"] == ""
    several = payload(COUNT, create={"init": ["true", {"language": "python", "code": "1"}]})
    assert several["init"] == [{"language": "bash", "code": "true"}, {"language": "python", "code": "1"}]
    one = payload(COUNT, evaluation={"check": {"code": "true"}})
    assert one["checks"] == [{"language": "bash", "code": "true"}]
    assert payload(COUNT)["checks"] == [None, {"standard": "integer-match"}]
    assert payload(COUNT, evaluation={"match": "7"})["match"] == {"answer": "7", "strip": True}
    assert payload(COUNT, evaluation={"match": {"regex": "^a"}})["match"] == {"regex": "^a", "strip": True}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"description": "x"}, "evaluation"),
        ({**COUNT, "evaluation": {"check": [None, INTEGER]}}, "has none"),
        ({**COUNT, "evaluation": {"check": [{"language": "rust", "code": ""}]}}, "rust"),
        ([], "no shell task"),
    ],
)
def test_a_bad_record_is_named(record: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        read_record(record, Path("/nowhere"), "x-00000")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the names of an AgentBench checkout."""
    base = tmp_path / "AgentBench" / "data" / "os_interaction"
    for name, content in {
        "data/dev.json": [COUNT],
        "data/1/stock.json": [COUNT, {**COUNT, "evaluation": {"check": {"file": "check/own.sh"}}}],
        "data/6/6-backup.json": [COUNT],
        "data/7/b.json": COUNT,
        "train_0317/training.json": [COUNT],
    }.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (base / "data/7/a.json").write_text(f"{json.dumps(COUNT)}\n{json.dumps(COUNT)}\n")
    (base / "scripts/1/check").mkdir(parents=True)
    (base / "scripts/1/check/own.sh").write_text("test $1 = 3")
    return base.parents[1]


def test_splits_of_a_checkout(checkout: Path) -> None:
    with pytest.raises(TaskError, match=r"has 1 tasks, AgentBench has 26"):
        OSTasks.from_checkout(checkout)
    tasks = OSTasks.from_checkout(checkout, check_counts=False)
    assert tasks.sizes() == {"dev": 1, "test": 5, "train": 1}
    indices = [task.payload["index"] for task in tasks.split("test")]
    assert indices == [
        "std-001-stock-00000",
        "std-001-stock-00001",
        *(f"std-007-{n}-0000{i}" for n, i in ("a0", "a1", "b0")),
    ]
    assert tasks.split("test")[1].payload["checks"] == [{"language": "bash", "code": "test $1 = 3"}]
    with pytest.raises(TaskError, match="holds no shell tasks"):
        OSTasks.from_checkout(checkout / "data")


def test_the_real_files(data_file: Callable[[str], Path]) -> None:
    tasks = OSTasks.from_source(data_file("os/agentbench/dev.json").parent)
    assert {name: tasks.split(name).manifest() for name in tasks.sizes()} == MANIFESTS
    checks = [task.payload["checks"][-1]["standard"] for task in tasks.split("train")]
    counts = {name: checks.count(name) for name in set(checks)}
    assert counts == {"integer-match": 930, "string-match": 47, "size-match": 23}
    dev = tasks.split("dev")
    assert sum("match" in task.payload for task in dev) == 5
    assert sum(bool(task.payload["start"]) for task in dev) == 4


# Playing them ---------------------------------------------------------------------------------------------------------


def play(
    record: dict[str, Any], *actions: str, tmp_path: Path, **options: Any
) -> tuple[list[str], float, dict[str, Any]]:
    """Observations, reward and last info of an episode in AgentBench's own words."""
    path = tmp_path / "task.json"
    path.write_text(json.dumps(record))
    env = gym.make("cmat/OS-v0", source=path, split="dev", dialect="agentbench", memory=None, **options)
    observation, info = env.reset(seed=0)
    observations, reward = [observation], 0.0
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        if terminated or truncated:
            break
    env.close()
    return observations, float(reward), info


def shell(script: str) -> str:
    return f"Think: x\n\nAct: bash\n\n```bash\n{script}\n```"


def test_an_episode_of_v02(cage: Sandbox, tmp_path: Path) -> None:
    seen, reward, info = play(
        COUNT, shell("grep -c red /srv/box.txt"), shell("true"), "Act: answer(2)", tmp_path=tmp_path
    )
    assert seen[0].endswith("My problem is:\n\nHow many lines of /srv/box.txt start with 'red'?")
    assert seen[1:3] == ["The output of the OS:\n\n2\n", "The output of the OS is empty."]
    assert (reward, info["success"]) == (1.0, True)
    for ending in ("Act: answer(3)", "Act: finish", "Act: answer(None)", "Act: answer(2.0)"):
        assert play(COUNT, ending, tmp_path=tmp_path)[1] == 0.0


def test_an_episode_of_function_calls(cage: Sandbox, tmp_path: Path) -> None:
    calls = [
        '{"name": "bash_action", "arguments": {"script": "pwd; cd /srv; echo ~"}}',
        "hm",
        '{"name": "bash_action", "arguments": {"script": "pwd"}}',
        '{"name": "answer_action", "arguments": {"answer": "2"}}',
    ]
    seen, reward, info = play(COUNT, *calls, tmp_path=tmp_path, protocol="tools")
    assert seen[1:4] == [
        "The output of the OS:\n\n/\n/root\n",
        "No executable tool calls found. Please call a tool instead",
        "The output of the OS:\n\n/srv\n",
    ]
    assert (reward, info["turn"]) == (1.0, 4)
    thought = '{"name": "finish_action", "arguments": {"thought": "2"}}'
    assert play(COUNT, thought, tmp_path=tmp_path, protocol="tools")[1] == 0.0


def test_a_malformed_turn_costs_a_turn_or_ends_the_episode(cage: Sandbox, tmp_path: Path) -> None:
    seen, reward, info = play(COUNT, "hm", "Act: answer(2)", tmp_path=tmp_path)
    assert (len(seen), reward) == (3, 1.0)
    seen, reward, info = play(COUNT, "hm", "Act: answer(2)", tmp_path=tmp_path, strict_v02=True)
    assert (len(seen), reward, info["success"]) == (2, 0.0, False)
    seen, reward, info = play(COUNT, *["hm"] * 20, tmp_path=tmp_path)
    assert (len(seen), info["turn"], reward) == (9, 8, 0.0)


def test_deleting_the_input_does_not_make_zero_right(cage: Sandbox, tmp_path: Path) -> None:
    """The reference solution answers 0 after the file is emptied; only the original's way of grading believes it."""
    cheat = (shell(": > /srv/box.txt"), "Act: answer(0)")
    record = {**COUNT, "evaluation": {**COUNT["evaluation"], "example": "grep -c ^red /srv/box.txt || true"}}
    assert play(record, *cheat, tmp_path=tmp_path)[1] == 0.0
    assert play(record, *cheat, tmp_path=tmp_path, gold="final")[1] == 1.0


def test_parameters_are_passed_on_in_order(cage: Sandbox, tmp_path: Path) -> None:
    checks = [
        {"code": 'echo "first:$1"'},
        None,
        {
            "language": "python",
            "code": "import sys; print(sys.argv[1:]); sys.exit(sys.argv[1:] != ['a b', 'first:a b\\n', 'gold\\n'])",
        },
        {"code": 'test "$#" = 4 && test "$1" = "a b" && echo kept > /srv/kept'},
        {"code": "test -f /srv/kept"},
    ]
    record = {**COUNT, "evaluation": {"check": checks, "example": "echo gold; echo noise >&2"}}
    assert play(record, "Act: answer(a b)", tmp_path=tmp_path)[1] == 1.0
    record["evaluation"]["check"][4] = {"code": "test ! -f /srv/kept"}
    assert play(record, "Act: answer(a b)", tmp_path=tmp_path)[1] == 0.0
    only = {**COUNT, "evaluation": {"check": {"code": 'test "$1" = None'}}}
    assert play(only, "Act: finish", tmp_path=tmp_path)[1] == 1.0


def test_matches(cage: Sandbox, tmp_path: Path) -> None:
    for match, text, reward in (
        ("7", " 7 ", 1.0), ({"answer": "7", "strip": False}, " 7 ", 0.0), ({"regex": "^[0-9]+$"}, "12", 1.0),
        ({"regex": "^[0-9]+$"}, "x12", 0.0), ("7", "8", 0.0),
    ):  # fmt: skip
        record = {**COUNT, "evaluation": {"match": match}}
        assert play(record, f"Act: answer({text})", tmp_path=tmp_path)[1] == reward
    assert play({**COUNT, "evaluation": {"match": "None"}}, "Act: finish", tmp_path=tmp_path)[1] == 0.0


def test_a_failing_set_up_is_an_error(cage: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"init script 1 ended with 3: oops"):
        play({**COUNT, "create": {"init": ["true", "echo oops; exit 3"]}}, tmp_path=tmp_path)
    with pytest.raises(TaskError, match=r"check/own.sh, which is not there"):
        play({**COUNT, "evaluation": {"check": {"file": "check/own.sh"}}}, tmp_path=tmp_path)


def test_background_jobs_of_the_start_live_on(cage: Sandbox, tmp_path: Path) -> None:
    start = "(while :; do echo x >> /root/log; sleep 0.05; done) &"
    record = {**COUNT, "start": start, "evaluation": {"match": "1"}}
    seen, _, _ = play(
        record, shell("sleep 0.3; wc -l < /root/log"), shell("sleep 0.3; wc -l < /root/log"), tmp_path=tmp_path
    )
    first, second = (int(text.split()[-1]) for text in seen[1:])
    assert 0 < first < second


def test_reference_solutions_of_the_real_tasks(cage: Sandbox, data_file: Callable[[str], Path]) -> None:
    """The expert solves every tenth of the first 300 training tasks; benchmarks/os_official.py goes through all."""
    source = data_file("os/agentbench/training.json").parent
    env = gym.make("cmat/OS-v0", source=source, split="train", memory=None)
    assert isinstance(base_env(env), OSEnv)
    scores = []
    for index in range(0, 300, 10):
        env.reset(options={"task": index})
        assert base_env(env).cost_to_go() == 2
        env.step(base_env(env).expert_action())
        scores.append(env.step(base_env(env).expert_action())[1])
    assert scores == [1.0] * 30
