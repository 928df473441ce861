"""`cmat-gym data export`: recorded episodes as demonstrations for supervised fine-tuning."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.environments import Environments
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError
from cmat_gym.core.trajectory import Trajectory, read_trajectories
from cmat_gym.trainers.demonstrations import demonstrations_of

HELP = "turn recorded episodes into demonstrations for supervised fine-tuning"
DESCRIPTION = (
    "Write the valid turns of successful episodes, whoever played them, as JSON Lines: `chat` gives prompt and "
    "completion messages with the world's instructions, as TRL's SFTTrainer reads them; `plain` gives observation, "
    "answer and task id, the fields of cmat_gym.trainers.demonstrations.Demonstration."
)
EXAMPLES = """examples:
  cmat-gym play WebShop --episodes 5 --out mine.jsonl
  cmat-gym data export mine.jsonl --out demonstrations.jsonl
  cmat-gym data export results/WebShop-v0/expert/episodes.jsonl --format plain --min-score 0.5 --out good.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl", help="episodes of play, eval or train")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="the file to write")
    parser.add_argument(
        "--format", default="chat", choices=["chat", "plain"], help="what a line holds (default: %(default)s)"
    )
    parser.add_argument(
        "--min-score", type=float, metavar="X", help="take episodes from this score on, not only successful ones"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Export."""
    for file in args.files:
        if not file.is_file():
            raise UsageError(f"There is no file {str(file)!r}; play, eval and train write such with --out")
    episodes = [episode for file in args.files for episode in read_trajectories(file)]
    chosen = [episode for episode in episodes if _is_good(episode, args.min_score)]
    with Environments() as environments:
        rows = [row for episode in chosen for row in _rows(episode, args.format, environments)]
    if not rows:
        raise UsageError(
            f"None of {len(episodes)} episodes can be learned from; lower --min-score to take more of them"
        )
    args.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    written = {"file": str(args.out), "demonstrations": len(rows), "episodes": len(chosen), "of": len(episodes)}
    if args.json:
        print_json(written)
    else:
        text = f"{len(rows)} demonstrations from {len(chosen)} of {len(episodes)} episodes in {args.out}"
        make_console().print(plain(text), soft_wrap=True)
    return 0


def _is_good(episode: Trajectory, min_score: float | None) -> bool:
    return episode.success if min_score is None else episode.score >= min_score and episode.error is None


def _rows(episode: Trajectory, form: str, environments: Environments) -> Iterator[Mapping[str, Any]]:
    demonstrations = demonstrations_of([episode], successful=False)
    if form == "plain":
        yield from (demonstration._asdict() for demonstration in demonstrations)
        return
    system = base_env(environments.of(episode)).system_prompt
    for observation, answer, task_id in demonstrations:
        yield {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": observation}],
            "completion": [{"role": "assistant", "content": answer}],
            "task_id": task_id,
        }
