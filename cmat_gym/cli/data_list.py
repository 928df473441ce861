"""`cmat-gym data list`: what official data there is, under which licence, and what of it is here."""

from __future__ import annotations

import argparse

from rich.box import SIMPLE_HEAD
from rich.filesize import decimal
from rich.table import Table

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.data_get import add_folder, data_folder, describe

HELP = "what official data there is"
DESCRIPTION = "Print the data sets that `data get` can fetch, with size, licence, and whether they are here."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_folder(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the data sets."""
    folder = data_folder(args.folder)
    rows = describe(folder)
    if args.json:
        print_json({"folder": str(folder), "datasets": rows})
        return 0
    table = Table(box=SIMPLE_HEAD)
    for heading in ("Name", "What it is", "Size", "Licence", "Here"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        size = "unknown" if row["bytes"] is None else decimal(row["bytes"])
        table.add_row(*map(plain, (row["name"], row["about"], size, row["licence"], "yes" if row["here"] else "")))
    console = make_console()
    console.print(table)
    console.print(plain(f"Data folder: {folder}"), soft_wrap=True)
    return 0
