"""`cmat-gym eval`: policies on fixed panels, as a table, JSON, Markdown, LaTeX and an HTML report."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cmat_gym.cli.console import episode_progress, make_console, print_json
from cmat_gym.cli.options import add_world_options, env_kwargs, for_world, worlds_of
from cmat_gym.cli.policies import PolicyChoice, add_policy_options, choose_policies, policy_options
from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.comparison import compare_folders, comparison_grid
from cmat_gym.evaluation.evaluate import Evaluation, evaluate
from cmat_gym.evaluation.grid import Grid
from cmat_gym.evaluation.overview import overview
from cmat_gym.evaluation.panel import Panel
from cmat_gym.evaluation.play import WorkerPool
from cmat_gym.evaluation.presets import PRESETS, preset_kwargs
from cmat_gym.evaluation.report import write_report
from cmat_gym.evaluation.tables import grid_of

HELP = "measure policies on fixed panels of tasks"
DESCRIPTION = "Play fixed, hashed panels of tasks with one or more policies, and print scores with 95 % intervals."
EXAMPLES = """examples:
  cmat-gym eval WebShop --policy random expert          the floor and the ceiling of one world
  cmat-gym eval --policy expert --workers 2             the whole table of builtin tasks
  cmat-gym eval WebShop --policy smollm2 --out results  write every task down; run it again to go on
  cmat-gym eval --policy api:gpt-4o-mini --budget-tokens 1000000 --out results
  cmat-gym eval --policy zephyr-7b-alpha --base-url http://localhost:8000/v1 --preset agentbench-v0.2
  cmat-gym eval --compare results/a results/b           two recorded runs, task by task
"""
FORMATS = ("table", "markdown", "latex", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_world_options(parser, split="test", several=True)
    add_policy_options(parser)
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="rules of a published benchmark; --env, --max-turns, --protocol win over them",
    )
    parser.add_argument("--size", type=int, default=100, metavar="N", help="tasks of a panel (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes for expert and random (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="record every task there, and go on with what is recorded; write reports",
    )
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="compare two recorded runs instead of playing"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="of what is printed (default: %(default)s)")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate, or compare what was evaluated."""
    if args.compare is not None:
        return _compare(args)
    runs = evaluate_all(args)
    if args.format == "json":
        print_json([evaluation.to_json() for evaluation in runs])
    else:
        _show(_grids(runs), args.format)
    return 0


def evaluate_all(args: argparse.Namespace) -> list[Evaluation]:
    """Play every policy in every world, and write what `--out` asks for."""
    if args.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {args.workers}")
    jobs = [(world, _kwargs(args, world)) for world in worlds_of(args)]
    policies = choose_policies(args.policy, policy_options(args))
    runs: list[Evaluation] = []
    with ExitStack() as stack:
        pool = stack.enter_context(WorkerPool(args.workers)) if args.workers > 1 else None
        for world, kwargs in jobs:
            panel = Panel.of(world, args.split, args.size, **kwargs)
            for policy in policies:
                runs.append(_play(args, panel, policy, pool if policy.parallel else None, kwargs))
    if args.out is not None:
        _write(args.out, runs, args)
    return runs


def _kwargs(args: argparse.Namespace, world: str) -> dict[str, Any]:
    """What the world is made with: a preset's rules, then what was asked for by name."""
    one = for_world(args, world)
    if args.preset is None:
        return env_kwargs(one)
    rules, named = preset_kwargs(args.preset, world), _named(one)
    return {**env_kwargs(one), **{key: value for key, value in rules.items() if key not in named}}


def _named(args: argparse.Namespace) -> set[str]:
    """Keywords that were given on the command line, which win over a preset's."""
    options = {name for name in ("max_turns", "protocol") if getattr(args, name) is not None}
    return options | {item.partition("=")[0] for item in args.env}


def _play(
    args: argparse.Namespace, panel: Panel, policy: PolicyChoice, pool: WorkerPool | None, kwargs: dict[str, Any]
) -> Evaluation:
    with episode_progress(f"{_short(panel.env_id)} {policy.name}") as on_progress:
        return evaluate(
            policy.factory,
            panel.env_id,
            panel,
            name=policy.name,
            num_envs=args.num_envs,
            workers=pool,
            record_to=None if args.out is None else args.out / _short(panel.env_id) / _slug(policy.name),
            policy_settings=policy.settings,
            on_progress=on_progress,
            **kwargs,
        )


def _compare(args: argparse.Namespace) -> int:
    pairs = compare_folders(*args.compare)
    if args.format == "json":
        print_json([pair.to_json() for pair in pairs])
    else:
        _show([comparison_grid(pair) for pair in pairs], args.format)
    return 0


def _grids(runs: Sequence[Evaluation]) -> list[Grid]:
    """One world in full; several as an overview."""
    return [grid_of(runs)] if len({run.panel.env_id for run in runs}) == 1 else overview(runs)


def _show(grids: Sequence[Grid], form: str) -> None:
    console = make_console()
    for grid in grids:
        if form == "markdown":
            print(grid.markdown())
        elif form == "latex":
            print(grid.latex())
        else:
            console.print((grid if console.width >= 100 else grid.without("Tokens", "Seconds")).terminal())


def _write(folder: Path, runs: Sequence[Evaluation], args: argparse.Namespace) -> None:
    """Write the tables and the report next to the records."""
    results = [evaluation.to_json() for evaluation in runs]
    worlds = dict.fromkeys(run.panel.env_id for run in runs)
    by_world = {world: [run for run in runs if run.panel.env_id == world] for world in worlds}
    several = overview(runs) if len(by_world) > 1 else []
    grids = [*several, *(grid_of(some, world) for world, some in by_world.items())]
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text("\n".join(grid.markdown() for grid in grids), encoding="utf-8")
    (folder / "results.tex").write_text("\n".join(grid.latex() for grid in grids), encoding="utf-8")
    settings = {
        name: value for name, value in vars(args).items() if name not in ("run", "command", "format", "out", "compare")
    }
    write_report(folder / "report.html", runs, settings=settings)
    make_console(stderr=True).print(
        f"Written to {folder}/: results.json, .md and .tex, report.html; {', '.join(map(_short, by_world))}/ with "
        "records.jsonl and episodes.jsonl for each policy",
        markup=False,
    )


def _short(env_id: str) -> str:
    """`cmat/WebShop-v0` -> `WebShop-v0`."""
    return _slug(env_id.rpartition("/")[2])


def _slug(name: str) -> str:
    """A name as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "policy"
