"""Logical programs: what a variable stands for, before anybody computes it.

    (JOIN r_inv x)   what r leads to from x; the gold programs write it (JOIN (R r) x)
    (JOIN r x)       what r leads from, to x (gold programs only)
    (AND a b)  (OR a b)  (COUNT a)  (ARGMAX a attribute)  (ARGMIN a attribute)
    m.0abc           an entity
    geo.city         a class: all its members (gold programs only)

Two programs are equal if and only if their texts are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias

from cmat_gym.core.errors import TaskError

__all__ = ["Op", "Program", "both", "canonical", "either", "entity", "follow", "parse_program", "superlative", "tally"]

Op: TypeAlias = Literal["ENTITY", "CLASS", "FORWARD", "BACKWARD", "AND", "OR", "COUNT", "ARGMAX", "ARGMIN"]

ENTITY = re.compile(r"[mfg]\.\w+\Z", re.ASCII)
_TOKEN = re.compile(r"[()]|[^\s()]+")
INVERSE = "_inv"


@dataclass(frozen=True, slots=True)
class Program:
    """A node of a program with everything below it; immutable, and shared between the programs that use it.

    Attributes:
        text: The program in the notation of the tools.
        op: What the node does.
        parts: The programs it does it to.
        name: Entity id, class, relation or attribute, as the operation needs; the path to an attribute has spaces.
        size: Operations in the whole program, those in it twice counted twice.
    """

    text: str
    op: Op = field(compare=False)
    parts: tuple[Program, ...] = field(compare=False, default=())
    name: str = field(compare=False, default="")
    size: int = field(compare=False, default=0)

    @property
    def is_number(self) -> bool:
        """Whether it stands for a number rather than for members of the graph."""
        return self.op == "COUNT" or (self.op in ("AND", "OR") and self.parts[0].is_number)

    def walk(self) -> Iterator[Program]:
        """This node and every one below it, parts first; one that is in it twice comes twice."""
        for part in self.parts:
            yield from part.walk()
        yield self

    def entities(self) -> frozenset[str]:
        """The ids that a relation starts from by name: they never belong to the answer."""
        return _entities(self)

    def __str__(self) -> str:
        """The text."""
        return self.text


@lru_cache(maxsize=1 << 14)
def _entities(program: Program) -> frozenset[str]:
    named = {part.name for node in program.walk() for part in node.parts if part.op == "ENTITY"}
    return frozenset(named)


# Builders: what the tools make ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 14)
def entity(name: str) -> Program:
    """An entity by its id."""
    return Program(name, "ENTITY", (), name)


def follow(relation: str, start: Program) -> Program:
    """What a relation leads to from `start`: the tool `get_neighbors`."""
    return Program(f"(JOIN {relation}{INVERSE} {start.text})", "FORWARD", (start,), relation, start.size + 1)


def both(first: Program, second: Program) -> Program:
    """The members of both: the tool `intersection`."""
    return Program(f"(AND {first.text} {second.text})", "AND", (first, second), "", first.size + second.size + 1)


def either(first: Program, second: Program) -> Program:
    """The members of either: the tool `union`."""
    return Program(f"(OR {first.text} {second.text})", "OR", (first, second), "", first.size + second.size + 1)


def tally(inner: Program) -> Program:
    """How many members there are: the tool `count`."""
    return Program(f"(COUNT {inner.text})", "COUNT", (inner,), "", inner.size + 1)


def superlative(op: Literal["ARGMAX", "ARGMIN"], inner: Program, attribute: str) -> Program:
    """The member with the greatest or least value: the tools `argmax` and `argmin`."""
    return Program(f"({op} {inner.text} {attribute})", op, (inner,), attribute, inner.size + 1)


# Reading -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 14)
def parse_program(text: str) -> Program:
    """Read a program in the notation of the tools or of the gold programs.

    Raises:
        TaskError: It is none, or uses an operation that the tools have no counterpart for.
    """
    tokens = _TOKEN.findall(text)
    if len(tokens) > 10_000:
        raise TaskError(f"A program of {len(tokens)} words is too long to read: {text[:60]!r}…")
    try:
        tree, rest = _nest(tokens, 0)
        if rest != len(tokens):
            raise ValueError(f"{tokens[rest]!r} follows its end")
        return _build(tree)
    except (IndexError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TaskError(f"Not a program of the knowledge graph: {text[:200]!r} ({error})") from None


_Tree: TypeAlias = "str | list[_Tree]"


def _nest(tokens: list[str], at: int) -> tuple[_Tree, int]:
    if tokens[at] == ")":
        raise ValueError("a bracket closes that none opened")
    if tokens[at] != "(":
        return tokens[at], at + 1
    items: list[_Tree] = []
    at += 1
    while tokens[at] != ")":
        item, at = _nest(tokens, at)
        items.append(item)
    return items, at + 1


def _build(tree: _Tree) -> Program:
    if isinstance(tree, str):
        if ENTITY.match(tree):
            return entity(tree)
        return Program(tree, "CLASS", (), tree)
    match tree:
        case ["JOIN", ["R", str(relation)], start]:
            return follow(relation, _build(start))
        case ["JOIN", str(relation), start] if relation.endswith(INVERSE):
            return follow(relation.removesuffix(INVERSE), _build(start))
        case ["JOIN", str(relation), end]:
            inner = _build(end)
            return Program(f"(JOIN {relation} {inner.text})", "BACKWARD", (inner,), relation, inner.size + 1)
        case ["AND", first, second]:
            return both(_build(first), _build(second))
        case ["OR", first, second]:
            return either(_build(first), _build(second))
        case ["COUNT", inner_tree]:
            return tally(_build(inner_tree))
        case ["ARGMAX" | "ARGMIN" as op, inner_tree, *path]:
            words = [word for step in path for word in _path(step)]
            inner = _build(inner_tree)
            text = f"({op} {inner.text} {words[0] if len(words) == 1 else _path_text(words)})"
            return Program(text, "ARGMAX" if op == "ARGMAX" else "ARGMIN", (inner,), " ".join(words), inner.size + 1)
    raise ValueError(f"no operation {tree[0] if tree else '()'!r} with these parts")


def _path(tree: _Tree) -> list[str]:
    """The relations to an attribute, in the order in which they are followed."""
    match tree:
        case str(name):
            return [name]
        case ["JOIN", first, second]:
            return [*_path(first), *_path(second)]
    raise ValueError("an attribute is a name, or a path of names")


def _path_text(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"(JOIN {words[0]} {_path_text(words[1:])})"


# Sameness ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 14)
def canonical(program: Program) -> str:
    """A text that is equal for programs which differ only in the order of the parts of AND and OR."""
    if not program.parts:
        return program.text
    parts = [canonical(part) for part in program.parts]
    if program.op in ("AND", "OR"):
        parts.sort()
    return f"({program.op} {program.name} {' '.join(parts)})"
