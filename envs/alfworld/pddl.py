"""Reads the PDDL problems of the household: flat facts, and a goal in one of six forms.

The facts are read with regular expressions (a problem holds a thousand of them and must load in a millisecond); the
goal, which nests, with a small parser. Whatever is not understood is refused: a goal that is guessed at would score
something else than the original.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.alfworld.records import Goal, Problem

__all__ = ["parse_goal", "parse_problem"]

_COMMENT = re.compile(r";[^\n]*")
_SECTION = re.compile(r"\(\s*:(\w+)")
# A fact with at most two arguments; or, in the last group, whatever stands between facts. Possessive quantifiers keep
# the time linear on texts that are no facts.
_FACT = re.compile(r"\(\s*+([^\s()]++)(?:\s++([^\s()]++))?+(?:\s++([^\s()]++))?+\s*+\)|(\S)")
_COST = re.compile(r"\(\s*=\s*\([^()]*\)[^()]*\)")  # costs and distances have no effect on play
_TOKEN = re.compile(r"[()]|[^\s()]+")
_DEEPEST = 40  # brackets; the published goals have 11

_Tree: TypeAlias = "str | list[_Tree]"


class _Atom(NamedTuple):
    name: str
    arguments: tuple[str, ...]


@lru_cache(maxsize=4)  # a game is read when its task is made, and again when it is played
def parse_problem(text: str) -> Problem:
    """Read a problem.

    Raises:
        TaskError: It is no problem of the household, or its goal has an unknown form.
    """
    text = (_COMMENT.sub("", text) if ";" in text else text).lower()
    marks = list(_SECTION.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    sections = {mark[1]: text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}
    if "init" not in sections or "goal" not in sections:
        raise TaskError("The PDDL problem has no (:init …) or no (:goal …)")
    init = sections["init"]
    if "=" in init:
        init = _COST.sub("", init)
    facts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    ids: set[str] = set()
    for name, one, other, stray in _FACT.findall(init):
        if stray and stray != ")":
            raise TaskError(f"The PDDL problem's (:init …) holds something that is no fact: {init.strip()[:80]!r}")
        if other:
            facts[name].append((one, other))
            ids.add(one)
            ids.add(other)
        elif one:
            facts[name].append((one,))
            ids.add(one)
    frozen = {name: tuple(arguments) for name, arguments in facts.items()}
    return Problem(frozen, tuple(sorted(ids)), parse_goal(sections["goal"]))


# The goal -------------------------------------------------------------------------------------------------------------


def parse_goal(text: str) -> Goal:
    """Recognise the goal (the text after `(:goal`).

    Raises:
        TaskError: It is none of the six forms.
    """
    atoms: list[_Atom] = []
    different: list[tuple[str, ...]] = []
    _flatten(_read_tree(text), {}, atoms, different)
    goal = _recognise(atoms, different)
    if goal is None:
        raise TaskError(f"The goal is none of the six task types: {' '.join(text.split())[:200]!r}")
    return goal


def _read_tree(text: str) -> _Tree:
    """The first expression of a text; what follows it may only be closing brackets."""
    stack: list[list[_Tree]] = [[]]
    for token in _TOKEN.findall(text):
        if token == "(":
            stack.append([])
            if len(stack) > _DEEPEST:
                raise TaskError("The goal nests too deep")
        elif token == ")":
            if len(stack) == 1:
                continue  # the brackets that close the section and the problem
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1:
        raise TaskError("The goal is not one closed expression")
    return stack[0][0]


def _flatten(tree: _Tree, scope: dict[str, str], atoms: list[_Atom], different: list[tuple[str, ...]]) -> None:
    """Collect the atoms below `and` and `exists`; variables get the names of their scopes, so that none is reused."""
    match tree:
        case ["and", *parts]:
            for part in parts:
                _flatten(part, scope, atoms, different)
        case ["exists", [*variables], inner]:
            number = len(atoms) + len(different)
            names = [name for name in variables if isinstance(name, str) and name.startswith("?")]
            _flatten(inner, {**scope, **{name: f"{name}#{number}" for name in names}}, atoms, different)
        case ["not", ["=", str(one), str(other)]]:
            different.append((scope.get(one, one), scope.get(other, other)))
        case [str(name), *arguments] if all(isinstance(argument, str) for argument in arguments):
            atoms.append(_Atom(name, tuple(scope.get(str(a), str(a)) for a in arguments)))
        case _:
            raise TaskError(f"The goal holds an expression that is not understood: {str(tree)[:120]}")


_STATES = {"isclean": ("clean", "cleanable"), "ishot": ("heat", "heatable"), "iscool": ("cool", "coolable")}
_LASTING = frozenset({"cleanable", "heatable", "coolable", "sliceable", "pickupable"})


def _recognise(atoms: list[_Atom], different: list[tuple[str, ...]]) -> Goal | None:
    """The goal that these atoms say, if they say exactly one of the six."""
    by_name: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for atom in atoms:
        by_name[atom.name].append(atom.arguments)
    if "istoggled" in by_name:
        return _recognise_look(atoms, by_name) if not different else None
    return _recognise_place(atoms, by_name, different)


def _recognise_look(atoms: list[_Atom], by_name: dict[str, list[tuple[str, ...]]]) -> Goal | None:
    """A toggled lamp in a receptacle at the agent's place, and a thing of the type in hand."""
    types = dict(pair for pair in by_name["objecttype"] if len(pair) == 2)
    try:
        ((lamp,),) = by_name["istoggled"]
        ((inside, place),) = by_name["inreceptacle"]
        ((place_again, location),) = by_name["receptacleatlocation"]
        ((_, location_again),) = by_name["atlocation"]
        ((_, held),) = by_name["holds"]
        wanted = _Atom("objecttype", (held, types[held]))
        lamp_type = types[lamp]
    except (ValueError, KeyError):
        return None
    known = {"istoggled", "inreceptacle", "receptacleatlocation", "atlocation", "holds"}
    rest = {atom for atom in atoms if atom.name not in known}
    expected = {wanted, _Atom("objecttype", (lamp, lamp_type))}
    if (
        (inside, place_again, location_again) != (lamp, place, location)
        or held == lamp
        or rest not in (expected, expected | {_Atom("toggleable", (lamp,))})
    ):
        return None
    return Goal("look_at_obj_in_light", types[held], lamp_type)


