"""Options made from a dataclass, and the display of a run."""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from rich.console import Console

from cmat_gym.cli.live import RunDisplay
from cmat_gym.cli.options import add_config_options, config_from, key_values
from cmat_gym.core.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """One field of each kind."""

    rate: float = field(default=0.5, metadata={"help": "how fast, in %"})
    steps: int = 3
    name: str | None = None
    mode: Literal["slow", "fast"] = "slow"
    quiet: bool = False
    table: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 7


def read(*words: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_config_options(parser, Settings, skip=["left_out"])
    return Settings(**config_from(parser.parse_args(words), Settings))


def test_fields_become_options_of_their_type() -> None:
    assert read() == Settings()
    words = ["--rate", "2e-3", "--steps", "9", "--name", "x", "--mode", "fast", "--quiet"]
    assert read(*words) == Settings(rate=0.002, steps=9, name="x", mode="fast", quiet=True)
    assert read("--no-quiet") == Settings()


@pytest.mark.parametrize("words", [["--steps", "1.5"], ["--mode", "slower"], ["--left-out", "1"], ["--table", "1"]])
def test_values_of_another_type_and_fields_left_out_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        read(*words)


def test_help_and_defaults_are_printed() -> None:
    parser = argparse.ArgumentParser()
    add_config_options(parser, Settings)
    shown = parser.format_help()
    assert "how fast, in % (default: 0.5)" in shown
    assert "{slow,fast}" in shown


def test_key_values_are_json_or_text() -> None:
    assert key_values("--env", ["a=1", "b=1.5", "c=true", "d=null", "e=x=y", "f="]) == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": "x=y", "f": "",
    }  # fmt: skip
    with pytest.raises(UsageError, match="--env takes KEY=VALUE, got 'a'"):
        key_values("--env", ["a"])


def test_a_run_without_a_terminal_is_shown_in_few_plain_lines() -> None:
    stream = io.StringIO()
    with RunDisplay(Console(file=stream, width=100)) as display:
        display.begin("warm start", 1000)
        for step in range(1, 1001):
            display.update(step, 1000, {"loss": 1 / step})
        display.note("[bold]done")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "warm start …"
    assert lines[1] == "warm start: 100 of 1000  loss 0.01"
    assert lines[-2] == "warm start: 1000 of 1000  loss 0.001"
    assert lines[-1] == "[bold]done"
    assert len(lines) == 12


def test_a_run_in_a_terminal_is_shown_as_bars() -> None:
    stream = io.StringIO()
    with RunDisplay(Console(file=stream, width=100, force_terminal=True)) as display:
        display.begin("warm start", 4)
        display.update(3, 4, {"loss": 0.25})
    assert "warm start" in stream.getvalue()
    assert "3/4" in stream.getvalue()
    assert "loss 0.25" in stream.getvalue()
