"""Questions about a graph, made from programs: drawn, executed, and put into words.

A question is kept only if it is a fair one: its answer is not empty and not endless, every condition in it changes the
answer, every member that is compared has exactly one value and the best is the only best, and at every step there are
other relations to take. So each question has one right answer, and the gold chain of tool calls finds it.

Splits are by entity: a hash of its name gives every entity to one split, and all entities that a question names are of
its split. A program names at least one, so no program is in two splits either.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from cmat_gym.core.errors import TaskError, UnknownNameError
from cmat_gym.core.task import Task, TaskSource
from cmat_gym.envs.kg.arrays import Nodes
from cmat_gym.envs.kg.backend import GraphBackend
from cmat_gym.envs.kg.programs import Program, both, canonical, entity, follow, superlative, tally
from cmat_gym.envs.kg.tools import type_of
from cmat_gym.envs.kg.wording import Wording

__all__ = ["CURRICULUM", "MAX_TURNS", "BuiltinKGTasks", "Question"]

T = TypeVar("T")

MAX_TURNS = 15
SIZES = {"train": 2**31, "dev": 500, "test": 500}
SHARES = ("train", "train", "train", "train", "train", "train", "dev", "dev", "test", "test")  # by the hash of a name
CURRICULUM = (1, 1, 1, 2, 2, 3, 3, 4, 4, 5)
"""The level of a task is that of its index modulo ten."""

LEVELS: Mapping[int, Sequence[str]] = {
    1: ("hop1",),
    2: ("hop2", "count hop1", "hop2"),
    3: ("superlative hop1", "both hop1 hop1", "count hop2"),
    4: ("hop3", "both hop2 hop1", "superlative hop2", "comparison hop1 hop1"),
    5: ("hop4", "both hop2 hop2", "count both hop2 hop1", "superlative both hop1 hop1", "superlative hop3"),
}
"""The shapes of programs by level: more hops, more conditions, more operations on top."""

MAX_ANSWER = 20  # members of an answer
MAX_COUNTED = 2000
MAX_COMPARED = 200
MAX_BETWEEN = 3000  # members of a step on the way
PLURAL = 1.3  # objects a subject has on average, from which a relation leads to sets worth intersecting
BACK = 0.1  # share of the steps that may lead back where they came from
PERSISTENCE = 500  # draws of one shape
DRAWS_PER_PLACE = 200  # questions drawn for one place of a panel, before the graph counts as too small
ATTEMPTS = 20_000  # draws for one question, before the graph counts as too small


class Question(NamedTuple):
    """A question with all that is known about it."""

    text: str
    program: Program
    entities: dict[str, str]
    answer: list[str]
    level: int
    shape: str
    hops: int
    fan_out: int


class _Dice:
    """Draws that are the same on every machine: Python promises as much of `random()`, and of seeding by text."""

    def __init__(self, *seed: object) -> None:
        self.uniform = random.Random("/".join(map(str, seed))).random

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.uniform() * len(items))]

    def node(self, nodes: Nodes) -> int:
        """One of the entities."""
        return int(nodes[int(self.uniform() * len(nodes))])


class _Unfit(Exception):
    """A draw that gave no fair question."""


class Asker:
    """Draws questions about one graph.

    Args:
        backend: The graph.
    """

    def __init__(self, backend: GraphBackend) -> None:
        self._backend = backend
        self._graph = backend.graph
        self._ontology = backend.ontology
        self._split_of = np.array([list(SIZES).index(share) for share in SHARES], np.int8)[self._graph.name_hash % 10]
        self._split_of[self._graph.name_rank == 0] = -1
        self._starts = lru_cache(maxsize=None)(self._find_starts)
        self._plural = frozenset(name for name in self._graph.relations if self._graph.fan_out(name) > PLURAL)
        self._into: dict[str, list[str]] = {}
        for name, role in sorted(self._ontology.relations.items()):
            self._into.setdefault(role.range, []).append(name)

    def split_of(self, number: int) -> str | None:
        """The split in which an entity may be named; None where its name is not its own."""
        lane = int(self._split_of[number])
        return None if lane < 0 else list(SIZES)[lane]

    def ask(self, split: str, index: int, seed: int) -> Question:
        """The question at an index: the first fair one of a series of draws.

        Raises:
            TaskError: The graph gives none.
        """
        dice = _Dice("kg", self._graph.digest, seed, split, index)
        level = CURRICULUM[index % len(CURRICULUM)]
        shape = ""
        for attempt in range(ATTEMPTS):
            if attempt % PERSISTENCE == 0:  # shapes differ in how often a draw is fair, and none should go missing
                shape = dice.pick(LEVELS[level])
            try:
                program = self._draw(shape.split(), split, dice)
                self._check(program)
                return self._question(program, level, shape, dice)
            except _Unfit:
                continue
        raise TaskError(f"No question of level {level} was found for split {split!r}: the graph is too small for it")

    # Drawing ----------------------------------------------------------------------------------------------------------

    def _draw(self, shape: list[str], split: str, dice: _Dice) -> Program:
        match shape:
            case ["count", *inner]:
                return tally(self._draw(inner, split, dice))
            case ["superlative", *inner]:
                return self._draw_superlative(self._draw(inner, split, dice), dice)
            case ["comparison", *hops]:
                return self._draw_superlative(self._draw(["both", *hops], split, dice), dice, two=True)
            case ["both", first, second]:
                return self._draw_both(int(first[-1]), int(second[-1]), split, dice)
        return self._draw_hops(int(shape[0][-1]), split, dice)

    def _draw_hops(self, hops: int, split: str, dice: _Dice, *, plural: bool = False) -> Program:
        starts = self._starts(split)
        relations = [name for name in starts if name in self._plural] if plural else list(starts)
        if not relations:
            raise TaskError(f"Hardly an entity of split {split!r} has a relation: the graph is too small for tasks")
        relation = dice.pick(relations)
        program = follow(relation, entity(self._graph.id(dice.node(starts[relation]))))
        for _ in range(hops - 1):
            last = self._ontology.relations[program.name].reverse
            ways = [way for way in self._backend.relations(program) if way != last or dice.uniform() < BACK]
            if not ways or self._backend.size(program) > MAX_BETWEEN:
                raise _Unfit
            program = follow(dice.pick(ways), program)
        return program

    def _find_starts(self, split: str) -> dict[str, Nodes]:
        """For each relation the entities of a split that have it."""
        lane = list(SIZES).index(split)
        found = {name: self._graph.subjects(name) for name in self._graph.relations}
        mine = {name: nodes[self._split_of[nodes] == lane] for name, nodes in found.items()}
        return {name: nodes for name, nodes in mine.items() if len(nodes)}

    def _draw_both(self, first: int, second: int, split: str, dice: _Dice) -> Program:
        """A second way to a member of the first set, from another entity of the split."""
        one = self._draw_hops(first, split, dice, plural=first == 1)
        members = self._backend.members(one)
        if not 2 <= len(members) <= MAX_BETWEEN:
            raise _Unfit
        kind, ends = type_of(one, self._ontology), self._graph.node(dice.node(members))
        way: list[str] = []
        for hop in range(second):
            ways = [name for name in self._into.get(kind, ()) if second > 1 or name in self._plural]
            ways = [name for name in ways if len(self._graph.backward(name, ends))]
            if not ways:
                raise _Unfit
            way.append(dice.pick(ways))
            ends = self._graph.backward(way[-1], ends)
            kind = self._ontology.relations[way[-1]].domain
            if hop < second - 1:
                ends = self._graph.node(dice.node(ends))
        starts = ends[self._split_of[ends] == list(SIZES).index(split)]
        if not len(starts):
            raise _Unfit
        other = entity(self._graph.id(dice.node(starts)))
        for relation in reversed(way):
            other = follow(relation, other)
        return both(one, other)

    def _draw_superlative(self, inner: Program, dice: _Dice, *, two: bool = False) -> Program:
        attributes = self._backend.attributes(inner)
        size = self._backend.size(inner)
        if not attributes or size < 2 or size > MAX_COMPARED or (two and size != 2):
            raise _Unfit
        return superlative(dice.pick(("ARGMAX", "ARGMIN")), inner, dice.pick(attributes))

    # Fairness ---------------------------------------------------------------------------------------------------------

    def _check(self, program: Program) -> None:
        """Refuse what is empty, endless, ambiguous, or right for the wrong reason."""
        inner = program.parts[0] if program.op in ("COUNT", "ARGMAX", "ARGMIN") else program
        members = self._backend.members(inner)
        limit = {"COUNT": MAX_COUNTED, "ARGMAX": MAX_COMPARED, "ARGMIN": MAX_COMPARED}.get(program.op, MAX_ANSWER)
        least = 2 if program.op == "COUNT" else 1
        if not least <= len(members) <= limit:
            raise _Unfit
        for node in inner.walk():
            if node.op == "FORWARD":
                if len(self._backend.relations(node.parts[0])) < 2:
                    raise _Unfit
                if node is not inner and self._same(self._backend.members(node), members):
                    raise _Unfit
            if node.op == "AND":
                self._check_both(node)
        if program.op in ("ARGMAX", "ARGMIN"):
            self._check_values(program, members)

    def _check_both(self, program: Program) -> None:
        """Each side must say something that the other does not, and both must be of one type."""
        sides = [self._backend.members(part) for part in program.parts]
        whole = self._backend.members(program)
        kinds = {type_of(part, self._ontology) for part in program.parts}
        if len(kinds) > 1 or len(program.entities()) < 2 or any(len(whole) >= len(side) for side in sides):
            raise _Unfit
        if canonical(program.parts[0]) == canonical(program.parts[1]):
            raise _Unfit

    def _check_values(self, program: Program, members: Nodes) -> None:
        """One value for every member, and one best."""
        values = [self._graph.values_of(program.name, int(node)) for node in members]
        if any(len(value) != 1 for value in values):
            raise _Unfit
        best = max(values) if program.op == "ARGMAX" else min(values)
        if values.count(best) > 1:
            raise _Unfit

    @staticmethod
    def _same(one: Nodes, other: Nodes) -> bool:
        return len(one) == len(other) and bool((one == other).all())

    # Words ------------------------------------------------------------------------------------------------------------

    def _question(self, program: Program, level: int, shape: str, dice: _Dice) -> Question:
        graph = self._graph
        numbers = {name: graph.find(name) for name in sorted(program.entities())}
        names = {name: graph.name(number) for name, number in numbers.items()}
        if len(set(names.values())) < len(names):
            raise _Unfit
        alone = frozenset(name for name, number in numbers.items() if graph.name_rank[number] == 2)
        classes = {name: min(graph.classes_of(number), default="") for name, number in numbers.items()}
        wording = Wording(self._ontology, dice, names, alone, classes)
        inner = program.parts[0] if program.op in ("COUNT", "ARGMAX", "ARGMIN") else program
        without = [name for name in names if self._would_hold(inner, numbers[name])]
        text = wording.question(program, two=shape.startswith("comparison"), without=without)
        steps = [node for node in program.walk() if node.op == "FORWARD"]
        return Question(
            text=text[0].upper() + text[1:],
            program=program,
            entities={names[node.parts[0].name]: node.parts[0].name for node in steps if node.parts[0].op == "ENTITY"},
            answer=sorted(self._backend.answer(program)),
            level=level,
            shape=shape,
            hops=len(steps),
            fan_out=max(self._backend.size(node) for node in steps),
        )

    def _would_hold(self, program: Program, number: int) -> bool:
        """Whether an entity that the question names would be a member, were it not named."""
        return bool((self._backend.reached(program) == number).any())


@lru_cache(maxsize=4)
def _asker(backend: GraphBackend) -> Asker:
    return Asker(backend)


@lru_cache(maxsize=1024)
def _drawn(backend: GraphBackend, seed: int, index: int) -> Question:
    return _asker(backend).ask("train", index, seed)


class _Panel:
    """The questions of a fixed panel: at each place the first one whose program is new, drawn when it is asked for."""

    def __init__(self, backend: GraphBackend, seed: int, split: str) -> None:
        self._asker = _asker(backend)
        self._seed, self._split, self._size = seed, split, SIZES[split]
        self._questions: list[Question] = []
        self._seen: set[str] = set()

    def __getitem__(self, index: int) -> Question:
        while len(self._questions) <= index:
            self._questions.append(self._next())
        return self._questions[index]

    def _next(self) -> Question:
        for turn in range(DRAWS_PER_PLACE):
            question = self._asker.ask(self._split, len(self._questions) + turn * self._size, self._seed)
            program = canonical(question.program)
            if program not in self._seen:
                self._seen.add(program)
                return question
        raise TaskError(f"The graph is too small for {self._size} different {self._split} questions")


@lru_cache(maxsize=8)
def _panel(backend: GraphBackend, seed: int, split: str) -> _Panel:
    return _Panel(backend, seed, split)


class BuiltinKGTasks(TaskSource):
    """Procedural questions about a graph: a practically endless `train` split, panels of 500 for `dev` and `test`.

    Task `i` of a split is a pure function of (graph, seed, split, i); its level is `CURRICULUM[i % 10]`.

    Args:
        backend: The graph.
        seed: Of the draws.
        shipped: Whether it is the shipped graph, whose tasks have the short name.
    """

    domain = "kg"

    def __init__(self, backend: GraphBackend, seed: int = 0, *, shipped: bool = True) -> None:
        self.backend = backend
        self.seed = seed
        graph = "" if shipped else f"-graph{backend.graph.digest[:8]}"
        self.name = f"builtin-v0{graph}" + (f"-seed{seed}" if seed else "")

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def question(self, split: str, index: int) -> Question:
        """The question at `index` of `split`.

        Raises:
            UnknownNameError: There is no such split; the message lists them.
            TaskError: The graph is too small.
        """
        if split not in SIZES:
            raise UnknownNameError("split of the builtin questions", split, SIZES)
        if split == "train":
            return _drawn(self.backend, self.seed, index)
        return _panel(self.backend, self.seed, split)[index]

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`; its payload holds the gold program and the answer."""
        question = self.question(split, index)
        payload: dict[str, Any] = {
            "entities": question.entities,
            "program": question.program.text,
            "answer": question.answer,
            "level": question.level,
            "shape": question.shape,
            "hops": question.hops,
            "fan_out": question.fan_out,
        }
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=question.text,
            payload=payload,
            max_turns=MAX_TURNS,
        )
