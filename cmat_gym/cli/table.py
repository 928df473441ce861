"""`cmat-gym table`: the paper's tables as published, with what this machine has recorded of their rows."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from cmat_gym.cli import eval as evaluation_command
from cmat_gym.cli.console import make_console, print_json
from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.grid import Grid, grid_json
from cmat_gym.evaluation.published import PublishedRow, PublishedTable, published_grid, published_table, recorded_grids
from cmat_gym.evaluation.recorded import read_runs
from cmat_gym.policies.model_configs import ModelConfig, model_configs

HELP = "the paper's tables, with what was recorded here"
DESCRIPTION = (
    "Print a table of the paper as published; beside it, in tables of their own, the recorded runs of a folder. "
    "Published figures, official tasks and builtin tasks never share a column."
)
EXAMPLES = """examples:
  cmat-gym table 2                                     the published figures, and what this machine can run
  cmat-gym table 2 --runs results                      with the runs that `cmat-gym eval … --out results` recorded
  cmat-gym table 2 --runs results --run random expert  play these first
  cmat-gym table 2 --runs results --run zephyr-7b-alpha --base-url http://localhost:8000/v1 \\
      --options "--preset agentbench-v0.2 --size 50"
"""
CAN_RUN, RECORDED = "can run", "recorded"
FORMATS = evaluation_command.FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("number", type=int, choices=[2], metavar="NUMBER", help="number of the table: 2")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder with recorded runs")
    parser.add_argument(
        "--run",
        dest="play",
        nargs="*",
        metavar="NAME",
        help="play these policies into --runs first; none: all rows that can run",
    )
    parser.add_argument(
        "--options", default="", metavar="'…'", help="options of `cmat-gym eval` for --run, as one quoted text"
    )
    parser.add_argument("--base-url", metavar="URL", help="what could run if a server there had the models")
    parser.add_argument("--format", choices=FORMATS, default="table", help="of what is printed (default: %(default)s)")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    table = published_table()
    policies = policies_of(table)
    if args.play is not None:
        _play(args)
    elif args.options:
        raise UsageError(f"--options are for what --run plays, which was not given: {args.options}")
    runs = _recorded(args.runs)
    grids = [
        published_grid(table),
        _machine_grid(policies, runs, args.base_url),
        *recorded_grids(table, policies, runs),
    ]
    _show(grids, args.format)
    return 0


def policies_of(table: PublishedTable) -> dict[PublishedRow, str]:
    """Row -> the name of its committed configuration."""
    by_row = {(config.row, config.version): name for name, config in model_configs().items() if config.row}
    return {row: by_row[row.model, row.version] for row in table.rows}


def _machine_grid(policies: Mapping[PublishedRow, str], runs: Sequence[Evaluation], base_url: str | None) -> Grid:
    """What this machine can do about each row."""
    configs = model_configs()
    rows = [
        [
            f"{row.model} {row.version}".removesuffix(" -"),
            name,
            _state(configs[name], runs, base_url),
            configs[name].model,
        ]
        for row, name in policies.items()
    ]
    remarks = [f"{config.name}: {config.note}." for config in configs.values() if config.note]
    return Grid(["Row", "--policy", "Here", "Model"], rows, "The rows on this machine", remarks)


def _state(config: ModelConfig, runs: Sequence[Evaluation], base_url: str | None) -> str:
    if any(run.name == config.name for run in runs):
        return RECORDED
    return config.missing(base_url=base_url) or CAN_RUN


def _recorded(folder: Path | None) -> list[Evaluation]:
    """The complete runs of a folder; what is left out is said on stderr."""
    runs, left_out = ([], []) if folder is None else read_runs(folder)
    for note in left_out:
        make_console(stderr=True).print(note, markup=False)
    return runs


def _play(args: argparse.Namespace) -> None:
    """Play the policies as `cmat-gym eval` does, into the folder of runs."""
    if args.runs is None:
        raise UsageError("--run writes what it plays to a folder: name it as --runs")
    names = args.play or [
        name for name, config in model_configs().items() if not config.missing(base_url=args.base_url)
    ]
    if not names:
        raise UsageError("This machine can run none of the rows; `cmat-gym table 2` says what each needs")
    parser = argparse.ArgumentParser(prog="cmat-gym eval", add_help=False)
    evaluation_command.add_arguments(parser)
    options = shlex.split(args.options)
    address = ["--base-url", args.base_url] if args.base_url is not None else []
    given = parser.parse_args([*options, *address, "--policy", *names, "--out", str(args.runs)])
    evaluation_command.evaluate_all(given)


def _show(grids: Sequence[Grid], form: str) -> None:
    if form == "json":
        print_json([grid_json(grid) for grid in grids])
    elif form == "table":
        console = make_console()
        for grid in grids:
            console.print(grid.terminal())
    else:
        for grid in grids:
            print(grid.markdown() if form == "markdown" else grid.latex())
