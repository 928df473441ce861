"""The seven tools: what they accept, what they make, and what they say. They know neither protocol nor reward."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmat_gym.core.errors import BackendError, InvalidAction
from cmat_gym.envs.kg import prompts
from cmat_gym.envs.kg.backend import KGBackend
from cmat_gym.envs.kg.ontology import NUMBER, Ontology
from cmat_gym.envs.kg.programs import Program, both, entity, follow, parse_program, superlative, tally

__all__ = [
    "FINAL",
    "MAX_OPERATIONS",
    "MAX_VARIABLES",
    "SIGNATURES",
    "Choices",
    "Move",
    "Session",
    "ToolError",
    "Toolbox",
    "Variable",
    "mention",
    "type_of",
]

FINAL = "final_answer"
MAX_VARIABLES = 32  # an episode of 15 turns makes 15 at most
MAX_OPERATIONS = 256  # in one program: intersecting a variable with itself doubles it

SIGNATURES: Mapping[str, int] = {
    "get_relations": 1,
    "get_neighbors": 2,
    "intersection": 2,
    "get_attributes": 1,
    "argmax": 2,
    "argmin": 2,
    "count": 1,
}
"""The tools and how many arguments they take."""

_ID = re.compile(r"[mf]\.\w+\Z", re.ASCII)
_ANY_ID = re.compile(r"[mfg]\.\w+\Z", re.ASCII)
_CUT = re.compile(r"[,()\n]|^\s|\s$|^[Vv]ariable ")
_NUMBERED = re.compile(r"#(\d{1,9})\Z")


def mention(name: str, identity: str, *, careful: bool = False) -> str:
    """How an agent names an entity: by its name, or by its id where the name reads as a variable.

    `careful` also avoids names with a comma or a bracket, at which AgentBench's reading of a call would cut them.
    """
    return identity if _NUMBERED.match(name) or (careful and _CUT.search(name)) else name


class Variable(NamedTuple):
    """What a variable is: the type of its members, and the program that finds them."""

    type: str
    program: Program


class Session(NamedTuple):
    """One episode: variables in order of making, what was listed of which program or id, the variable answered with."""

    variables: tuple[Variable, ...] = ()
    relations: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    answer: int | None = None

    def to_json(self) -> list[Any]:
        """The session as a JSON-able list with one canonical form."""
        texts = [variable.program.text for variable in self.variables]
        return [texts, sorted(self.relations), sorted(self.attributes), self.answer]

    @classmethod
    def from_json(cls, data: list[Any], ontology: Ontology) -> Session:
        """The inverse of `to_json`."""
        texts, relations, attributes, answer = data
        programs = map(parse_program, texts)
        variables = tuple(Variable(type_of(program, ontology), program) for program in programs)
        return cls(variables, frozenset(relations), frozenset(attributes), answer)


def type_of(program: Program, ontology: Ontology) -> str:
    """The type of a program's members: the range of the last relation followed."""
    match program.op:
        case "FORWARD":
            return ontology.range_of(program.name) or prompts.UNKNOWN_TYPE
        case "BACKWARD":
            return ontology.domain_of(program.name) or prompts.UNKNOWN_TYPE
        case "COUNT":
            return NUMBER
        case "CLASS":
            return program.name
        case "ENTITY":
            return prompts.UNKNOWN_TYPE
    return type_of(program.parts[0], ontology)


class Move(NamedTuple):
    """A call of a tool, with arguments as the agent writes them."""

    tool: str
    arguments: tuple[str, ...]


class Choices(NamedTuple):
    """Calls of one tool that share their first argument; the tool takes one argument where `seconds` is None."""

    tool: str
    first: str
    seconds: tuple[str, ...] | None = None

    def moves(self) -> list[Move]:
        """The calls."""
        if self.seconds is None:
            return [Move(self.tool, (self.first,))]
        return [Move(self.tool, (self.first, second)) for second in self.seconds]


