"""The oracle: from any state, the shortest way to an answer that scores 1.0 along the gold program.

It uses what is already there: a variable that stands for a part of the program, a listing that was seen, and any
variable at all whose members are the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.envs.kg import prompts
from cmat_gym.envs.kg.backend import KGBackend
from cmat_gym.envs.kg.programs import Program, both, canonical, follow, superlative, tally
from cmat_gym.envs.kg.tools import FINAL, MAX_VARIABLES, Move, Session, mention, type_of

__all__ = ["KGExpert"]

_MAKERS = ("get_neighbors", "intersection", "argmax", "argmin", "count")


class KGExpert:
    """Solves one question. It keeps no state of the episode: every answer is a function of the session.

    Args:
        program: The gold program, of operations the tools have.
        answer: The right ids.
        backend: The graph; only asked.
        entities: The names of the question's entities and their ids.
        careful: Write ids for names that AgentBench's reading would cut in two.
    """

    def __init__(
        self,
        program: Program,
        answer: frozenset[str],
        backend: KGBackend,
        entities: Mapping[str, str],
        *,
        careful: bool = False,
    ) -> None:
        self.program = program
        self.answer = answer
        self.backend = backend
        self._names = {entity: mention(name, entity, careful=careful) for name, entity in entities.items()}
        self._right: dict[str, bool] = {}

    # Answers ----------------------------------------------------------------------------------------------------------

    def next_move(self, session: Session) -> Move:
        """The first move of the shortest plan.

        Raises:
            UsageError: The answer is given.
        """
        if session.answer is not None:
            raise UsageError("The answer is given: there is nothing left to do")
        return self.plan(session)[0]

    def cost_to_go(self, session: Session) -> float:
        """Number of moves from here to an answer that scores 1.0, that one included; infinity where there is none."""
        if session.answer is not None:
            return 0.0 if self.is_right(session.variables[session.answer].program) else math.inf
        if self._ready(session) is not None:
            return 1.0
        way = self._way(session)
        return math.inf if way is None else float(len(way))

    def thought(self, session: Session) -> str:
        """One short sentence on why the next move is right.

        Raises:
            UsageError: The answer is given.
        """
        tool, arguments = self.next_move(session)
        start = arguments[0]
        match tool:
            case "get_relations":
                return prompts.THINK_RELATIONS.format(start=start)
            case "get_neighbors":
                return prompts.THINK_NEIGHBORS.format(start=start, relation=arguments[1].rpartition(".")[2])
            case "intersection":
                return prompts.THINK_INTERSECTION.format(first=start, second=arguments[1])
            case "get_attributes":
                return prompts.THINK_ATTRIBUTES.format(start=start)
            case "argmax" | "argmin":
                words = prompts.THINK_ARGMAX if tool == "argmax" else prompts.THINK_ARGMIN
                return words.format(attribute=arguments[1].rpartition(".")[2].replace("_", " "))
            case "count":
                return prompts.THINK_COUNT
        return (prompts.THINK_ANSWER if math.isfinite(self.cost_to_go(session)) else prompts.THINK_LOST).format(
            start=start
        )

    def is_right(self, program: Program) -> bool:
        """Whether a program stands for exactly the right ids; a graph that does not answer counts as no."""
        known = self._right.get(program.text)
        if known is None:
            try:
                known = self.backend.matches(program, self.answer)
            except BackendError:
                return False
            self._right[program.text] = known
        return known

    # Plans ------------------------------------------------------------------------------------------------------------

    def plan(self, session: Session) -> list[Move]:
        """All moves from here to the answer, in order; where there is no way, what comes nearest to one."""
        ready = self._ready(session)
        if ready is not None:
            return [Move(FINAL, (f"#{ready}",))]
        way = self._way(session)
        if way is not None:
            return way
        if len(session.variables) >= MAX_VARIABLES:
            return [Move(FINAL, ("#0",))]
        return _Planner(session, self._names).plan(self.program)

    def _way(self, session: Session) -> list[Move] | None:
        """The shortest moves to the gold program, or to a part of it that will do; None where there is no way."""
        ways = [_Planner(session, self._names).plan(target) for target in self._targets]
        room = MAX_VARIABLES - len(session.variables)
        fitting = [way for way in ways if sum(move.tool in _MAKERS for move in way) <= room]
        return min(fitting, key=len, default=None)

    def _ready(self, session: Session) -> int | None:
        """A variable that can be answered with."""
        for number, variable in enumerate(session.variables):
            if self.is_right(variable.program):
                return number
        return None

    @cached_property
    def _targets(self) -> list[Program]:
        """The gold program and the parts of it that stand for the answer, as far as the tools can make them."""
        parts = {part.text: part for part in self.program.walk() if part.op != "ENTITY" and self.is_right(part)}
        return [part for part in parts.values() if self._can_be_made(part)]

    def _can_be_made(self, program: Program) -> bool:
        """Whether the tools accept every step of a program."""
        ontology = self.backend.ontology
        try:
            for node in program.walk():
                if node.op in ("CLASS", "BACKWARD", "OR"):
                    return False
                if node.op == "FORWARD" and node.name not in self.backend.relations(node.parts[0]):
                    return False
                if node.op == "AND" and len({type_of(part, ontology) for part in node.parts}) > 1:
                    return False
                if node.op in ("ARGMAX", "ARGMIN") and node.name not in self.backend.attributes(node.parts[0]):
                    return False
        except BackendError:
            return False
        return True


class _Planner:
    """Lists the moves that a program still takes, as if each of them were made."""

    def __init__(self, session: Session, names: Mapping[str, str]) -> None:
        self._names = names
        self._relations = set(session.relations)
        self._attributes = set(session.attributes)
        self._count = len(session.variables)
        self._have: dict[str, list[tuple[int, Program]]] = {}
        for number, variable in enumerate(session.variables):
            self._have.setdefault(canonical(variable.program), []).append((number, variable.program))
        self._moves: list[Move] = []

    def plan(self, program: Program) -> list[Move]:
        written, _ = self._make(program, frozenset())
        return [*self._moves, Move(FINAL, (written,))]

    def _make(self, program: Program, listed: frozenset[str] | set[str]) -> tuple[str, Program]:
        """How to write a program as an argument, and the program itself as it was made: the order in AND may differ.

        Of equal variables, one whose listing was seen is taken.
        """
        if program.op in ("ENTITY", "CLASS"):
            return self._names.get(program.name, program.name), program
        found = self._have.get(canonical(program))
        if found:
            number, made = next(((n, p) for n, p in found if p.text in listed), found[0])
            return f"#{number}", made
        return self._build(program)

    def _build(self, program: Program) -> tuple[str, Program]:
        match program.op:
            case "FORWARD":
                start, inner = self._make(program.parts[0], self._relations)
                self._list("get_relations", start, inner, self._relations)
                return self._add("get_neighbors", (start, program.name), follow(program.name, inner))
            case "AND":
                first, one = self._make(program.parts[0], frozenset())
                second, other = self._make(program.parts[1], frozenset())
                return self._add("intersection", (first, second), both(one, other))
            case "ARGMAX" | "ARGMIN" as op:
                start, inner = self._make(program.parts[0], self._attributes)
                self._list("get_attributes", start, inner, self._attributes)
                return self._add(op.lower(), (start, program.name), superlative(op, inner, program.name))
            case "COUNT":
                start, inner = self._make(program.parts[0], frozenset())
                return self._add("count", (start,), tally(inner))
        return self._make(program.parts[0], frozenset())  # no tool does this: what comes nearest

    def _list(self, tool: str, start: str, inner: Program, listed: set[str]) -> None:
        if inner.text not in listed:
            listed.add(inner.text)
            self._moves.append(Move(tool, (start,)))

    def _add(self, tool: str, arguments: tuple[str, ...], made: Program) -> tuple[str, Program]:
        number = self._count
        self._count += 1
        self._have.setdefault(canonical(made), []).append((number, made))
        self._moves.append(Move(tool, arguments))
        return f"#{number}", made
