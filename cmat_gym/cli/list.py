"""`cmat-gym list`: the worlds, their splits, protocols and tools."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
from rich.box import SIMPLE_HEAD
from rich.table import Table

from cmat_gym.cli.console import make_console, print_json
from cmat_gym.core.env import base_env
from cmat_gym.core.protocol import PROTOCOLS
from cmat_gym.core.registry import WORLDS

HELP = "what worlds there are"
DESCRIPTION = "Print every world with its splits, protocols, tools and source."
EXAMPLES = """examples:
  cmat-gym list
  cmat-gym list --json | jq '.[].splits'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--source", default="builtin", help="'builtin', or a folder with official files (default: builtin)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the worlds."""
    worlds = [_describe(world.id, world.summary, args.source) for world in WORLDS]
    if args.json:
        print_json(worlds)
        return 0

    table = Table(box=SIMPLE_HEAD)
    for heading in ("World", "What it is", "Splits", "Tools", "Protocols", "Source"):
        table.add_column(heading, overflow="fold")
    for world in worlds:
        splits = "\n".join(
            f"{name} {size:,}" if size < 10**6 else f"{name} (endless)" for name, size in world["splits"].items()
        )
        tools = "\n".join(f"{tool['name']}({', '.join(tool['parameters'])})" for tool in world["tools"])
        kind = "official" if world["official"] else "builtin"
        table.add_row(
            world["id"], world["summary"], splits, tools, "\n".join(world["protocols"]), f"{world['source']}\n({kind})"
        )
    make_console().print(table)
    return 0


def _describe(env_id: str, summary: str, source: str) -> dict[str, Any]:
    env = gym.make(env_id, source=source, memory=None)
    try:
        world = base_env(env)
        return {
            "id": env_id,
            "summary": summary,
            "source": world.tasks.name,
            "official": world.tasks.official,
            "splits": dict(world.tasks.sizes()),
            "protocols": dict(PROTOCOLS),
            "tools": [
                {"name": tool.name, "description": tool.description, "parameters": list(tool.parameters)}
                for tool in world.tools
            ],
        }
    finally:
        env.close()