class ToolError(InvalidAction):
    """A tool was used wrongly.

    Attributes:
        unlike_types: Whether two variables of unlike types were intersected: AgentBench words that in its own way.
        wrong_index: Whether a variable was named that does not exist.
    """

    def __init__(self, message: str, *, unlike_types: bool = False, wrong_index: bool = False) -> None:
        super().__init__(message)
        self.unlike_types = unlike_types
        self.wrong_index = wrong_index


class Done(NamedTuple):
    """What a tool did: the session after it, its words, and the names it listed, if it lists."""

    session: Session
    result: str
    names: tuple[str, ...] = ()


class Toolbox:
    """The tools over one graph.

    Args:
        backend: Where facts come from.
        strict: Refuse ids that begin with `g.`, as AgentBench does.
        lists_itself: Let `get_neighbors` list the relations itself, as AgentBench's function calls do.

    Attributes:
        failures: How often the graph did not answer.
    """

    def __init__(self, backend: KGBackend, *, strict: bool = False, lists_itself: bool = False) -> None:
        self.backend = backend
        self.ontology = backend.ontology
        self._id = _ID if strict else _ANY_ID
        self._lists_itself = lists_itself
        self.failures = 0

    def run(self, session: Session, tool: str, arguments: tuple[str, ...], entities: Mapping[str, str]) -> Done:
        """Use a tool.

        Args:
            session: Where the episode stands.
            tool: One of `SIGNATURES`.
            arguments: As many as it takes; `#i`, entity names and ids, relations and attributes.
            entities: The names of the question's entities and their ids.

        Raises:
            ToolError: The tool does not take these arguments.
        """
        start = self.read(session, arguments[0], entities)
        try:
            match tool:
                case "get_relations":
                    return self._relations(session, start)
                case "get_neighbors":
                    return self._neighbors(session, start, arguments[1].strip())
                case "intersection":
                    return self._intersection(session, start, self.read(session, arguments[1], entities))
                case "get_attributes":
                    return self._attributes(session, self._variable(tool, start))
                case "argmax" | "argmin":
                    return self._superlative(session, tool, self._variable(tool, start), arguments[1].strip())
                case "count":
                    inner = self._variable(tool, start)
                    return self._make(session, tool, Variable(NUMBER, tally(inner.program)))
        except BackendError as error:
            self.failures += 1
            raise ToolError(prompts.BACKEND_FAILED.format(tool=tool)) from error
        raise AssertionError(f"{tool} is not one of {list(SIGNATURES)}")

    def read(self, session: Session, text: str, entities: Mapping[str, str]) -> Variable | Program | None:
        """What an argument names: a variable, an entity, or nothing.

        Raises:
            ToolError: It names a variable that does not exist.
        """
        text = text.strip()
        for word in ("variable ", "Variable "):
            text = text.removeprefix(word)
        if match := _NUMBERED.match(text):
            number = int(match[1])
            if number >= len(session.variables):
                raise ToolError(prompts.WRONG_VARIABLE, wrong_index=True)
            return session.variables[number]
        text = entities.get(text, text)
        return entity(text) if self._id.match(text) else None

    def answer(self, session: Session, number: int) -> Session:
        """End with a variable.

        Raises:
            ToolError: It does not exist.
        """
        if not 0 <= number < len(session.variables):
            raise ToolError(prompts.WRONG_VARIABLE, wrong_index=True)
        return session._replace(answer=number)

    def choices(self, session: Session, entities: Mapping[str, str]) -> list[Choices]:
        """Every call that makes sense now: what is listed or made twice, and a variable equal to another, are left out.

        Raises:
            BackendError: The graph does not answer.
        """
        room = len(session.variables) < MAX_VARIABLES
        found = [
            self._choices_from(session, mention(name, identity), entity(identity), room)
            for name, identity in entities.items()
        ]
        different: dict[str, tuple[str, Variable]] = {}
        for number, variable in enumerate(session.variables):
            program, written = variable.program, f"#{number}"
            if program.text in different:
                continue
            if variable.type != NUMBER:
                found.append(self._choices_from(session, written, program, room))
                found += self._choices_of_set(session, written, program, room)
            for first, before in different.values() if room else ():
                if before.type == variable.type and before.program.size + program.size < MAX_OPERATIONS:
                    found.append(Choices("intersection", first, (written,)))
            different[program.text] = (written, variable)
            found.append(Choices(FINAL, written))
        return found

    def _choices_from(self, session: Session, written: str, program: Program, room: bool) -> Choices:
        if program.text not in session.relations:
            return Choices("get_relations", written)
        able = room and program.size < MAX_OPERATIONS
        return Choices("get_neighbors", written, self.backend.relations(program) if able else ())

    def _choices_of_set(self, session: Session, written: str, program: Program, room: bool) -> list[Choices]:
        able = room and program.size < MAX_OPERATIONS
        found = [Choices("count", written)] if able else []
        if program.text not in session.attributes:
            return [*found, Choices("get_attributes", written)]
        attributes = self.backend.attributes(program) if able else ()
        return [*found, Choices("argmax", written, attributes), Choices("argmin", written, attributes)]

    # One tool each ----------------------------------------------------------------------------------------------------

    def _relations(self, session: Session, start: Variable | Program | None) -> Done:
        program = self._start("get_relations", start)
        names = self.backend.relations(program)
        listed = session._replace(relations=session.relations | {program.text})
        return Done(listed, prompts.LISTING.format(names=", ".join(names)), names)

    def _neighbors(self, session: Session, start: Variable | Program | None, relation: str) -> Done:
        program = self._start("get_neighbors", start)
        if program.text not in session.relations and self._lists_itself:
            session = session._replace(relations=session.relations | {program.text})
        if program.text not in session.relations or relation not in self.backend.relations(program):
            raise ToolError(prompts.NOT_A_RELATION)
        kind = self.ontology.range_of(relation) or prompts.UNKNOWN_TYPE
        return self._make(session, "get_neighbors", Variable(kind, follow(relation, program)))

    def _intersection(
        self, session: Session, first: Variable | Program | None, second: Variable | Program | None
    ) -> Done:
        one, other = self._variable("intersection", first), self._variable("intersection", second)
        if one.type != other.type:
            raise ToolError(prompts.UNLIKE_TYPES, unlike_types=True)
        return self._make(session, "intersection", Variable(one.type, both(one.program, other.program)))

    def _attributes(self, session: Session, variable: Variable) -> Done:
        names = self.backend.attributes(variable.program)
        listed = session._replace(attributes=session.attributes | {variable.program.text})
        return Done(listed, prompts.LISTING.format(names=", ".join(names)), names)

    def _superlative(self, session: Session, tool: str, variable: Variable, attribute: str) -> Done:
        program = variable.program
        if program.text not in session.attributes or attribute not in self.backend.attributes(program):
            raise ToolError(prompts.NOT_AN_ATTRIBUTE.format(tool=tool))
        op = "ARGMAX" if tool == "argmax" else "ARGMIN"
        return self._make(session, tool, Variable(variable.type, superlative(op, program, attribute)))  # type: ignore[arg-type]

    def _make(self, session: Session, tool: str, variable: Variable) -> Done:
        number = len(session.variables)
        if number >= MAX_VARIABLES:
            raise ToolError(prompts.TOO_MANY_VARIABLES.format(limit=MAX_VARIABLES))
        if variable.program.size > MAX_OPERATIONS:
            raise ToolError(prompts.TOO_LONG_PROGRAM.format(tool=tool, limit=MAX_OPERATIONS))
        words = prompts.NEW_NUMBER if tool == "count" else prompts.NEW_VARIABLE
        result = words.format(number=number, type=variable.type)
        return Done(session._replace(variables=(*session.variables, variable)), result)

    @staticmethod
    def _start(tool: str, start: Variable | Program | None) -> Program:
        if start is None:
            raise ToolError(prompts.NOT_A_START.format(tool=tool))
        return start.program if isinstance(start, Variable) else start

    @staticmethod
    def _variable(tool: str, start: Variable | Program | None) -> Variable:
        if not isinstance(start, Variable):
            raise ToolError(prompts.NOT_A_VARIABLE.format(tool=tool))
        return start
