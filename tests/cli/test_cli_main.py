"""The command line as a whole: what it loads, how it fails, what `list` prints."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest

from cmat_gym.cli.main import COMMANDS, build_parser, main
from cmat_gym.core.registry import WORLDS

LIGHT = """
import sys
from cmat_gym.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"torch", "transformers", "trl", "peft", "matplotlib"} & set(sys.modules)
worlds = [name for name in sys.modules if name.startswith("cmat_gym.envs.")]
assert not heavy and not worlds, (heavy, worlds)
"""


def test_help_loads_neither_a_world_nor_torch() -> None:
    shown = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(name in shown.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert COMMANDS[name].DESCRIPTION.split()[0] in shown
    assert max(map(len, shown.splitlines())) < 130


@pytest.mark.parametrize(("name", "line"), [
    (name, line.strip())
    for name, command in COMMANDS.items()
    for line in getattr(command, "EXAMPLES", "").splitlines()
    if line.strip().startswith("cmat-gym ")
])  # fmt: skip
def test_the_examples_of_the_help_can_be_typed(name: str, line: str) -> None:
    words = shlex.split(re.split(r" {3,}| \| ", line)[0])
    args = build_parser().parse_args(words[1:])
    assert args.command == words[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("play cmat/WebShopp-v0", "Did you mean 'cmat/WebShop-v0'"),
        ("play cmat-test/Counter-v0 --split validation", "choose one of: dev, test, train"),
        ("play cmat-test/Counter-v0 --task 99", "has 50 tasks"),
        ("play cmat-test/Counter-v0 --task counter/other/test/000001", "Unknown task id"),
        ("play cmat-test/Counter-v0 --env colour=red", "Unknown keyword of CounterEnv 'colour'"),
        ("play cmat-test/Counter-v0 --env colour", "KEY=VALUE"),
        ("eval cmat-test/Counter-v0 --size 0", "size=0"),
        ("eval cmat-test/Counter-v0 --policy expert --adapter x", "needs a language model"),
        ("play cmat-test/Counter-v0 --out /dev/null/x.jsonl", "Not a directory: /dev/null/x.jsonl"),
        ("replay nowhere.jsonl", "There is no file 'nowhere.jsonl'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_two(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.err.startswith(f"cmat-gym {line.split()[0]}: ")
    assert shown.out == ""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m cmat_gym.cli.main list --json | head -c 1"
    shown = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert shown.stdout == "["
    assert shown.stderr == ""


def test_list_shows_every_world_with_its_splits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    worlds = json.loads(capsys.readouterr().out)
    assert [world["id"] for world in worlds] == [world.id for world in WORLDS]
    for world in worlds:
        assert {"train", "dev", "test"} <= set(world["splits"])
        assert world["protocols"] == {"text": "text-v1", "tools": "tools-v1"}
        assert not world["official"]
        assert world["tools"]
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(world.id in shown for world in WORLDS)
