"""Arguments that several commands share, and options made from a dataclass."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import os
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import gymnasium as gym

from cmat_gym.core.errors import UnknownNameError, UsageError
from cmat_gym.core.protocol import PROTOCOLS
from cmat_gym.core.registry import WORLDS, world_class
from cmat_gym.evaluation.panel import resolve_id

__all__ = [
    "add_commands",
    "add_config_options",
    "add_world_options",
    "config_from",
    "env_kwargs",
    "for_world",
    "key_values",
    "worlds_of",
]


def add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Any], *, dest: str, run: str) -> None:
    """Declare a command for each module, which says its help, its arguments and what it does.

    Args:
        parser: Gets the commands.
        commands: Name -> module.
        dest: Attribute of the parsed arguments that gets the name.
        run: Attribute that gets the module's `run`.
    """
    named = parser.add_subparsers(title="commands", dest=dest, metavar="COMMAND", required=True)
    for name, command in commands.items():
        sub = named.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=getattr(command, "EXAMPLES", None),
            formatter_class=parser.formatter_class,
        )
        command.add_arguments(sub)
        sub.set_defaults(**{run: command.run})


def add_world_options(parser: argparse.ArgumentParser, *, split: str | None, several: bool = False) -> None:
    """The world, or worlds, and the keywords every world takes."""
    group = parser.add_argument_group("world")
    if several:
        parser.add_argument(
            "world",
            metavar="ID",
            nargs="*",
            help="worlds, such as cmat/WebShop-v0 or WebShop; none or 'all': all of them",
        )
        group.add_argument(
            "--source",
            action="append",
            default=[],
            metavar="[ID=]SOURCE",
            help="'builtin', or official files; ID=… for one world only; may be repeated (default: builtin)",
        )
    else:
        parser.add_argument("world", metavar="ID", help="the world, such as cmat/WebShop-v0, or WebShop for short")
        group.add_argument(
            "--source", default="builtin", help="'builtin', or a folder with official files (default: builtin)"
        )
    if split is not None:
        group.add_argument("--split", default=split, help="tasks to take: train, dev, test, … (default: %(default)s)")
    group.add_argument("--protocol", choices=list(PROTOCOLS), help="how actions are written (default: text)")
    group.add_argument(
        "--memory", default="dual", choices=["dual", "none"], help="what is put around the page (default: %(default)s)"
    )
    group.add_argument("--max-turns", type=int, metavar="N", help="turns per episode (default: the task's own limit)")
    group.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="[ID:]KEY=VALUE" if several else "KEY=VALUE",
        help="further keyword of the world; may be repeated",
    )


def worlds_of(args: argparse.Namespace) -> list[str]:
    """The ids that `add_world_options(several=True)` has read, each once.

    Raises:
        UnknownNameError: No such world.
    """
    names = [world.id for world in WORLDS] if not args.world or args.world == ["all"] else args.world
    return list(dict.fromkeys(resolve_id(name) for name in names))


def for_world(args: argparse.Namespace, env_id: str) -> argparse.Namespace:
    """The options of several worlds as those of one: what names another world is left out.

    Raises:
        UnknownNameError: An option names a world that does not exist.
    """
    source = "builtin"
    for item in args.source:
        name, equals, place = item.partition("=")
        if not equals or os.sep in name:  # a path, which may hold a `=`
            source = item
        elif resolve_id(name) == env_id:
            source = place
    further = []
    for item in args.env:
        name, colon, rest = item.partition("=")[0].partition(":")
        if not colon:
            further.append(item)
        elif resolve_id(name) == env_id:
            further.append(rest + item[len(name) + 1 + len(rest) :])
    return argparse.Namespace(**{**vars(args), "world": env_id, "source": source, "env": further})


def env_kwargs(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `gym.make` that `add_world_options` has read.

    Raises:
        UnknownNameError: No such world, or it takes no such keyword.
        UsageError: An `--env` that is not KEY=VALUE.
    """
    kwargs: dict[str, Any] = {
        "source": args.source,
        "protocol": args.protocol or "text",
        "memory": None if args.memory == "none" else args.memory,
    }
    if args.max_turns is not None:
        kwargs["max_turns"] = args.max_turns
    world = world_class(gym.spec(resolve_id(args.world)).kwargs["world"])
    allowed = _keywords(world)
    further = key_values("--env", args.env)
    for key in further:
        if key not in allowed:
            raise UnknownNameError(f"keyword of {world.__name__}", key, allowed)
    return kwargs | further


def key_values(option: str, items: Iterable[str]) -> dict[str, Any]:
    """Read the KEY=VALUE of a repeated option; values are JSON where they can be, else strings.

    Raises:
        UsageError: An item without `=`.
    """
    values: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{option} takes KEY=VALUE, got {item!r}")
        values[key] = _read_value(value)
    return values


def _keywords(world: type) -> set[str]:
    """Keyword-only parameters of a class and of those it hands its keywords on to."""
    signatures = [inspect.signature(vars(cls)["__init__"]) for cls in world.__mro__ if "__init__" in vars(cls)]
    parameters = [parameter for signature in signatures for parameter in signature.parameters.values()]
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def add_config_options(parser: argparse._ActionsContainer, config: type, *, skip: Iterable[str] = ()) -> None:
    """One option per field of a dataclass, with the help that the field's metadata gives.

    Fields of type int, float, str, bool, `X | None` and `Literal` become options; other fields are left to code.
    """
    hints = get_type_hints(config)
    for item in dataclasses.fields(config):
        reader = _reader(hints[item.name])
        if item.name in skip or not item.init or reader is None:
            continue
        option: dict[str, Any] = {"dest": item.name, "default": item.default, "help": _help(item)}
        if reader is bool:
            option["action"] = argparse.BooleanOptionalAction
        elif isinstance(reader, tuple):
            option["choices"] = reader
        else:
            option |= {"type": reader, "metavar": {int: "N", float: "X"}.get(reader, "TEXT")}
        parser.add_argument(f"--{item.name.replace('_', '-')}", **option)


def config_from(args: argparse.Namespace, config: type) -> dict[str, Any]:
    """The values that options of `add_config_options` have read, by field name."""
    names = {item.name for item in dataclasses.fields(config)}
    return {name: value for name, value in vars(args).items() if name in names}


def _reader(hint: Any) -> Any:
    """How a value of this type is read from the command line: a type, a tuple of choices, or None where it is not."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        return _reader(inner[0]) if len(inner) == 1 else None
    if get_origin(hint) is Literal:
        return get_args(hint)
    return hint if hint in (bool, int, float, str) else None


def _help(item: dataclasses.Field[Any]) -> str:
    text = str(item.metadata.get("help", "")).replace("%", "%%")
    default = "" if item.default in (None, dataclasses.MISSING) else f"(default: {item.default})"
    return f"{text} {default}".strip()


def _read_value(text: str) -> Any:
    """A number, true, false or null as JSON says; anything else is a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text
