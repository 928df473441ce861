"""Answers the tools' questions at a SPARQL 1.1 endpoint: Virtuoso with Freebase, Oxigraph with any graph, …

A program becomes one query with the meaning that backend.py gives it. Nothing of what an agent writes reaches a query
but ids and names that the tools have checked, as addresses with every special letter escaped.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import lru_cache
from http.client import HTTPException
from itertools import count
from typing import Any

from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.envs.kg.files import FREEBASE, TYPE, iri
from cmat_gym.envs.kg.ontology import Ontology
from cmat_gym.envs.kg.programs import Program

__all__ = ["Queries", "SparqlBackend"]

XSD_DATES = ("dateTime", "date", "gYear", "gYearMonth")
# AgentBench's rule on languages. COALESCE, as Virtuoso (7.2) gives a number no language where SPARQL says an empty one.
_ENGLISH = 'FILTER(COALESCE(lang(?x), "") = "" || langMatches(lang(?x), "en"))'


class SparqlBackend:
    """Runs programs at an endpoint. Answers are remembered, so environments that share it share them.

    Args:
        endpoint: Address of the SPARQL service, such as `http://localhost:3001/sparql`.
        ontology: The vocabulary an agent may be shown.
        namespace: What stands before every id and name.
        default_graph: Address of the graph to ask, where the server has several (Virtuoso: `http://freebase.com`).
        timeout: Seconds a query may take, sent to the server as well.
        retries: How often a query that failed is sent again, after a pause that doubles.

    Raises:
        UsageError: The address is none.
        BackendError: The endpoint does not answer.
    """

    def __init__(
        self,
        endpoint: str,
        ontology: Ontology,
        *,
        namespace: str = FREEBASE,
        default_graph: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
    ) -> None:
        if urllib.parse.urlsplit(endpoint).scheme not in ("http", "https"):
            raise UsageError(
                f"endpoint must be an http address such as 'http://localhost:3001/sparql', got {endpoint!r}"
            )
        if timeout <= 0 or retries < 0:
            raise UsageError(f"timeout must be above 0 and retries at least 0, got {timeout} and {retries}")
        self.endpoint = endpoint
        self.ontology = ontology
        self.namespace = namespace
        self._queries = Queries(namespace)
        self.default_graph = default_graph
        self.timeout = timeout
        self.retries = retries
        self._make_caches()
        self.query("ASK {}")

    def _make_caches(self) -> None:
        self.relations = lru_cache(1 << 13)(self._relations)
        self.attributes = lru_cache(1 << 13)(self._attributes)
        self.answer = lru_cache(1 << 11)(self._answer)

    def __getstate__(self) -> dict[str, Any]:
        """A pickle holds the settings, no answers."""
        return {key: value for key, value in self.__dict__.items() if key not in ("relations", "attributes", "answer")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the caches again."""
        self.__dict__.update(state)
        self._make_caches()

    # The backend's questions ------------------------------------------------------------------------------------------

    def _relations(self, start: Program) -> tuple[str, ...]:
        found = self._select(self._queries.listing(start), "r")
        return tuple(sorted(name for name in found if name in self.ontology.relations))

    def _attributes(self, start: Program) -> tuple[str, ...]:
        found = self._select(self._queries.listing(start), "r")
        return tuple(sorted(name for name in found if name in self.ontology.attributes))

    def _answer(self, program: Program) -> frozenset[str]:
        return frozenset(self._select(self._queries.answer(program), "x"))

    def matches(self, program: Program, ids: frozenset[str]) -> bool:
        """Whether a program stands for exactly these."""
        return self.answer(program) == ids

    # Sending ----------------------------------------------------------------------------------------------------------

    def _select(self, query: str, variable: str) -> list[str]:
        rows = self.query(query).get("results", {}).get("bindings", [])
        return [_value(row[variable], self.namespace) for row in rows if variable in row]

    def query(self, text: str) -> dict[str, Any]:
        """Send a query and return the answer in the JSON form of the SPARQL protocol.

        Raises:
            BackendError: The server cannot be reached, takes too long, or refuses; the message has its words.
        """
        for attempt in count():
            try:
                return self._send(text)
            except urllib.error.HTTPError as error:
                words = error.read(300).decode(errors="replace").strip()
                if error.code < 500 or attempt >= self.retries:
                    raise BackendError(f"{self.endpoint} answered {error.code} {error.reason}: {words}") from error
            except (OSError, HTTPException, ValueError) as error:  # unreachable, too slow, or no JSON
                if attempt >= self.retries:
                    raise BackendError(
                        f"The SPARQL endpoint {self.endpoint} did not answer in {attempt + 1} tries "
                        f"of {self.timeout:g} s: {error}. Is the server running?"
                    ) from error
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def _send(self, text: str) -> dict[str, Any]:
        fields = {"query": text, "timeout": str(int(self.timeout * 1000))}  # Virtuoso's parameter; others ignore it
        if self.default_graph is not None:
            fields["default-graph-uri"] = self.default_graph
        request = urllib.request.Request(
            self.endpoint,
            data=urllib.parse.urlencode(fields).encode(),
            headers={
                "Accept": "application/sparql-results+json",
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": "cmat-gym",
            },
        )
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            data = json.load(answer)
        if not isinstance(data, dict):
            raise ValueError(f"expected a JSON object, got {type(data).__name__}")
        return data


