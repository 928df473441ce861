"""The `cmat-gym` command: finds the subcommand, and turns errors into one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import cmat_gym
from cmat_gym.cli import data, doctor, eval, list, memory, play, replay, table, train, view
from cmat_gym.cli.options import add_commands
from cmat_gym.core.errors import CmatError

__all__ = ["main"]

COMMANDS = {
    "list": list,
    "play": play,
    "eval": eval,
    "table": table,
    "train": train,
    "view": view,
    "replay": replay,
    "memory": memory,
    "data": data,
    "doctor": doctor,
}

EXAMPLES = """examples:
  cmat-gym doctor                                 what this machine can run
  cmat-gym list                                   what there is
  cmat-gym play WebShop                           act yourself
  cmat-gym eval WebShop --policy random expert    the floor and the ceiling, on the same tasks
  cmat-gym view results                           look at an evaluation, a run or recorded episodes
  cmat-gym train WebShop                          teach a small language model to shop

exit codes: 0 done; 1 done, and what was checked did not hold; 2 it could not be done, one line says why;
130 interrupted, and what was finished is kept. `cmat-gym COMMAND --help` has examples of each command.
"""


class HelpFormatter(argparse.HelpFormatter):
    """Fills descriptions to the terminal's width, and leaves text with lines of its own, such as examples, alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


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
    except BrokenPipeError:  # the reader (`head`, a pager) has gone; let the interpreter's own flush find a sink
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:  # no file that the caller named; whatever it is, its trace is worth more than a line
            raise
        print(f"cmat-gym {args.command}: {error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"cmat-gym {args.command}: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="cmat-gym",
        description="Text worlds for language agents: look, play, measure, train.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cmat-gym {cmat_gym.__version__}")
    add_commands(parser, COMMANDS, dest="command", run="run")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
