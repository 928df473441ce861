"""`cmat-gym train`: base model, warm start, actor-critic, each measured on the same held-out tasks."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.live import RunDisplay
from cmat_gym.cli.options import add_config_options, add_world_options, config_from, env_kwargs, key_values
from cmat_gym.cli.policies import prepare_libraries
from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.panel import resolve_id
from cmat_gym.evaluation.tables import terminal_table
from cmat_gym.trainers.recipe_config import CmatConfig
from cmat_gym.trainers.recipe_results import final_evaluations
from cmat_gym.trainers.run_folder import RunFolder

HELP = "teach a language model in a world"
DESCRIPTION = (
    "Base model, supervised warm start on expert episodes, actor-critic with the Checker; each stage is measured on "
    "the same held-out tasks. Ctrl-C saves; --resume goes on. Writes table, learning curve, adapters and HTML report."
)

EXAMPLES = """examples:
  cmat-gym train WebShop                                       the tiny model, a folder in runs/
  cmat-gym train WebShop --resume runs/webshop-tiny-seed0      go on after Ctrl-C
  cmat-gym train DB --model smollm2 --iterations 30 --actor-critic learning_rate=5e-4
  cmat-gym view runs/webshop-tiny-seed0                        look at it, also while it runs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of the world, and one per field of `CmatConfig`."""
    add_world_options(parser, split=None)
    group = parser.add_argument_group("training")
    add_config_options(group, CmatConfig, skip=("env_id", "source", "protocol", "env_kwargs"))
    for name, what in (("sft", "warm start"), ("actor-critic", "actor-critic")):
        group.add_argument(
            f"--{name}", action="append", default=[], metavar="KEY=VALUE", help=f"a field of the {what}'s own config"
        )
    group.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: a new one in runs/)")
    parser.add_argument("--json", action="store_true", help="print the folder and the final figures as JSON")
    group.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with an interrupted run; other options are ignored"
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on training."""
    prepare_libraries("torch", "transformers", "peft", "trl", "matplotlib")
    from cmat_gym.trainers.recipe import run_recipe

    folder = RunFolder.create(args.out or _new_folder(args), _config(args)) if args.resume is None else _resumed(args)
    console = make_console(stderr=args.json)
    console.print(plain(f"Run folder: {folder.path}"), soft_wrap=True)
    try:
        with RunDisplay(make_console(stderr=True)) as display:
            stages = run_recipe(folder, display)
    except KeyboardInterrupt:
        command = shlex.join(["cmat-gym", "train", args.world, "--resume", str(folder.path)])
        console.print(plain(f"Interrupted and saved. Go on with:\n  {command}"), soft_wrap=True)
        return 130
    if args.json:
        print_json({"folder": str(folder.path), "stages": [run.to_json() for run in final_evaluations(stages)]})
        return 0
    console.print(terminal_table(final_evaluations(stages), "Held-out test panel", width=console.width))
    for name in ("report.html", "curve.png", "results.md", "adapters"):
        if (folder.path / name).exists():
            console.print(plain(str(folder.path / name)), soft_wrap=True)
    return 0


def _config(args: argparse.Namespace) -> CmatConfig:
    world = env_kwargs(args)
    values: dict[str, Any] = config_from(args, CmatConfig)
    values |= {
        "env_id": resolve_id(args.world),
        "source": world.pop("source"),
        "protocol": world.pop("protocol"),
        "env_kwargs": world,
        "sft": key_values("--sft", args.sft),
        "actor_critic": key_values("--actor-critic", args.actor_critic),
    }
    return CmatConfig(**values)


def _resumed(args: argparse.Namespace) -> RunFolder:
    folder = RunFolder.open(args.resume)
    if folder.config.env_id != resolve_id(args.world):
        raise UsageError(f"{args.resume} is a run in {folder.config.env_id}, not in {args.world}")
    return folder


def _new_folder(args: argparse.Namespace) -> Path:
    """`runs/webshop-tiny-seed0`, with a number behind it where that is taken."""
    world = resolve_id(args.world).rpartition("/")[2].rpartition("-v")[0].lower()
    name = f"{world}-{Path(args.model).name}-seed{args.seed}"
    folders = [Path("runs") / name, *(Path("runs") / f"{name}-{number}" for number in range(2, 1000))]
    return next(folder for folder in folders if not folder.exists())
