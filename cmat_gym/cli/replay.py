"""`cmat-gym replay`: play recorded episodes again and check that nothing differs."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from cmat_gym.cli.console import make_console, plain
from cmat_gym.cli.environments import Environments
from cmat_gym.core.errors import ReplayError, UsageError
from cmat_gym.core.trajectory import Trajectory, read_trajectories, replay

HELP = "check or show recorded episodes"
DESCRIPTION = (
    "Play recorded episodes again and compare every observation, reward, flag and state with the record. "
    "Exit code 1 if an episode differs."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", metavar="FILE.jsonl", help="episodes as eval, train and play write them")
    parser.add_argument("--episode", type=int, metavar="N", help="only the N-th episode, counted from 1")
    parser.add_argument("--show", action="store_true", help="show the turns")
    parser.add_argument("--no-check", action="store_true", help="do not play them again")


def run(args: argparse.Namespace) -> int:
    """Replay the file."""
    if not Path(args.file).is_file():
        raise UsageError(f"There is no file {args.file!r}; eval --out, train and play --record write such files")
    console = make_console()
    checked = differing = seen = 0
    with Environments() as environments:
        for number, episode in enumerate(read_trajectories(args.file), start=1):
            if args.episode not in (None, number):
                continue
            seen += 1
            if args.show:
                _show(console, number, episode)
            if args.no_check:
                continue
            if episode.error is not None:
                console.print(plain(f"Episode {number} ({episode.task_id}) was ended by an error: {episode.error}"))
                continue
            checked += 1
            try:
                replay(episode, environments.of(episode))
            except ReplayError as error:
                differing += 1
                console.print(plain(f"Episode {number} ({episode.task_id}) differs. {error}", "red"))
    if not seen:
        wanted = "episodes" if args.episode is None else f"episode {args.episode}"
        raise UsageError(f"{args.file} holds no {wanted}")
    if not args.no_check:
        console.print(plain(f"{checked - differing} of {checked} episodes replay bit for bit"))
    return 1 if differing else 0


def _show(console: Console, number: int, episode: Trajectory) -> None:
    console.print(Rule(plain(f"Episode {number}: {episode.task_id}")))
    console.print(plain(episode.instruction, "bold"))
    for position, turn in enumerate(episode.turns, start=1):
        console.print()
        console.print(plain(turn.observation))
        console.print(plain(f"[{position}] > {turn.action}", "bold cyan" if turn.valid_action else "bold red"))
        console.print(plain(f"reward {turn.reward:.3f}, score {turn.score:.3f}", "dim"))
    console.print()
    console.print(plain(episode.final_observation))
    how = f"error: {episode.error}" if episode.error else "success" if episode.success else "no success"
    console.print(plain(f"score {episode.score:.3f}, {how}, {len(episode.turns)} turns", "yellow"))
