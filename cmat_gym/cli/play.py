"""`cmat-gym play`: a person acts, with the same observations, actions and score as any policy."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console

from cmat_gym.cli.console import make_console, plain
from cmat_gym.cli.options import add_world_options, env_kwargs
from cmat_gym.core.env import base_env, restore, snapshot
from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory, make_turn, new_trajectory, write_trajectories
from cmat_gym.evaluation.panel import resolve_id

HELP = "act in a world yourself"
DESCRIPTION = "Act in a world from the terminal, or from piped lines."

COMMANDS = """Type an action, or the number of a listed one. Besides:
  :expert  let the expert act      :undo   take back the last turn
  :score   the score as it is      :quit   leave
  :help    this text"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_world_options(parser, split="test", memory="none")
    parser.add_argument("--task", help="id or index of the task (default: drawn with --seed)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the task (default: %(default)s)")
    parser.add_argument("--record", metavar="FILE.jsonl", help="add the episode to this file")


def run(args: argparse.Namespace) -> int:
    """Play one episode."""
    env = gym.make(resolve_id(args.world), split=args.split, **env_kwargs(args))
    try:
        game = Game(env, make_console(), _read_line)
        game.open(_choose_task(env, args.task, args.seed))
        game.play()
        game.close()
        if args.record and game.record.turns:
            write_trajectories(args.record, [game.record], append=True)
    finally:
        env.close()
    return 0


class Game:
    """One episode at the terminal.

    Args:
        env: The environment.
        console: Where to write.
        read: Gives the next line; None at the end of the input.
    """

    def __init__(self, env: gym.Env[str, str], console: Console, read: Callable[[], str | None]) -> None:
        self.env = env
        self.console = console
        self.read = read
        self.past: list[tuple[Any, str]] = []  # snapshot before each turn, with the observation shown then
        self.over = False
        self.observation = ""
        self.info: dict[str, Any] = {}
        self.record: Trajectory

    def open(self, task: Task) -> None:
        """Begin, and show the task."""
        self.observation, self.info = self.env.reset(seed=0, options={"task": task})  # seeded as `replay` does
        self.record = new_trajectory(self.env, "human")
        self.console.print(plain(base_env(self.env).system_prompt, "dim"))
        self.console.print(plain(COMMANDS, "dim"))
        self.console.print(plain(f"Task {self.info['task_id']}: {self.record.instruction}", "bold"))
        self.show()

    def play(self) -> None:
        """Take turns until the episode or the input ends."""
        while not self.over:
            line = self.read()
            if line is None or line.strip() == ":quit":
                return
            self.obey(line.strip())

    def obey(self, line: str) -> None:
        """Carry out one line."""
        if line == ":expert":
            self.act(base_env(self.env).expert_action())
        elif line == ":undo":
            self.undo()
        elif line == ":score":
            self.say(f"score {self.info['score']:.3f}")
        elif line.startswith(":"):
            self.say(COMMANDS)
        elif line:
            choices = self.info.get("admissible_actions", [])
            chosen = line.isdecimal() and 1 <= int(line) <= len(choices)
            self.act(choices[int(line) - 1] if chosen else line)

    def act(self, action: str) -> None:
        """Take a turn."""
        self.past.append((snapshot(self.env), self.observation))
        before = self.observation
        self.observation, reward, terminated, truncated, self.info = self.env.step(action)
        self.record.turns.append(make_turn(before, action, float(reward), terminated, truncated, self.info))
        self.record.final_observation = self.observation
        self.over = terminated or truncated
        self.console.print(plain(f"> {action}", "bold cyan"))
        self.show()

    def undo(self) -> None:
        """Take back the last turn."""
        if not self.past:
            self.say("There is no turn to take back.")
            return
        state, self.observation = self.past.pop()
        _, self.info = restore(self.env, state)
        self.record.turns.pop()
        self.record.final_observation = self.observation
        self.show()

    def show(self) -> None:
        """Show the observation and what can be done."""
        self.console.print()
        self.console.print(plain(self.observation))
        for number, action in enumerate(self.info.get("admissible_actions", []), start=1):
            self.console.print(plain(f"{number:>4}  {action}", "green"))

    def close(self) -> None:
        """Show how it ended."""
        count = len(self.record.turns)
        how = "success" if self.info["success"] else "no success" if self.over else "not finished"
        self.say(f"score {self.info['score']:.3f}, {how}, {count} turn{'' if count == 1 else 's'}")

    def say(self, text: str) -> None:
        """Write a line of the game itself."""
        self.console.print(plain(text, "yellow"))


def _choose_task(env: gym.Env[str, str], wanted: str | None, seed: int) -> Task:
    """The task with an id or an index, or one that the seed draws from the split."""
    world = base_env(env)
    if wanted is None:
        return world.split[int(np.random.default_rng(seed).integers(len(world.split)))]
    try:
        return world.find_task(int(wanted) if wanted.isdecimal() else wanted)
    except IndexError as error:
        raise UsageError(str(error)) from error


def _read_line() -> str | None:
    """A line from the terminal, edited with readline where there is one, or from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline() or None
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # line editing for input()
    try:
        return input("> ")
    except EOFError:
        return None
