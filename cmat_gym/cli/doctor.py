"""`cmat-gym doctor`: what this machine can run, and what to install for the rest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from cmat_gym.cli.checks import KINDS, Check, all_checks
from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.core.errors import UnknownNameError

HELP = "what this machine can run, and what to install for the rest"
DESCRIPTION = (
    "Play a turn in every world, start every backend, and look for models, data, GPU and the libraries of every extra. "
    "Exit code 0: the worlds as they come work, and so do the parts named. 1: something of that does not; it is marked "
    "with x. Parts that nobody named and that nothing needs are marked with - where they are missing."
)
EXAMPLES = """examples:
  cmat-gym doctor                            everything
  cmat-gym doctor train OS/docker            exit code 1 unless these two can be used, too
  cmat-gym doctor --json | jq '.checks[] | select(.ok | not)'
"""

TITLES = dict(zip(KINDS, ("Machine", "Worlds", "Backends", "Models", "Data", "Extras"), strict=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("parts", nargs="*", metavar="PART", help="an extra, backend, model, … that must be there, too")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Look, and judge."""
    console = make_console()
    checks: list[Check] = []
    for check in all_checks():
        if not args.json:
            _show(console, check, new=not checks or checks[-1].kind != check.kind, wanted=_is_named(check, args.parts))
        checks.append(check)
    known = {check.name.lower(): check.name for check in checks}
    for part in args.parts:
        if part.lower() not in known:
            raise UnknownNameError("part", part, known.values())
    failed = [check for check in checks if not check.ok and (check.needed or _is_named(check, args.parts))]
    if args.json:
        print_json({"ok": not failed, "checks": [check._asdict() for check in checks]})
    else:
        broken = ", ".join(check.name for check in failed)
        console.print(plain(f"\nMissing: {broken}" if failed else "\nAll that is needed is there.", "bold"))
    return 1 if failed else 0


def _is_named(check: Check, parts: Sequence[str]) -> bool:
    return check.name.lower() in {part.lower() for part in parts}


def _show(console: Console, check: Check, *, new: bool, wanted: bool) -> None:
    if new:
        console.print(plain(f"\n{TITLES[check.kind]}", "bold"))
    mark, style = ("+", "green") if check.ok else ("x", "red") if check.needed or wanted else ("-", "yellow")
    console.print(plain(f"  {mark} {check.name:<18} ", style) + plain(check.detail), soft_wrap=True)
    if check.remedy:
        console.print(plain(f"{'':23}{check.remedy}", "dim"), soft_wrap=True)
