"""`cmat-gym play`: a person acts, with the same observations, actions and score as any policy."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.options import add_world_options, env_kwargs
from cmat_gym.core.env import base_env, restore, snapshot
from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory, make_turn, new_trajectory, write_trajectories
from cmat_gym.evaluation.panel import resolve_id
from cmat_gym.policies.prompts import with_thought

HELP = "act in a world yourself"
DESCRIPTION = (
    "Act in a world from the terminal, or from piped lines, and see exactly what a policy sees. What you do is scored "
    "and recorded as a policy's episodes are: `view` shows it, `replay` checks it, `data export` makes demonstrations."
)
EXAMPLES = """examples:
  cmat-gym play WebShop                                     one task
  cmat-gym play ALFWorld --episodes 5 --out mine.jsonl      five tasks, recorded
  cmat-gym data export mine.jsonl --out demonstrations.jsonl
  printf ':expert\\n:quit\\n' | cmat-gym play DB              without a terminal
"""

COMMANDS = '''Type an action, or the number of a listed one. Besides:
  :actions [words]  what can be done now       :think words  put a thought before the next action
  :expert           let the expert act         :undo         take back the last turn
  :score            the score as it is         :quit         leave
  """               begin, and then end, an action of several lines'''

MANY = 200  # actions that are listed at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_world_options(parser, split="test")
    parser.add_argument("--task", help="id or index of the task (default: drawn with --seed)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the tasks (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=1, metavar="N", help="tasks to play (default: %(default)s)")
    parser.add_argument("--actions", action="store_true", help="list what can be done before every turn")
    parser.add_argument(
        "--out", "--record", type=Path, metavar="FILE.jsonl", help="add the episodes to this file, each as it ends"
    )
    parser.add_argument(
        "--name", default="human", help="who plays, as records and reports say it (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON at the end, the game on stderr")


def run(args: argparse.Namespace) -> int:
    """Play."""
    if args.episodes < 1:
        raise UsageError(f"--episodes must be at least 1, got {args.episodes}")
    if args.task is not None and args.episodes > 1:
        raise UsageError("--task names one task; leave it out to play --episodes several")
    if args.out is not None:
        write_trajectories(args.out, [], append=True)  # a file that cannot be written is better known before the game
    console = make_console(stderr=args.json)
    env = gym.make(resolve_id(args.world), split=args.split, **env_kwargs(args))
    results: list[dict[str, Any]] = []
    try:
        tasks = _choose_tasks(env, args.task, args.seed, args.episodes)
        console.print(plain(base_env(env).system_prompt, "dim"), soft_wrap=True)
        console.print(plain(COMMANDS, "dim"), soft_wrap=True)
        for task in tasks:
            game = Game(env, console, _read_line, name=args.name, listing=args.actions)
            game.open(task)
            try:
                game.play()
            finally:  # Ctrl-C keeps what was played
                if args.out is not None and game.record.turns:
                    write_trajectories(args.out, [game.record], append=True)
            results.append(game.close())
            if game.left:
                break
    finally:
        env.close()
    if args.json:
        print_json(results)
    elif len(results) > 1:
        mean = sum(result["score"] for result in results) / len(results)
        console.print(plain(f"{len(results)} episodes, mean score {mean:.3f}", "yellow"))
    return 0


class Game:
    """One episode at the terminal.

    Args:
        env: The environment.
        console: Where to write.
        read: Gives the next line; None at the end of the input.
        name: Who plays, for the record.
        listing: List the admissible actions before every turn, not only when asked.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        console: Console,
        read: Callable[[], str | None],
        *,
        name: str = "human",
        listing: bool = False,
    ) -> None:
        self.env = env
        self.console = console
        self.read = read
        self.name = name
        self.listing = listing
        self.past: list[tuple[Any, str]] = []  # snapshot before each turn, with the observation shown then
        self.listed: list[str] = []  # what a number means now
        self.thought = ""
        self.over = False
        self.left = False
        self.observation = ""
        self.info: dict[str, Any] = {}
        self.record: Trajectory

    def open(self, task: Task) -> None:
        """Begin, and show the task."""
        self.observation, self.info = self.env.reset(seed=0, options={"task": task})  # seeded as `replay` does
        self.record = new_trajectory(self.env, self.name)
        self.console.print(plain(f"Task {self.info['task_id']}: {self.record.instruction}", "bold"), soft_wrap=True)
        self.show()

    def play(self) -> None:
        """Take turns until the episode or the input ends."""
        while not self.over:
            line = self.read()
            if line is None or line.strip() == ":quit":
                self.left = True
                return
            self.obey(line.strip())

    def obey(self, line: str) -> None:
        """Carry out one line."""
        command, _, rest = line.partition(" ")
        if line == ":expert":
            self.act(base_env(self.env).expert_action(), by="expert")
        elif line == ":undo":
            self.undo()
        elif line == ":score":
            self.say(f"score {self.info['score']:.3f}")
        elif command == ":actions":
            self.list_actions(rest.strip())
        elif command == ":think":
            self.think(rest.strip())
        elif line.startswith(":"):
            self.say(COMMANDS)
        elif line == '"""':
            if (lines := self._read_lines()) is not None:
                self.act(lines)
        elif line:
            chosen = line.isdecimal() and 1 <= int(line) <= len(self.listed)
            self.act(self.listed[int(line) - 1] if chosen else line)

    def act(self, action: str, **notes: Any) -> None:
        """Take a turn."""
        self.past.append((snapshot(self.env), self.observation))
        before = self.observation
        action, self.thought = with_thought(self.thought, action), ""
        self.observation, reward, terminated, truncated, self.info = self.env.step(action)
        self.record.turns.append(make_turn(before, action, float(reward), terminated, truncated, self.info, **notes))
        self.record.final_observation = self.observation
        self.over = terminated or truncated
        self.console.print(plain(f"> {action}", "bold cyan"), soft_wrap=True)
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

    def think(self, thought: str) -> None:
        """Keep a thought for the next action; an empty one forgets it."""
        if base_env(self.env).protocol != "text":
            self.say("Function calls carry no thought: play with --protocol text to write one.")
            return
        self.thought = thought

    def list_actions(self, words: str = "") -> None:
        """Number the admissible actions, or those that contain `words`."""
        if "admissible_actions" not in self.info:
            self.say("This world cannot list its actions; the text at the top says what there is.")
            return
        found = [action for action in self.info["admissible_actions"] if words in action]
        self.listed = found[:MANY]
        for number, action in enumerate(self.listed, start=1):
            self.console.print(plain(f"{number:>4}  {action}", "green"), soft_wrap=True)
        if len(found) > MANY:
            self.say(f"{len(found) - MANY} more; narrow them with :actions words")
        elif not found:
            self.say("None." if not words else f"None with {words!r}.")

    def show(self) -> None:
        """Show the observation, and what can be done where that is wanted."""
        self.listed = []
        self.console.print()
        self.console.print(plain(self.observation), soft_wrap=True)
        if self.listing and not self.over:
            self.list_actions()

    def close(self) -> dict[str, Any]:
        """Show how it ended, and return it."""
        count = len(self.record.turns)
        how = "success" if self.info["success"] else "no success" if self.over else "not finished"
        self.say(f"score {self.info['score']:.3f}, {how}, {count} turn{'' if count == 1 else 's'}")
        return {
            "task_id": self.info["task_id"],
            "score": self.info["score"],
            "success": self.info["success"],
            "turns": count,
            "finished": self.over,
        }

    def say(self, text: str) -> None:
        """Write a line of the game itself."""
        self.console.print(plain(text, "yellow"), soft_wrap=True)

    def _read_lines(self) -> str | None:
        """An action of several lines; None, with nothing done, where the input ends in the middle of it."""
        lines: list[str] = []
        while (line := self.read()) is not None:
            if line.strip() == '"""':
                return "\n".join(lines)
            lines.append(line.rstrip("\n"))
        self.say('The input ended before the closing """; nothing was done.')
        return None


def _choose_tasks(env: gym.Env[str, str], wanted: str | None, seed: int, count: int) -> list[Task]:
    """The task with an id or an index, or those that the seed draws from the split."""
    world = base_env(env)
    if wanted is None:
        np_random = np.random.default_rng(seed)
        return [world.split[int(np_random.integers(len(world.split)))] for _ in range(count)]
    try:
        return [world.find_task(int(wanted) if wanted.isdecimal() else wanted)]
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
