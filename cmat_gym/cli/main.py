"""The `cmat-gym` command: finds the subcommand, and turns errors into one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import cmat_gym
from cmat_gym.cli import eval, list, play, replay, table, train
from cmat_gym.core.errors import CmatError

__all__ = ["main"]

COMMANDS = {"list": list, "play": play, "eval": eval, "table": table, "train": train, "replay": replay}

EXAMPLES = """examples:
  cmat-gym list                                   what there is
  cmat-gym play WebShop                           act yourself
  cmat-gym eval WebShop --policy random expert    the floor and the ceiling, on the same tasks
  cmat-gym train WebShop                          teach a small language model to shop
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    0: done. 1: done, and what was checked did not hold. 2: could not be done; one line says why. 130: interrupted.
    """
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except CmatError as error:
        print(f"cmat-gym {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"cmat-gym {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`head`, a pager) has gone; let the interpreter's own flush find a sink
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="cmat-gym",
        description="Text worlds for language agents: look, play, measure, train.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cmat-gym {cmat_gym.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.HELP, description=command.DESCRIPTION)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
