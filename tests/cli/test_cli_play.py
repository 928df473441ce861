"""`cmat-gym play` with piped lines and in a terminal, in every world; its records replay and become demonstrations."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import gymnasium as gym
import pytest

from cmat_gym.cli.main import main
from cmat_gym.core.errors import BackendError
from cmat_gym.core.registry import WORLDS
from cmat_gym.core.testing import CounterTasks
from cmat_gym.core.trajectory import read_trajectories
from cmat_gym.evaluation.evaluate import evaluate
from cmat_gym.policies.scripted import ExpertPolicy
from cmat_gym.trainers.demonstrations import Demonstration, read_demonstrations


def play(lines: str, counter_id: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(["play", counter_id, "--task", "0", *options]) == 0


def test_the_expert_can_be_asked_until_the_end(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(":expert\n" * 12, counter_id, monkeypatch)
    shown = capsys.readouterr().out
    payload = CounterTasks().make("test", 0).payload
    turns = abs(payload["target"] - payload["start"]) + 1
    assert shown.rstrip().endswith(f"score 1.000, success, {turns} turns")
    assert f"It shows {payload['target']}." in shown


def test_actions_by_number_and_as_text(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play("1\n:actions\n1\nup\n:actions do\n1\n\nnonsense\n:actions x\nstop\n", counter_id, monkeypatch)
    shown = capsys.readouterr().out
    assert [line[2:] for line in shown.splitlines() if line.startswith("> ")] == [
        "1",
        "up",
        "up",
        "down",
        "nonsense",
        "stop",
    ]
    assert shown.count("   3  stop") == 1
    assert "   1  down" in shown
    assert "None with 'x'." in shown
    assert "Invalid action: say up, down or stop." in shown
    assert shown.rstrip().endswith("6 turns")


def test_undo_takes_back_turns_and_the_record_replays(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = tmp_path / "mine.jsonl"
    for memory in ("none", "dual"):
        play(":undo\nup\nbad\n:undo\nup\n:undo\n:undo\ndown\n:score\nstop\n", counter_id, monkeypatch,
             "--record", str(record), "--memory", memory)  # fmt: skip
    shown = capsys.readouterr().out
    assert "There is no turn to take back." in shown
    assert "score 0.000" in shown
    episodes = list(read_trajectories(record))
    assert [[turn.action for turn in episode.turns] for episode in episodes] == [["down", "stop"], ["down", "stop"]]
    assert main(["replay", str(record)]) == 0
    assert "2 of 2 episodes replay bit for bit" in capsys.readouterr().out


def test_quitting_and_the_end_of_the_input_leave_the_episode_unfinished(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for lines in ("up\n:quit\nup\n", "up\n", "up\n:what\n"):
        play(lines, counter_id, monkeypatch)
        assert capsys.readouterr().out.rstrip().endswith("score 0.000, not finished, 1 turn")


def test_the_seed_draws_the_task(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []
    for seed in ("1", "1", "2"):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert main(["play", counter_id, "--seed", seed]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2]


def test_text_of_a_world_cannot_steer_the_terminal(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play("\x1b]0;owned\x07[red]up[/red]\n", counter_id, monkeypatch)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "]0;owned\N{REPLACEMENT CHARACTER}[red]up[/red]" in shown


def test_actions_of_several_lines_thoughts_and_listing(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = tmp_path / "mine.jsonl"
    lines = ':think up we go\nup\n"""\nThought: two\nAction: down\n"""\ndown\n"""\nnever\n'
    play(lines, counter_id, monkeypatch, "--actions", "--out", str(record), "--name", "Kim")
    shown = capsys.readouterr().out
    assert shown.count("   3  stop") == 4
    assert "nothing was done" in shown
    [episode] = read_trajectories(record)
    assert [turn.action for turn in episode.turns] == [
        "Thought: up we go\nAction: up",
        "Thought: two\nAction: down",
        "down",
    ]
    assert [turn.valid_action for turn in episode.turns] == [True, True, True]
    assert episode.policy == "Kim"
    play(":think no\n", counter_id, monkeypatch, "--protocol", "tools")
    assert "carry no thought" in capsys.readouterr().out