def _recognise_place(
    atoms: list[_Atom], by_name: dict[str, list[tuple[str, ...]]], different: list[tuple[str, ...]]
) -> Goal | None:
    """One thing, or two different ones, of a type in a receptacle of a type, perhaps clean, hot or cool."""
    inside = by_name["inreceptacle"]
    things = {pair[0] for pair in inside}
    object_types = {pair[1] for pair in by_name["objecttype"] if len(pair) == 2}
    receptacle_types = {pair[1] for pair in by_name["receptacletype"] if len(pair) == 2}
    places = {pair[-1] for pair in inside}
    states = sorted({atom.name for atom in atoms} & set(_STATES))
    if len(object_types) != 1 or len(receptacle_types) != 1 or len(places) != 1 or len(states) > 1:
        return None
    if len(things) not in (1, 2) or (len(things) == 2) != ([set(pair) for pair in different] == [things]):
        return None
    if (len(things) == 1 and different) or (len(things) == 2 and states):
        return None
    (object_type,), (receptacle_type,), (place,) = object_types, receptacle_types, places
    lasting = {atom.name for atom in atoms if atom.name in _LASTING}
    expected = {_Atom("receptacletype", (place, receptacle_type))}
    for thing in things:
        expected |= {_Atom("inreceptacle", (thing, place)), _Atom("objecttype", (thing, object_type))}
        expected |= {_Atom(name, (thing,)) for name in (*states, *lasting)}
    if set(atoms) != expected:
        return None
    if len(things) == 2:
        return Goal("pick_two_obj_and_place", object_type, receptacle_type, frozenset(lasting))
    if not states:
        return Goal("pick_and_place_simple", object_type, receptacle_type, frozenset(lasting))
    verb, _ = _STATES[states[0]]
    return Goal(f"pick_{verb}_then_place_in_recep", object_type, receptacle_type, frozenset(lasting))
