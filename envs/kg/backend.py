"""Answers the tools' questions about programs: on a graph in memory. sparql.py does the same at an endpoint.

What a program stands for:

- A relation followed from an id or a program leads to all its objects; AND, OR are set operations; a class is its
  members.
- ARGMAX and ARGMIN keep one member: the one with the greatest or least value of the attribute, of equals the one with
  the smallest id; members without a value drop out. A path of relations may lead to the attribute.
- COUNT is the number of distinct members, as a string.
- Ids from which the program follows a relation are no members of what is answered, listed, counted or compared.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cmat_gym.envs.kg.arrays import EMPTY, Nodes
from cmat_gym.envs.kg.files import open_graph
from cmat_gym.envs.kg.ontology import Ontology
from cmat_gym.envs.kg.programs import Program
from cmat_gym.envs.kg.store import Graph

__all__ = ["GraphBackend", "KGBackend", "open_backend"]

REMEMBERED = 16 << 20  # bytes of results of programs kept, the least recently used go first


@runtime_checkable
class KGBackend(Protocol):
    """Where facts come from."""

    ontology: Ontology

    def relations(self, start: Program) -> tuple[str, ...]:
        """The relations that an entity, or any member of a set, has: those of the vocabulary, sorted by name.

        Raises:
            BackendError: The service behind it failed.
        """

    def attributes(self, start: Program) -> tuple[str, ...]:
        """The attributes that any member of a set has: those of the vocabulary, sorted by name.

        Raises:
            BackendError: The service behind it failed.
        """

    def answer(self, program: Program) -> frozenset[str]:
        """The ids a program stands for, or the number.

        Raises:
            BackendError: The service behind it failed.
        """

    def matches(self, program: Program, ids: frozenset[str]) -> bool:
        """Whether a program stands for exactly these.

        Raises:
            BackendError: The service behind it failed.
        """


class GraphBackend:
    """Runs programs on a graph in memory. Share one between all environments of a process.

    Args:
        graph: The graph; only read.
        path: Where it was opened from, so that a pickle can open it again instead of carrying it.
    """

    def __init__(self, graph: Graph, path: Path | None = None, *, opened: bool = False) -> None:
        self.graph = graph
        self.ontology = graph.ontology
        self._origin = (path,) if opened else None
        self.forget()

    def forget(self) -> None:
        """Drop all remembered results."""
        self._results = _Results(REMEMBERED)
        self.relations = lru_cache(1 << 13)(self._relations)
        self.attributes = lru_cache(1 << 13)(self._attributes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again by its path; a graph of the caller's own making goes along."""
        return (GraphBackend, (self.graph,)) if self._origin is None else (open_backend, self._origin)

    def _relations(self, start: Program) -> tuple[str, ...]:
        return self.graph.relations_of(self.members(start))

    def _attributes(self, start: Program) -> tuple[str, ...]:
        return self.graph.attributes_of(self.members(start))

    def answer(self, program: Program) -> frozenset[str]:
        """The ids a program stands for, or the number."""
        if program.is_number:
            return self._number(program)
        if program.op == "ENTITY":  # an id alone is itself, known or not
            return frozenset([program.name])
        return frozenset(map(self.graph.id, self.members(program)))

    def matches(self, program: Program, ids: frozenset[str]) -> bool:
        """Whether a program stands for exactly these; sets of another size are never written out."""
        if program.is_number:
            return self._number(program) == ids
        return self.size(program) == len(ids) and self.answer(program) == ids

    def size(self, program: Program) -> int:
        """How many members a program has."""
        return len(self.members(program))

    def _number(self, program: Program) -> frozenset[str]:
        if program.op == "COUNT":
            (inner,) = program.parts
            return frozenset([str(len(self.answer(inner)) if inner.is_number else len(self.members(inner)))])
        first, second = (self.answer(part) for part in program.parts)
        return first & second if program.op == "AND" else first | second

    # Sets of entities -------------------------------------------------------------------------------------------------

    def members(self, program: Program) -> Nodes:
        """The members of a program without the entities it starts from; those of a number are none."""
        nodes = self.reached(program)
        named = program.entities()
        if not named or not len(nodes):
            return nodes
        numbers = [self.graph.find(name) for name in named]
        hit = [place for number in numbers if (place := _place(nodes, number)) is not None]
        return np.delete(nodes, hit) if hit else nodes

    def reached(self, program: Program) -> Nodes:
        """The members of a program, the entities it starts from among them."""
        known = self._results.get(program.text)
        if known is None:
            known = self._compute(program)
            self._results.put(program.text, known)
        return known

    def _compute(self, program: Program) -> Nodes:
        match program.op:
            case "ENTITY":
                number = self.graph.find(program.name)
                return EMPTY if number < 0 else self.graph.node(number)
            case "CLASS":
                return self.graph.members(program.name)
            case "FORWARD":
                return self.graph.forward(program.name, self.reached(program.parts[0]))
            case "BACKWARD":
                return self.graph.backward(program.name, self.reached(program.parts[0]))
            case "AND":
                first, second = map(self.reached, program.parts)
                return np.intersect1d(first, second, assume_unique=True)
            case "OR":
                first, second = map(self.reached, program.parts)
                return np.union1d(first, second)
            case "ARGMAX" | "ARGMIN":
                return self._extreme(program)
            case _:  # a number is no entity
                return EMPTY

    def _extreme(self, program: Program) -> Nodes:
        *path, attribute = program.name.split()
        nodes = self.members(program.parts[0])
        greatest = program.op == "ARGMAX"
        if not path:
            return self.graph.extreme(attribute, nodes, greatest=greatest)
        best: tuple[float, int] | None = None
        for node in nodes:  # paths occur in gold programs only
            ends = self.graph.node(int(node))
            for relation in path:
                ends = self.graph.forward(relation, ends)
            values = [value for end in ends for value in self.graph.values_of(attribute, int(end))]
            if values:
                rank = (-max(values) if greatest else min(values), int(node))
                best = rank if best is None else min(best, rank)
        return EMPTY if best is None else self.graph.node(best[1])


def _place(nodes: Nodes, number: int) -> int | None:
    place = int(np.searchsorted(nodes, number))
    return place if place < len(nodes) and nodes[place] == number else None


class _Results:
    """Results of programs by their text, bounded by the bytes they take."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._taken = 0
        self._kept: OrderedDict[str, Nodes] = OrderedDict()

    def get(self, text: str) -> Nodes | None:
        nodes = self._kept.get(text)
        if nodes is not None:
            self._kept.move_to_end(text)
        return nodes

    def put(self, text: str, nodes: Nodes) -> None:
        self._kept[text] = nodes
        self._taken += _weight(text, nodes)
        while self._taken > self._budget:
            self._taken -= _weight(*self._kept.popitem(last=False))


def _weight(text: str, nodes: Nodes) -> int:
    return len(text) + nodes.nbytes + 200


def open_backend(path: Path | None = None) -> GraphBackend:
    """A backend over the graph at a path (None: the shipped one); equal paths give the same one within a process."""
    return _open_backend(None if path is None else Path(path).expanduser().resolve())


@lru_cache(maxsize=4)
def _open_backend(path: Path | None) -> GraphBackend:
    return GraphBackend(open_graph(path), path, opened=True)
