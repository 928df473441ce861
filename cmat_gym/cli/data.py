"""`cmat-gym data`: fetch the official data of the worlds, and turn recorded episodes into demonstrations."""

from __future__ import annotations

import argparse

from cmat_gym.cli import data_export, data_get, data_list
from cmat_gym.cli.options import add_commands

HELP = "fetch official data, export demonstrations"
DESCRIPTION = "What goes into a training or an evaluation: official data from its public home, and your own episodes."

ACTIONS = {"list": data_list, "get": data_get, "export": data_export}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare one command for each thing that can be done."""
    add_commands(parser, ACTIONS, dest="action", run="do")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    code: int = args.do(args)
    return code
