"""The original engine's game files (`game.tw-pddl`): read as tasks, and written from tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Any

from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task
from cmat_gym.envs.alfworld import prompts
from cmat_gym.envs.alfworld.pddl import parse_problem
from cmat_gym.envs.alfworld.records import Dialect

__all__ = ["game_payload", "read_dialect", "save_game", "write_game"]

_COMMENT = re.compile(r";[^\n]*")
_SENTENCE = re.compile(r'"task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*("(?:[^"\\]|\\.)*")')
_PLACE = re.compile(r'action\s+PutObject\s*\{\s*template\s*::\s*"([^"]*)"')
_ARRIVE = re.compile(r'"You arrive at \{(r|lend)\.name\}\.')
_HELP = re.compile(r"\baction\s+help\b")
_CLEAN = re.compile(r"\(\s*:action\s+cleanobject(.*?)(?=\(\s*:action|\Z)", re.DOTALL)
_SINK = re.compile(r"receptacletype\s+\?r\s+(\w+)")
_TEMPLATES = {"move {o} to {r}": "move", "put {o} in/on {r}": "put"}


# Reading --------------------------------------------------------------------------------------------------------------


def game_payload(text: str, where: str) -> dict[str, Any]:
    """A task's payload from the text of a game file.

    Args:
        text: The file.
        where: What the file is called in errors.

    Raises:
        TaskError: It is no game of the household, or one that was marked as unsolvable.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where} is not JSON: {error}") from None
    keys = ("pddl_domain", "pddl_problem", "grammar")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in keys):
        raise TaskError(f"{where} is no game file: it needs the texts {', '.join(keys)}")
    if data.get("solvable") is False:
        raise TaskError(f"{where} is marked as unsolvable; the original leaves such games out as well")
    walkthrough = data.get("walkthrough") or []
    if not isinstance(walkthrough, list) or not all(isinstance(command, str) for command in walkthrough):
        raise TaskError(f"{where} has a walkthrough that is no list of commands")
    sentence = _SENTENCE.search(data["grammar"])
    if sentence is None:
        raise TaskError(f"{where} has no task sentence in its grammar")
    problem = data["pddl_problem"]
    # Without its sentence, the grammar is the same in all games of a release.
    grammar = data["grammar"][: sentence.start(1)] + data["grammar"][sentence.end(1) :]
    try:
        dialect = read_dialect(grammar, data["pddl_domain"])
        goal = parse_problem(problem).goal
        spoken = json.loads(sentence[1])
    except ValueError as error:  # a TaskError is one
        raise TaskError(f"{where}: {error}") from None
    return {
        "problem": problem,
        "sentence": spoken,
        "grammar": dialect.to_json(),
        "task_type": goal.task_type,
        "walkthrough": walkthrough,
    }


@lru_cache(maxsize=4)
def read_dialect(grammar: str, domain: str) -> Dialect:
    """In which version a game is worded, from its own grammar and domain.

    Raises:
        TaskError: It is worded in a way this engine does not know.
    """
    place, arrive = _PLACE.search(grammar), _ARRIVE.search(grammar)
    clean = _CLEAN.search(_COMMENT.sub("", domain).lower())
    sinks = tuple(sorted(set(_SINK.findall(clean[1])), key=len)) if clean else ()
    if place is None or place[1] not in _TEMPLATES:
        raise TaskError(
            f"The grammar puts things down with {place[1] if place else None!r}; known are {', '.join(_TEMPLATES)}"
        )
    if arrive is None or not sinks:
        raise TaskError("The game has no sentence for arriving, or no action CleanObject that works at a sink")
    return Dialect(_TEMPLATES[place[1]], arrive[1] == "lend", _HELP.search(grammar) is not None, sinks)


# Writing --------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _template(name: str) -> Template:
    return Template((Path(__file__).parent / "data" / name).read_text(encoding="utf-8"))


def write_game(task: Task, dialect: Dialect | None = None, walkthrough: Sequence[str] = ()) -> dict[str, Any]:
    """A task as a game of the original engine: the value of a `game.tw-pddl` file.

    Args:
        task: Any task of this world.
        dialect: Its wording; the task's own by default.
        walkthrough: Commands that win, stored in the file; the task's own by default.
    """
    dialect = dialect or Dialect.from_json(task.payload["grammar"])
    return {
        "pddl_domain": _domain(dialect),
        "grammar": _grammar(dialect, task.payload["sentence"]),
        "pddl_problem": task.payload["problem"],
        "solvable": True,
        "walkthrough": list(walkthrough or task.payload.get("walkthrough", [])),
    }


def save_game(task: Task, path: str | Path, dialect: Dialect | None = None, walkthrough: Sequence[str] = ()) -> None:
    """Write a task to a file that the original engine loads; the folders above it are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(write_game(task, dialect, walkthrough)), encoding="utf-8")


_HELP_ACTION = " (:action help :parameters (?a - agent) :precondition () :effect (and (checked ?a)))\n"


def _domain(dialect: Dialect) -> str:
    sinks = " ".join(f"(receptacleType ?r {kind})" for kind in dialect.sinks)
    return _template("household.pddl").substitute(sinks=sinks, help=_HELP_ACTION if dialect.help else "")


def _grammar(dialect: Dialect, sentence: str) -> str:
    words: Mapping[str, str] = {
        "task": json.dumps(sentence)[1:-1],
        "arrive": "lend" if dialect.arrive_at_location else "r",
        "verb": dialect.place,
        "preposition": "to" if dialect.place == "move" else "in/on",
        # The original's own text starts with a line break, which its parser drops.
        "help": f'action help {{ template :: "help"; feedback :: "\n{prompts.HELP}"; }}' if dialect.help else "",
    }
    return _template("household.twl2").substitute(words)