def test_several_tasks_are_played_scored_and_recorded_one_by_one(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = tmp_path / "mine.jsonl"
    monkeypatch.setattr("sys.stdin", io.StringIO("stop\nup\nstop\nup\n:quit\nup\n"))
    assert main(["play", counter_id, "--episodes", "4", "--out", str(record), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(result["turns"], result["finished"]) for result in results] == [(1, True), (2, True), (1, False)]
    assert [len(episode.turns) for episode in read_trajectories(record)] == [1, 2, 1]
    for options, message in (
        (["--episodes", "0"], "at least 1"),
        (["--episodes", "2", "--task", "1"], "names one task"),
    ):
        assert main(["play", counter_id, *options]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("world", [world.id for world in WORLDS])
def test_every_world_is_played_recorded_replayed_and_learned_from(
    world: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A person who types what the expert would gets its observations, score and record."""
    try:
        expert = evaluate(ExpertPolicy, world, 1, split="test").trajectories[0]
    except BackendError as error:
        pytest.skip(f"{world} cannot run here: {error}")
    if expert.error is not None:
        pytest.skip(f"{world} cannot run here: {expert.error}")
    record, demonstrations = tmp_path / "mine.jsonl", tmp_path / "demonstrations.jsonl"
    lines = [f'"""\n{turn.action}\n"""\n' if "\n" in turn.action else f"{turn.action}\n" for turn in expert.turns]
    monkeypatch.setattr("sys.stdin", io.StringIO(":actions\n" + "".join(lines)))
    assert main(["play", world, "--task", expert.task_id, "--out", str(record)]) == 0
    assert f"score {expert.score:.3f}, success, {len(expert.turns)} turn" in capsys.readouterr().out
    [mine] = read_trajectories(record)
    assert mine.turns == expert.turns
    assert mine.final_observation == expert.final_observation
    assert main(["replay", str(record)]) == 0
    assert main(["data", "export", str(record), "--out", str(demonstrations), "--format", "plain"]) == 0
    assert read_demonstrations(demonstrations) == [
        Demonstration(turn.observation, turn.action, mine.task_id) for turn in expert.turns
    ]


def test_what_is_exported_as_chat_has_instructions_prompt_and_answer(
    counter_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record, out = tmp_path / "mine.jsonl", tmp_path / "chat.jsonl"
    play("nonsense\n" + ":expert\n" * 12, counter_id, monkeypatch, "--out", str(record))
    play("stop\n", counter_id, monkeypatch, "--out", str(record))
    capsys.readouterr()
    assert main(["data", "export", str(record), "--out", str(out), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    good = next(read_trajectories(record))
    assert (written["demonstrations"], written["episodes"], written["of"]) == (len(good.turns) - 1, 1, 2)
    assert [turn.notes.get("by") for turn in good.turns] == [None, *["expert"] * (len(good.turns) - 1)]
    row = json.loads(out.read_text().splitlines()[0])
    assert [message["role"] for message in row["prompt"] + row["completion"]] == ["system", "user", "assistant"]
    assert row["prompt"][0]["content"] == gym.make(counter_id, memory=None).unwrapped.system_prompt
    assert row["prompt"][1]["content"] == good.turns[1].observation
    assert row["completion"][0]["content"] == good.turns[1].action
    assert main(["data", "export", str(record), "--out", str(out), "--min-score", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
    assert main(["data", "export", str(record), "--out", str(out), "--min-score", "2"]) == 2
    assert "None of 2 episodes" in capsys.readouterr().err
    assert main(["data", "export", "nowhere.jsonl", "--out", str(out)]) == 2


@pytest.mark.usefixtures("interruptible")
def test_a_person_at_a_terminal(tmp_path: Path) -> None:
    """The real command on a pseudo-terminal: it prompts, answers, and keeps what was played when interrupted."""
    record = tmp_path / "mine.jsonl"
    program = [sys.executable, "-m", "cmat_gym.cli.main", "play", "WebShop", "--task", "0", "--out", str(record)]
    child, terminal = pty.fork()
    if child == 0:
        os.environ["COLUMNS"] = "80"
        os.execv(sys.executable, program)
    try:
        shown = _until(terminal, b"\n> ")
        assert "Task webshop/builtin-v0/test/000000" in shown
        os.write(terminal, b":actions\n")
        assert "   1  search[" in _until(terminal, b"\n> ")
        os.write(terminal, b"search[sandals]\n")
        assert "Page 1" in _until(terminal, b"\n> ")
        assert "interrupted" in _until(terminal, b"interrupted", press=b"\x03")  # Ctrl-C
    except BaseException:
        os.kill(child, signal.SIGKILL)  # or waiting for it would hide what went wrong
        raise
    finally:
        _, status = os.waitpid(child, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert [turn.action for turn in next(read_trajectories(record)).turns] == ["search[sandals]"]


def _until(terminal: int, mark: bytes, press: bytes = b"", seconds: float = 240.0) -> str:
    """What the terminal shows up to a mark, while a key is pressed once a second.

    Once is not enough for Ctrl-C: Python misses it between showing the prompt and waiting for input.
    """
    found = b""
    limit = time.monotonic() + seconds
    while mark not in found.replace(b"\r", b""):
        assert time.monotonic() < limit, found.decode(errors="replace")
        os.write(terminal, press)
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            found += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    assert mark in found.replace(b"\r", b""), found.decode(errors="replace")
    return found.replace(b"\r", b"").decode(errors="replace")
