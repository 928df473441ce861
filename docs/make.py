"""Writes the index and the pages of the worlds, from the code: `python docs/make.py`; `--check` only compares."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import gymnasium as gym

from cmat_gym.cli.main import COMMANDS
from cmat_gym.core.env import TextEnv, base_env
from cmat_gym.core.registry import WORLDS, World

DOCS = Path(__file__).parent
GUIDES = {
    "first-training": "First training in five minutes",
    "your-own-critic": "Your own critic",
    "your-own-world": "Your own world",
    "official-data": "Official data",
    "gpu-and-cluster": "GPU and cluster",
    "reproducing-the-paper": "Reproducing the paper",
    "security": "Security model",
}
NOTE = "<!-- Written by docs/make.py from the class docstring; change it there. -->"
ABOUT = "Text worlds for language agents behind the Gymnasium API, and the CMAT actor-critic method that trains them."


def pages() -> dict[Path, str]:
    """Every generated page: path below docs/ -> text."""
    texts = {Path("worlds") / f"{slug(world)}.md": world_page(world) for world in WORLDS}
    return {Path("index.md"): index_page(), **texts}


def slug(world: World) -> str:
    """`cmat/WebShop-v0` -> `webshop`."""
    return world.id.removeprefix("cmat/").rpartition("-v")[0].lower()


def world_page(world: World) -> str:
    """One world: its facts in a table, then its docstring."""
    env = base_env(gym.make(world.id, memory=None))
    try:
        splits = ", ".join(f"{name} {_count(size)}" for name, size in env.tasks.sizes().items())
        facts = [
            ("Make", f"`gym.make({world.id!r})` after `import cmat_gym`"),
            ("Tasks", f"`{env.tasks.name.partition('+')[0]}`: {splits}"),
            ("Tools", "; ".join(f"`{tool.name}({', '.join(tool.parameters)})`" for tool in env.tools)),
            ("Turn limit", f"{env.tasks.split('train')[0].max_turns}"),
        ]
        table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts)])
        return f"{NOTE}\n# {world.id}\n\n{table}\n\n{_docstring(env)}\n\n{_prompts(world)}"
    finally:
        env.close()


def index_page() -> str:
    """The guides, the worlds and the commands."""
    guides = "\n".join(f"- [{title}](guides/{name}.md)" for name, title in GUIDES.items())
    worlds = "\n".join(f"| [{world.id}](worlds/{slug(world)}.md) | {world.summary} |" for world in WORLDS)
    commands = "\n".join(f"| `cmat-gym {name}` | {command.HELP} |" for name, command in COMMANDS.items())
    return (
        f"{NOTE}\n# cmat-gym\n\n{ABOUT}\n\n## Guides\n\n{guides}\n\n"
        f"## Worlds\n\n| id | what it is |\n|---|---|\n{worlds}\n\n"
        f"## Commands\n\n| command | what it does |\n|---|---|\n{commands}\n\n"
        "## More\n\n- [Python interface](api.md)\n"
        "- [Evaluation](evaluation.md): tables, records, comparisons, endpoints\n"
        "- [Metrics](metrics.md) that the trainers log\n- [The tiny base model](tiny.md)\n"
        "- [The facts of the knowledge graph](provenance/kg.md): sources and licences\n"
    )


def _docstring(env: TextEnv) -> str:
    text = inspect.getdoc(type(env))
    assert text, f"{type(env).__name__} has no docstring, and so no page"
    return text


def _prompts(world: World) -> str:
    """What an agent is told before its first turn, in both protocols."""
    parts = ["## Instructions to the Agent"]
    for protocol in ("text", "tools"):
        env = gym.make(world.id, memory=None, protocol=protocol)
        prompt = base_env(env).system_prompt
        fence = "````" if "```" in prompt else "```"
        parts.append(f"Protocol `{protocol}`:\n\n{fence}\n{prompt}\n{fence}")
        env.close()
    return "\n\n".join(parts) + "\n"


def _count(size: int) -> str:
    return f"{size:,}" if size < 1_000_000 else "without end"


def stale() -> list[Path]:
    """Pages whose file is missing or says something else than the code."""
    return [
        path
        for path, text in pages().items()
        if not (DOCS / path).is_file() or (DOCS / path).read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write all pages; with `--check` name those that are stale instead, and fail if there are any."""
    if "--check" in sys.argv[1:]:
        for path in stale():
            print(f"docs/{path} is stale: run python docs/make.py")
        return 1 if stale() else 0
    for path, text in pages().items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")
        print(f"docs/{path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
