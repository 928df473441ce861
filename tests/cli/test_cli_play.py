"""`cmat-gym play` with piped lines."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cmat_gym.cli.main import main
from cmat_gym.core.testing import CounterTasks
from cmat_gym.core.trajectory import read_trajectories


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
    play("1\nup\n2\n\nnonsense\n3\n", counter_id, monkeypatch)
    shown = capsys.readouterr().out
    assert [line[2:] for line in shown.splitlines() if line.startswith("> ")] == [
        "up",
        "up",
        "down",
        "nonsense",
        "stop",
    ]
    assert "   3  stop" in shown
    assert "Invalid action: say up, down or stop." in shown
    assert shown.rstrip().endswith("5 turns")


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
