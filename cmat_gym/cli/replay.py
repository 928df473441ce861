"""`cmat-gym replay`: play recorded episodes again and check that nothing differs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.rule import Rule

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.environments import Environments
from cmat_gym.core.errors import ReplayError, UsageError
from cmat_gym.core.trajectory import Trajectory, read_trajectories, replay

HELP = "check or show recorded episodes"
DESCRIPTION = (
    "Play recorded episodes again and compare every observation, reward, flag and state with the record. "
    "Exit code 1 if an episode differs."
)
EXAMPLES = """examples:
  cmat-gym replay results/WebShop-v0/random/episodes.jsonl check every episode
  cmat-gym replay mine.jsonl --show --episode 2         look at one, turn by turn
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", metavar="FILE.jsonl", help="episodes as eval, train and play write them")
    parser.add_argument("--episode", type=int, metavar="N", help="only the N-th episode, counted from 1")
    parser.add_argument("--show", action="store_true", help="show the turns")
    parser.add_argument("--no-check", action="store_true", help="do not play them again")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON; shows no turns")


def run(args: argparse.Namespace) -> int:
    """Replay the file."""
    if not Path(args.file).is_file():
        raise UsageError(f"There is no file {args.file!r}; eval --out, train and play --out write such files")
    console = make_console(stderr=args.json)
    found: list[Checked] = []
    with Environments() as environments:
        for number, episode in enumerate(read_trajectories(args.file), start=1):
            if args.episode not in (None, number):
                continue
            if args.show and not args.json:
                _show(console, number, episode)
            same, text = (None, "") if args.no_check else _check(episode, environments)
            found.append(Checked(number, episode.task_id, episode.score, len(episode.turns), same, text))
            if text:
                said = "was ended by an error:" if same is None else "differs."
                style = "" if same is None else "red"
                console.print(plain(f"Episode {number} ({episode.task_id}) {said} {text}", style))
    if not found:
        wanted = "episodes" if args.episode is None else f"episode {args.episode}"
        raise UsageError(f"{args.file} holds no {wanted}")
    checked = [episode.same for episode in found if episode.same is not None]
    if args.json:
        print_json([episode._asdict() for episode in found])
    elif not args.no_check:
        console.print(plain(f"{sum(checked)} of {len(checked)} episodes replay bit for bit"))
    return 0 if all(checked) else 1


class Checked(NamedTuple):
    """What became of an episode: `same` is None where it was not played again, and `text` says what differs or why."""

    episode: int
    task_id: str
    score: float
    turns: int
    same: bool | None
    text: str


def _check(episode: Trajectory, environments: Environments) -> tuple[bool | None, str]:
    if episode.error is not None:
        return None, episode.error
    try:
        replay(episode, environments.of(episode))
    except ReplayError as error:
        return False, str(error)
    return True, ""


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
