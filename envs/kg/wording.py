"""Puts programs into words: every relation is a predicate, so that programs of any depth become sentences.

    JOIN of JOIN    the languages that are official in a country that borders Chile
    AND             the countries that border Chile and use the Boliviano

Relations of other graphs than the shipped one have no phrases of their own; theirs are made of their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from cmat_gym.envs.kg.ontology import NUMBER, Ontology
from cmat_gym.envs.kg.programs import Program
from cmat_gym.envs.kg.tools import type_of

__all__ = ["Choice", "Wording"]


class Choice(Protocol):
    """Draws the variants of a phrase."""

    def pick(self, items: Sequence[str]) -> str:
        """One of the items."""


class _Kind(NamedTuple):
    """How the members of a class are spoken of; `full` names the class as well."""

    one: str
    many: str
    named: str = "{name}"
    full: str = "{name}"


class _Predicate(NamedTuple):
    """What a relation says of what it leads to, in the plural and in the singular; `unique`: of one thing only."""

    many: Sequence[str]
    one: Sequence[str]
    unique: bool = False


class _Comparative(NamedTuple):
    """How an attribute is compared: the extremes of many, and of two."""

    ARGMAX: Sequence[str]
    ARGMIN: Sequence[str]
    more: str
    less: str


@cache
def _phrases() -> Mapping[str, Mapping[str, object]]:
    path = Path(__file__).parent / "data" / "phrases.json"
    table: Mapping[str, Mapping[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return table


class Wording:
    """Writes questions about one graph.

    Args:
        ontology: The graph's relations and attributes.
        choice: Draws among the variants of a phrase.
        names: How each entity of the program is called.
        alone: Entities whose name means nothing else in the graph; the others are named with their class.
        classes: The class of each entity.
    """

    def __init__(
        self,
        ontology: Ontology,
        choice: Choice,
        names: Mapping[str, str],
        alone: frozenset[str],
        classes: Mapping[str, str],
    ) -> None:
        self._ontology = ontology
        self._choice = choice
        self._names = names
        self._alone = alone
        self._classes = classes

    def question(self, program: Program, *, two: bool = False, without: Sequence[str] = ()) -> str:
        """A question whose answer is the program.

        Args:
            program: What is asked for.
            two: Whether exactly two things are compared.
            without: Entities that would be in the answer, had they not been named in the question.
        """
        match program.op:
            case "COUNT":
                text = self._ask("count", program.parts[0])
            case "ARGMAX" | "ARGMIN":
                words = self._comparative(program.name)
                if two:
                    extreme = words.more if program.op == "ARGMAX" else words.less
                else:
                    extreme = self._choice.pick(words.ARGMAX if program.op == "ARGMAX" else words.ARGMIN)
                text = self._ask("comparison" if two else "superlative", program.parts[0], extreme)
            case _:
                text = self._ask("which_one" if self._is_unique(program) else "which", program)
        if without:
            text += f" Leave out {' and '.join(self._names[entity] for entity in without)}."
        return text

    def _ask(self, form: str, program: Program, extreme: str = "") -> str:
        patterns = _phrases()["questions"][form]
        assert isinstance(patterns, list)
        kind = self._kind(type_of(program, self._ontology))
        predicate = self._predicates(program, plural=form != "which_one")
        return self._choice.pick(patterns).format(one=kind.one, many=kind.many, p=predicate, s=extreme)

    def _predicates(self, program: Program, *, plural: bool) -> str:
        """What is true of the members; the plainer condition first, so that each `that` stands by its noun."""
        if program.op == "AND":
            parts = sorted(program.parts, key=lambda part: part.size)
            joint = " and " if parts[0].size == 1 else ", and which also "
            return joint.join(self._predicates(part, plural=plural) for part in parts)
        predicate = self._predicate(program.name)
        patterns = predicate.many if plural else predicate.one
        start = program.parts[0]
        if start.op != "ENTITY":  # words after a nested clause would read as part of it
            patterns = [pattern for pattern in patterns if pattern.endswith("{x}")]
        return self._choice.pick(patterns).format(x=self._noun(start))

    def _noun(self, program: Program) -> str:
        """A program as a noun: an entity by its name, a set by any member of it."""
        if program.op == "ENTITY":
            kind = self._kind(self._classes.get(program.name, ""))
            pattern = kind.named if program.name in self._alone else kind.full
            return pattern.format(name=self._names[program.name])
        one = self._kind(type_of(program, self._ontology)).one
        article = "the" if self._is_unique(program) else "an" if one[0].lower() in "aeiou" else "a"
        return f"{article} {one} that {self._predicates(program, plural=False)}"

    def _is_unique(self, program: Program) -> bool:
        """Whether the wording may say `the`: every relation of the path leads to one thing."""
        if program.op == "ENTITY":
            return True
        return program.op == "FORWARD" and self._predicate(program.name).unique and self._is_unique(program.parts[0])

    # Phrases, or what is made of names --------------------------------------------------------------------------------

    @staticmethod
    def _kind(name: str) -> _Kind:
        row = _phrases()["types"].get(name)
        if isinstance(row, dict):
            return _Kind(**row)
        word = name.rpartition(".")[2].replace("_", " ") if name not in ("", NUMBER) else "thing"
        return _Kind(f"{word} entry", f"{word} entries")

    @staticmethod
    def _predicate(name: str) -> _Predicate:
        row = _phrases()["relations"].get(name)
        if isinstance(row, dict):
            return _Predicate(**row)
        words = name.rpartition(".")[2].replace("_", " ")
        start = name.partition("..")[0].split(".")[-2:]
        about = " ".join(start).replace("_", " ")
        return _Predicate([f"stand under {words!r} ({about}) of {{x}}"], [f"stands under {words!r} ({about}) of {{x}}"])

    @staticmethod
    def _comparative(name: str) -> _Comparative:
        row = _phrases()["attributes"].get(name)
        if isinstance(row, dict):
            return _Comparative(**row)
        words = name.rpartition(".")[2].replace("_", " ")
        return _Comparative(
            [f"has the greatest {words}"],
            [f"has the least {words}"],
            f"has the greater {words}",
            f"has the lesser {words}",
        )