def _value(binding: dict[str, str], namespace: str) -> str:
    """A result as AgentBench writes it: without namespace, dates without the zone that Virtuoso puts in."""
    value = binding["value"]
    if value.startswith(namespace):
        return urllib.parse.unquote(value.removeprefix(namespace))
    kind = binding.get("datatype", "").rpartition("#")[2]
    return value.removesuffix("-08:00") if kind in XSD_DATES else value


# Queries -------------------------------------------------------------------------------------------------------------


class Queries:
    """Writes programs as SPARQL.

    Args:
        namespace: What stands before every id and name.
    """

    def __init__(self, namespace: str = FREEBASE) -> None:
        self._namespace = namespace

    def answer(self, program: Program) -> str:
        """What a program stands for, as `?x`."""
        return f"SELECT DISTINCT ?x WHERE {{ {self._members(program, '?x', _names())} {_ENGLISH} }}"

    def listing(self, start: Program) -> str:
        """All properties of any member of a program, as `?r`; the vocabulary tells relations from attributes."""
        if start.op == "ENTITY":
            return f"SELECT DISTINCT ?r WHERE {{ {self._iri(start.name)} ?r ?o }}"
        members = self._members(start, "?x", _names())
        return f"SELECT DISTINCT ?r WHERE {{ {{ SELECT DISTINCT ?x WHERE {{ {members} }} }} ?x ?r ?o }}"

    def _iri(self, name: str) -> str:
        return iri(name, self._namespace)

    def _members(self, program: Program, x: str, names: Iterator[str]) -> str:
        """Patterns that bind `x` to the members, the entities that the program starts from left out."""
        reached = self._reached(program, x, names)
        if program.is_number:
            return reached
        return " ".join([reached, *(f"FILTER({x} != {self._iri(name)})" for name in sorted(program.entities()))])

    def _reached(self, program: Program, x: str, names: Iterator[str]) -> str:
        """Patterns that bind `x` to what the program reaches."""
        match program.op:
            case "ENTITY":
                return f"VALUES {x} {{ {self._iri(program.name)} }}"
            case "CLASS":
                return f"{x} {self._iri(TYPE)} {self._iri(program.name)} ."
            case "FORWARD" | "BACKWARD":
                (start,) = program.parts
                by_name = start.op == "ENTITY"
                y = self._iri(start.name) if by_name else next(names)
                before = "" if by_name else f"{self._reached(start, y, names)} "
                subject, target = (y, x) if program.op == "FORWARD" else (x, y)
                return f"{before}{subject} {self._iri(program.name)} {target} ."
            case "AND":
                return " ".join(self._reached(part, x, names) for part in program.parts)
            case "OR":
                return " UNION ".join(f"{{ {self._reached(part, x, names)} }}" for part in program.parts)
            case "COUNT":
                y = next(names)
                inside = self._members(program.parts[0], y, names)
                return f"{{ SELECT (COUNT(DISTINCT {y}) AS {x}) WHERE {{ {inside} }} }}"
        return self._extreme(program, x, names)

    def _extreme(self, program: Program, x: str, names: Iterator[str]) -> str:
        """A subquery for the one member with the greatest or least value; of equals the one with the smallest id."""
        *path, attribute = program.name.split()
        inside, end = [self._members(program.parts[0], x, names)], x
        for relation in path:
            start, end = end, next(names)
            inside.append(f"{start} {self._iri(relation)} {end} .")
        value = next(names)
        inside.append(f"{end} {self._iri(attribute)} {value} .")
        order = f"DESC({value})" if program.op == "ARGMAX" else value
        return f"{{ SELECT {x} WHERE {{ {' '.join(inside)} }} ORDER BY {order} STR({x}) LIMIT 1 }}"


def _names() -> Iterator[str]:
    return (f"?y{number}" for number in count())
