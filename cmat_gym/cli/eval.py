"""`cmat-gym eval`: policies on a fixed panel, as a table, JSON, Markdown and an HTML report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cmat_gym.cli.console import episode_progress, make_console, print_json
from cmat_gym.cli.options import add_world_options, env_kwargs
from cmat_gym.cli.policies import policy_factory
from cmat_gym.core.trajectory import write_trajectories
from cmat_gym.evaluation.evaluate import Evaluation, evaluate
from cmat_gym.evaluation.panel import Panel
from cmat_gym.evaluation.report import write_report
from cmat_gym.evaluation.tables import markdown_table, terminal_table

HELP = "measure policies on a fixed panel of tasks"
DESCRIPTION = "Play a fixed, hashed panel of tasks with one or more policies, and print scores with 95 % intervals."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_world_options(parser, split="test")
    group = parser.add_argument_group("policy")
    group.add_argument(
        "--policy",
        nargs="+",
        default=["random", "expert"],
        help="expert, random, or a language model: tiny, smollm2, a folder or a hub id (default: random expert)",
    )
    group.add_argument("--adapter", metavar="FOLDER", help="adapter for the language models, as train saves it")
    group.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 acts greedily (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=100, metavar="N", help="tasks of the panel (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the policies (default: %(default)s)")
    parser.add_argument(
        "--num-envs", type=int, default=16, metavar="N", help="actions in a batch (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write results.json, results.md, report.html and episodes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    kwargs = env_kwargs(args)
    panel = Panel.of(args.world, args.split, args.size, **kwargs)
    runs: list[Evaluation] = []
    for name in args.policy:
        policy = policy_factory(name, adapter=args.adapter, temperature=args.temperature, seed=args.seed)
        with episode_progress(name) as on_progress:
            runs.append(
                evaluate(
                    policy, args.world, panel, name=name, num_envs=args.num_envs, on_progress=on_progress, **kwargs
                )
            )
    if args.json:
        print_json([evaluation.to_json() for evaluation in runs])
    else:
        console = make_console()
        console.print(terminal_table(runs, width=console.width))
    if args.out is not None:
        _write(args.out, runs, args)
        make_console(stderr=True).print(
            f"Written to {args.out}/: report.html, results.json, results.md, episodes", markup=False
        )
    return 0


def _write(folder: Path, runs: list[Evaluation], args: argparse.Namespace) -> None:

    folder.mkdir(parents=True, exist_ok=True)
    results = [evaluation.to_json() for evaluation in runs]
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(markdown_table(runs), encoding="utf-8")
    for number, evaluation in enumerate(runs, start=1):
        write_trajectories(folder / f"episodes-{number}.jsonl", evaluation.trajectories)
    settings = {name: value for name, value in vars(args).items() if name not in ("run", "command", "json", "out")}
    write_report(folder / "report.html", runs, settings=settings)
