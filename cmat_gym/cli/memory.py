"""`cmat-gym memory`: look into a long-term memory."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.core.errors import UsageError
from cmat_gym.core.lessons import LessonRow, LessonStore

HELP = "look into a long-term memory"
DESCRIPTION = "Show the lessons that a long-term memory holds, and which of them a task would call to mind."
EXAMPLES = """examples:
  cmat-gym memory show runs/webshop-tiny-seed0/memory.json
  cmat-gym memory show memory.json --query "red cotton shirt below 30 dollars"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    actions = parser.add_subparsers(title="commands", dest="action", metavar="COMMAND", required=True)
    show = actions.add_parser("show", help="print the lessons", description=DESCRIPTION, epilog=EXAMPLES,
                              formatter_class=parser.formatter_class)  # fmt: skip
    show.add_argument("file", type=Path, metavar="FILE.json", help="a memory as LessonStore.save writes it")
    show.add_argument("--query", metavar="TEXT", help="only what this task and page would call to mind, best first")
    show.add_argument("--limit", type=int, metavar="N", help="lessons at most (default: all)")
    show.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Show the lessons."""
    if not args.file.is_file():
        raise UsageError(f"There is no file {str(args.file)!r}; LessonStore.save writes such files")
    if args.limit is not None and args.limit < 1:
        raise UsageError(f"--limit must be at least 1, got {args.limit}")
    store = LessonStore.load(args.file)
    limit = len(store.lessons) if args.limit is None else args.limit
    found = store.rows(args.query or "")
    if args.query is not None:
        found = [row for row in found if row.relevance > 0]
    rows = [_describe(row) for row in found[:limit]]
    if args.json:
        print_json({"episodes": store.episodes, "capacity": store.capacity, "lessons": rows})
        return 0
    table = Table(box=SIMPLE_HEAD)
    for heading, justify in (("Lesson", "left"), ("Learned in", "left"), ("Strength", "right"), ("Retention", "right"),
                             ("Last used", "right")):  # fmt: skip
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        used = f"episode {row['last_used']}"
        cells = (row["text"], row["context"], f"{row['strength']:g}", f"{row['retention']:.2f}", used)
        table.add_row(*(plain(cell) for cell in cells))
    console = make_console()
    shown = f"{len(rows)} of {len(store.lessons)} lessons"
    console.print(plain(f"{shown}; room for {store.capacity}; {store.episodes} episodes lived"))
    if rows:
        console.print(table)
    return 0


def _describe(row: LessonRow) -> Mapping[str, Any]:
    return {**asdict(row.lesson), "retention": row.retention, "relevance": row.relevance}
