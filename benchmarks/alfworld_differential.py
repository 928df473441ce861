"""Plays the same games in the original engine and in ours, and compares every word:

    python benchmarks/alfworld_differential.py [--games 200] [--steps 40] [--source FOLDER --split valid_seen]

Builtin games are written as game files first, in both grammars by turns; published ones are taken as they are. Each
game is played twice: at random, with invalid commands among the moves, and along the expert's plan. Observation, list
of commands (in order) and `won` must be equal at every step; the exit code says so. alfworld_reference.py says what to
install.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alfworld_reference import Reference, Shown

from cmat_gym.core.task import Task
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, open_game
from cmat_gym.envs.alfworld.expert import ALFWorldExpert
from cmat_gym.envs.alfworld.game import State
from cmat_gym.envs.alfworld.gamefile import save_game
from cmat_gym.envs.alfworld.official import OfficialHouseTasks
from cmat_gym.envs.alfworld.prompts import NOTHING_HAPPENS
from cmat_gym.envs.alfworld.records import DIALECTS, Dialect
from cmat_gym.envs.alfworld.scorer import Wish, goal_holds
from cmat_gym.envs.alfworld.tasks import open_tasks

CHUNK = 20  # games per process: the original keeps some megabytes of each
BAD_COMMANDS = ("dance", "go to moon 1", "take all", "Look", "go to", "", "open open 1", "help me")


class Ours:
    """One game in our engine, behind the interface of the original's."""

    def __init__(self, game: ALFWorldBackend, sentence: str) -> None:
        self.game, self.sentence, self.wish = game, sentence, Wish.of(game)
        self.state: State = game.initial

    def reset(self) -> Shown:
        """Start the game."""
        self.state = self.game.initial
        return self._shown(self.game.opening(self.sentence))

    def step(self, command: str) -> Shown:
        """Carry out a command."""
        step = self.game.act(self.state, command.strip())
        if step is None:
            return self._shown(NOTHING_HAPPENS)
        self.state = step.state
        return self._shown(step.observation)

    def _shown(self, text: str) -> Shown:
        commands = list(self.game.situation(self.state).commands)
        return Shown(text, commands, goal_holds(self.wish, self.game, self.state))


def random_command(commands: list[str], rng: random.Random) -> str:
    """Mostly something that changes the house; now and then a mistake."""
    if rng.random() < 0.06:
        return rng.choice(BAD_COMMANDS)
    acting = [c for c in commands if not c.startswith(("go ", "inventory", "help", "examine "))]
    return rng.choice(acting) if rng.random() < 0.6 else rng.choice(commands)


def walks(ours: Ours, steps: int, rng: random.Random) -> Iterator[Iterator[str]]:
    """A random walk, then the expert's; each draws its next command from the state that the last one led to."""
    yield (random_command(list(ours.game.situation(ours.state).commands), rng) for _ in range(steps))
    expert = ALFWorldExpert(ours.game)
    yield iter(lambda: "" if goal_holds(ours.wish, ours.game, ours.state) else expert.next_command(ours.state), "")


def compare(task: Task, dialect: Dialect, steps: int, seed: int, path: Path) -> tuple[int, int]:
    """Play one game in both engines; returns how many pages were compared, and how many differ."""
    original = Reference()
    original.load(path)
    ours = Ours(open_game(task.payload["problem"], dialect), task.payload["sentence"])
    compared = different = 0
    for walk in walks(ours, steps, random.Random(seed)):
        pages = [("", original.reset(), ours.reset())]
        for command in walk:
            mine = ours.step(command)
            pages.append((command, original.step(command), mine))
        compared += len(pages)
        for command, its, mine in pages:
            if its != mine:
                different += 1
                print(f"{task.id} [{dialect.name}] {command!r}\n  original {its}\n  ours     {mine}", flush=True)
    if not goal_holds(ours.wish, ours.game, ours.state):
        raise SystemExit(f"the expert does not win {task.id}")
    original.close()
    return compared, different


def play_chunk(arguments: argparse.Namespace, start: int, count: int) -> None:
    """Some games in this process; prints the sums in the last line."""
    source = open_tasks(arguments.source or "builtin")
    tasks = source.split(arguments.split)
    dialects = itertools.cycle(DIALECTS.values())
    total = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for index in range(start, min(start + count, len(tasks))):
            task, dialect, path = tasks[index], next(dialects), Path(folder) / "game.tw-pddl"
            if isinstance(source, OfficialHouseTasks):
                path, dialect = source.games[arguments.split][index], Dialect.from_json(task.payload["grammar"])
            else:
                save_game(task, path, dialect)
            compared, different = compare(task, dialect, arguments.steps, index, path)
            total, wrong = total + compared, wrong + different
    print(total, wrong)


def main() -> int:
    """Play in chunks, a process each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=200)
    parser.add_argument("--steps", type=int, default=40, help="random steps a game")
    parser.add_argument("--start", type=int, default=0, help="index of the first game")
    parser.add_argument("--source", help="published games instead of builtin ones")
    parser.add_argument("--split", default="train")
    parser.add_argument("--chunk", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.chunk:
        play_chunk(arguments, *arguments.chunk)
        return 0
    total = wrong = 0
    for start in range(arguments.start, arguments.start + arguments.games, CHUNK):
        count = min(CHUNK, arguments.start + arguments.games - start)
        command = [sys.executable, __file__, *sys.argv[1:], "--chunk", str(start), str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        *differences, sums = done.stdout.strip().splitlines()
        print("\n".join(differences), end="\n" if differences else "")
        compared, different = map(int, sums.split())
        total, wrong = total + compared, wrong + different
        print(f"games {start} to {start + count - 1}: {total} pages compared, {wrong} differ", flush=True)
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    raise SystemExit(main())
