"""The graph in memory: a compact triple store of sorted integer arrays.

Entities are numbered in the order of their ids, relations and attributes in the order of their names, so a sorted array
of numbers is a sorted list of ids. Each relation has two posting tables, one by subject and one by object: the sorted
distinct keys, and for each of them a sorted run of partners. What may be listed of an entity (its relations, its
attributes) is a *signature*, and as most entities share theirs with many others, each distinct one is stored once.

Everything is immutable, may lie in a memory-mapped file, and is shared by all environments of a process.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.kg.ontology import Ontology

__all__ = ["Graph", "GraphData", "Nodes"]

Nodes: TypeAlias = npt.NDArray[np.int32]
"""Sorted distinct entity numbers."""

_Ints: TypeAlias = npt.NDArray[np.integer[Any]]
EMPTY: Nodes = np.empty(0, np.int32)
_SAYABLE = re.compile(r"\w(?![.]\w)[\w .'’&/-]{0,38}[\w.]\Z")  # no id, and nothing that a call or a list is cut at


@dataclass(frozen=True)
class GraphData:
    """What a graph is made of, before it is packed. All lists may be in any order; doubled facts count once.

    Attributes:
        ontology: Domains and ranges of every relation and attribute used.
        names: Entity id -> name; every entity is a key.
        aliases: Entity id -> other names.
        classes: Entity id -> the classes it belongs to.
        facts: (subject, relation, object).
        values: (subject, attribute, number).
    """

    ontology: Ontology
    names: Mapping[str, str]
    aliases: Mapping[str, Sequence[str]]
    classes: Mapping[str, Sequence[str]]
    facts: Iterable[tuple[str, str, str]]
    values: Iterable[tuple[str, str, float]]


class _Texts(NamedTuple):
    """Strings, one after the other: the bytes and where each begins."""

    data: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]

    @classmethod
    def pack(cls, texts: Iterable[str]) -> _Texts:
        encoded = [text.encode() for text in texts]
        start = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), start)

    def __getitem__(self, number: Any) -> Any:
        return self.data[self.start[number] : self.start[number + 1]].tobytes().decode()

    def find(self, text: str) -> int:
        """The number of a text among sorted ones; -1 where it is not there."""
        wanted = text.encode("utf-8", "surrogatepass")
        low, high = 0, len(self.start) - 1
        while low < high:
            middle = (low + high) // 2
            if self.data[self.start[middle] : self.start[middle + 1]].tobytes() < wanted:
                low = middle + 1
            else:
                high = middle
        found = low < len(self.start) - 1 and self.data[self.start[low] : self.start[low + 1]].tobytes() == wanted
        return low if found else -1


class _Table(NamedTuple):
    """Runs of integers: run i is `items[start[i]:start[i + 1]]`."""

    start: npt.NDArray[np.int64]
    items: Nodes

    def runs(self, rows: _Ints) -> Nodes:
        """The distinct items of several runs, sorted."""
        if len(rows) == 1:
            return self.items[self.start[rows[0]] : self.start[rows[0] + 1]]
        return _distinct(self.items[_spans(self.start[rows], self.start[rows + 1])])


def _spans(first: _Ints, last: _Ints) -> npt.NDArray[np.int64]:
    """All places first[i] ... last[i] - 1, for every i."""
    length = last - first
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    places: npt.NDArray[np.int64] = np.arange(total) + np.repeat(first - ends + length, length)
    return places


def _distinct(nodes: Nodes) -> Nodes:
    """Sort and drop doubles; several times as fast as `np.unique` on short arrays."""
    nodes = np.sort(nodes)
    keep = np.empty(len(nodes), np.bool_)
    keep[:1] = True
    np.not_equal(nodes[1:], nodes[:-1], out=keep[1:])
    return nodes[keep]


class _Postings(NamedTuple):
    """One direction of all relations: relation r has the keys `key[of[r]:of[r + 1]]`, and key i the run i."""

    of: npt.NDArray[np.int64]
    key: Nodes
    table: _Table

    @classmethod
    def pack(cls, relations: int, relation: Nodes, key: Nodes, partner: Nodes) -> _Postings:
        order = np.lexsort((partner, key, relation))
        relation, key, partner = relation[order], key[order], partner[order]
        new = np.ones(len(key), np.bool_)
        new[1:] = (key[1:] != key[:-1]) | (relation[1:] != relation[:-1])
        first = np.flatnonzero(new)
        start = np.append(first, len(key)).astype(np.int64)
        of = np.searchsorted(relation[first], np.arange(relations + 1)).astype(np.int64)
        return cls(of, key[first], _Table(start, partner))

    def partners(self, relation: int, nodes: Nodes) -> Nodes:
        """What a relation leads to from any of the nodes."""
        low, high = int(self.of[relation]), int(self.of[relation + 1])
        keys = self.key[low:high]
        rows = np.searchsorted(keys, nodes)
        if len(nodes) == 1:
            row = int(rows[0])
            if row == len(keys) or keys[row] != nodes[0]:
                return EMPTY
            return self.table.items[self.table.start[low + row] : self.table.start[low + row + 1]]
        rows[rows == len(keys)] = 0
        hit = keys[rows] == nodes if len(keys) else np.zeros(len(nodes), np.bool_)
        return self.table.runs(rows[hit] + low)


class _Signatures(NamedTuple):
    """For each entity which relations (or attributes) it has, each distinct combination stored once."""

    of: Nodes  # entity -> signature
    table: _Table  # signature -> relations

    @classmethod
    def pack(cls, entities: int, subject: Nodes, relation: Nodes) -> _Signatures:
        pairs = np.unique(np.stack([subject, relation], axis=1), axis=0) if len(subject) else np.empty((0, 2), np.int32)
        start = np.searchsorted(pairs[:, 0], np.arange(entities + 1))
        kinds: dict[bytes, int] = {}
        column = np.ascontiguousarray(pairs[:, 1], np.int32)
        of = np.empty(entities, np.int32)
        for number in range(entities):
            of[number] = kinds.setdefault(column[start[number] : start[number + 1]].tobytes(), len(kinds))
        runs = [np.frombuffer(kind, np.int32) for kind in kinds]
        ends = np.cumsum([0, *map(len, runs)], dtype=np.int64)
        return cls(of, _Table(ends, np.concatenate([EMPTY, *runs])))


class Graph:
    """A packed graph; make one with `Graph.build` or `Graph.load`.

    Args:
        arrays: The arrays by name, as `save` writes them.
        header: The JSON-able rest: ontology, classes and digest.
    """

    FORMAT = 1

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]) -> None:
        self._arrays, self._header = dict(arrays), dict(header)
        self.ontology = Ontology.from_json(header["ontology"])
        self.digest: str = header["digest"]
        self.relations: tuple[str, ...] = tuple(sorted(self.ontology.relations))
        self.attributes: tuple[str, ...] = tuple(sorted(self.ontology.attributes))
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self._relation = {name: number for number, name in enumerate(self.relations)}
        self._attribute = {name: number for number, name in enumerate(self.attributes)}
        self._class = {name: number for number, name in enumerate(self.classes)}
        # Views without numpy's memmap class, whose slices cost several times as much.
        a = {name: array.view(np.ndarray) for name, array in arrays.items()}
        self._ids = _Texts(a["id_data"], a["id_start"])
        self._names = _Texts(a["name_data"], a["name_start"])
        self._aliases = _Texts(a["alias_data"], a["alias_start"])
        self._classes_of = _Table(a["class_start"], a["class_items"])
        self._members = _Table(a["member_start"], a["member_items"])
        self._forward = _Postings(a["forward_of"], a["forward_key"], _Table(a["forward_start"], a["forward_items"]))
        self._backward = _Postings(
            a["backward_of"], a["backward_key"], _Table(a["backward_start"], a["backward_items"])
        )
        self._has_relations = _Signatures(a["out_of"], _Table(a["out_start"], a["out_items"]))
        self._has_attributes = _Signatures(a["value_sig"], _Table(a["value_sig_start"], a["value_sig_items"]))
        self._value_of, self._value_key, self._value = a["value_of"], a["value_key"], a["value"]
        self.name_hash, self.name_rank = a["name_hash"], a["name_rank"]
        self._make_caches()

    def _make_caches(self) -> None:
        self.find = lru_cache(1 << 14)(self._ids.find)
        self._relation_names = lru_cache(1 << 12)(
            lambda kind: self._names_of(self._has_relations, self.relations, kind)
        )
        self._attribute_names = lru_cache(1 << 12)(
            lambda kind: self._names_of(self._has_attributes, self.attributes, kind)
        )

    def __getstate__(self) -> dict[str, Any]:
        """A pickle holds the arrays; environments send how to open the graph instead."""
        return {"arrays": {name: np.asarray(array) for name, array in self._arrays.items()}, "header": self._header}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the views and caches again."""
        self.__init__(state["arrays"], state["header"])  # type: ignore[misc]

    # Entities ---------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of entities."""
        return len(self._has_relations.of)

    @property
    def fact_count(self) -> int:
        """Facts between entities, each direction that has a name counted."""
        return len(self._forward.table.items)

    @property
    def value_count(self) -> int:
        """Facts with a number."""
        return len(self._value)

    @staticmethod
    def node(number: int) -> Nodes:
        """One entity as a set of entities."""
        return np.array([number], np.int32)

    def id(self, number: int) -> str:
        """The id of an entity."""
        return str(self._ids[number])

    def name(self, number: int) -> str:
        """The name of an entity."""
        return str(self._names[number])

    def aliases(self, number: int) -> tuple[str, ...]:
        """Other names of an entity."""
        joined = str(self._aliases[number])
        return tuple(joined.split("|")) if joined else ()

    def classes_of(self, number: int) -> tuple[str, ...]:
        """The classes an entity belongs to."""
        table = self._classes_of
        return tuple(self.classes[kind] for kind in table.items[table.start[number] : table.start[number + 1]])

    def members(self, name: str) -> Nodes:
        """All members of a class; none of an unknown one."""
        kind = self._class.get(name)
        return EMPTY if kind is None else self._members.items[self._members.start[kind] : self._members.start[kind + 1]]

    # Facts ------------------------------------------------------------------------------------------------------------

    def forward(self, relation: str, nodes: Nodes) -> Nodes:
        """All objects o of (s, relation, o) with s among the nodes."""
        number = self._relation.get(relation)
        return EMPTY if number is None or not len(nodes) else self._forward.partners(number, nodes)

    def backward(self, relation: str, nodes: Nodes) -> Nodes:
        """All subjects s of (s, relation, o) with o among the nodes."""
        number = self._relation.get(relation)
        return EMPTY if number is None or not len(nodes) else self._backward.partners(number, nodes)

    def subjects(self, relation: str) -> Nodes:
        """All entities that have a relation."""
        number = self._relation.get(relation)
        return EMPTY if number is None else self._forward.key[self._forward.of[number] : self._forward.of[number + 1]]

    def fan_out(self, relation: str) -> float:
        """How many objects a subject of a relation has on average; 0 where it has no facts."""
        number = self._relation[relation]
        low, high = int(self._forward.of[number]), int(self._forward.of[number + 1])
        facts = int(self._forward.table.start[high] - self._forward.table.start[low])
        return facts / (high - low) if high > low else 0.0

    def relations_of(self, nodes: Nodes) -> tuple[str, ...]:
        """The relations that any of the nodes has, by name."""
        return self._listed(self._has_relations, self.relations, self._relation_names, nodes)

    def attributes_of(self, nodes: Nodes) -> tuple[str, ...]:
        """The attributes that any of the nodes has, by name."""
        return self._listed(self._has_attributes, self.attributes, self._attribute_names, nodes)

    def _listed(self, signatures: _Signatures, names: tuple[str, ...], one: Any, nodes: Nodes) -> tuple[str, ...]:
        if len(nodes) == 1:
            return tuple(one(int(signatures.of[nodes[0]])))
        if not len(nodes):
            return ()
        kinds = _distinct(signatures.of[nodes])
        if len(kinds) == 1:
            return tuple(one(int(kinds[0])))
        return tuple(names[number] for number in signatures.table.runs(kinds))

    @staticmethod
    def _names_of(signatures: _Signatures, names: tuple[str, ...], kind: int) -> tuple[str, ...]:
        table = signatures.table
        return tuple(names[number] for number in table.items[table.start[kind] : table.start[kind + 1]])

    def extreme(self, attribute: str, nodes: Nodes, *, greatest: bool) -> Nodes:
        """The member with the greatest or least value, the one with the smallest id of equals; none without values."""
        number = self._attribute.get(attribute)
        if number is None or not len(nodes):
            return EMPTY
        low, high = int(self._value_of[number]), int(self._value_of[number + 1])
        keys, values = self._value_key[low:high], self._value[low:high]
        # A key may stand in several rows, so rows are matched to nodes, not nodes to rows.
        if len(nodes) * 8 < len(keys):
            rows = _spans(np.searchsorted(keys, nodes), np.searchsorted(keys, nodes, side="right"))
        else:
            place = np.searchsorted(nodes, keys)
            place[place == len(nodes)] = 0
            rows = np.flatnonzero(nodes[place] == keys)
        if not len(rows):
            return EMPTY
        found = values[rows]
        best = found.max() if greatest else found.min()
        winners: Nodes = keys[rows[found == best]][:1]
        return winners

    def values_of(self, attribute: str, node: int) -> tuple[float, ...]:
        """The values of an attribute of one entity."""
        number = self._attribute.get(attribute)
        if number is None:
            return ()
        low, high = int(self._value_of[number]), int(self._value_of[number + 1])
        first, last = np.searchsorted(self._value_key[low:high], [node, node + 1])
        return tuple(map(float, self._value[low + first : low + last]))

    # Making, keeping --------------------------------------------------------------------------------------------------

    @classmethod
    def build(cls, data: GraphData, digest: str = "") -> Graph:
        """Pack a graph.

        Raises:
            TaskError: A fact names an entity, relation or attribute that is not declared.
        """
        ids = sorted(data.names, key=str.encode)
        number = {name: place for place, name in enumerate(ids)}
        relation = {name: place for place, name in enumerate(sorted(data.ontology.relations))}
        attribute = {name: place for place, name in enumerate(sorted(data.ontology.attributes))}
        try:
            facts = np.array(
                [(number[s], relation[r], number[o]) for s, r, o in dict.fromkeys(data.facts)], np.int32
            ).reshape(-1, 3)
            rows = [(number[s], attribute[a], value) for s, a, value in dict.fromkeys(data.values)]
        except KeyError as error:
            raise TaskError(f"A fact of the graph names {error.args[0]!r}, which is not declared") from None
        classes = sorted({kind for kinds in data.classes.values() for kind in kinds})
        arrays: dict[str, npt.NDArray[Any]] = {}
        texts = {
            "id": ids,
            "name": [data.names[name] for name in ids],
            "alias": ["|".join(data.aliases.get(name, ())) for name in ids],
        }
        for name, values in texts.items():
            arrays[f"{name}_data"], arrays[f"{name}_start"] = _Texts.pack(values)
        arrays |= _naming(ids, [data.names[i] for i in ids], [min(data.classes.get(i) or ("",)) for i in ids])
        arrays |= _class_arrays(
            [[classes.index(k) for k in sorted(data.classes.get(i, ()))] for i in ids], len(classes)
        )
        s, r, o = facts.T
        for name, postings in (
            ("forward", _Postings.pack(len(relation), r, s, o)),
            ("backward", _Postings.pack(len(relation), r, o, s)),
        ):
            arrays[f"{name}_of"], arrays[f"{name}_key"] = postings.of, postings.key
            arrays[f"{name}_start"], arrays[f"{name}_items"] = postings.table
        out = _Signatures.pack(len(ids), s, r)
        arrays["out_of"], (arrays["out_start"], arrays["out_items"]) = out.of, out.table
        arrays |= _value_arrays(rows, len(ids), len(attribute))
        header = {"format": cls.FORMAT, "digest": digest, "ontology": data.ontology.to_json(), "classes": classes}
        return cls(arrays, header)

    def save(self, folder: Path) -> None:
        """Write the arrays and the header into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self._arrays.items():
            np.save(folder / f"{name}.npy", array)
        (folder / "graph.json").write_text(json.dumps(self._header), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Graph:
        """Open a saved graph; its arrays stay in the file until they are used.

        Raises:
            TaskError: The folder holds no graph of this format.
        """
        try:
            header = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
            if header["format"] != cls.FORMAT:
                raise TaskError(
                    f"{folder} holds a graph of format {header['format']}, expected {cls.FORMAT}: remove it"
                )
            arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
            return cls(arrays, header)
        except (OSError, ValueError, KeyError) as error:
            raise TaskError(
                f"{folder} holds no graph that can be read ({error!r}): remove it to build it again"
            ) from error


def _naming(ids: list[str], names: list[str], kinds: list[str]) -> dict[str, npt.NDArray[Any]]:
    """A hash of each name, and how well the name tells its entity.

    Rank 2: nothing else has the name; 1: nothing else of its class; 0: others do, or a tool call could not hold it.
    Where a graph brings no names, an id is as good as one.
    """
    alone, within = Counter(names), Counter(zip(names, kinds, strict=True))
    rank = [
        0 if within[name, kind] > 1 or not (_SAYABLE.match(name) or name == identity) else 2 if alone[name] == 1 else 1
        for identity, name, kind in zip(ids, names, kinds, strict=True)
    ]
    hashes = [int.from_bytes(blake2b(name.casefold().encode(), digest_size=4).digest()) for name in names]
    return {"name_hash": np.array(hashes, np.uint32), "name_rank": np.array(rank, np.int8)}


def _class_arrays(classes_of: list[list[int]], count: int) -> dict[str, npt.NDArray[Any]]:
    start = np.cumsum([0, *map(len, classes_of)], dtype=np.int64)
    items = np.fromiter(chain.from_iterable(classes_of), np.int32, int(start[-1]))
    entity = np.repeat(np.arange(len(classes_of), dtype=np.int32), np.diff(start))
    order = np.lexsort((entity, items))
    members = np.searchsorted(items[order], np.arange(count + 1)).astype(np.int64)
    return {"class_start": start, "class_items": items, "member_start": members, "member_items": entity[order]}


def _value_arrays(rows: list[tuple[int, int, float]], entities: int, attributes: int) -> dict[str, npt.NDArray[Any]]:
    key = np.array([row[0] for row in rows], np.int32)
    kind = np.array([row[1] for row in rows], np.int32)
    value = np.array([row[2] for row in rows], np.float64)
    order = np.lexsort((value, key, kind))
    key, kind, value = key[order], kind[order], value[order]
    signatures = _Signatures.pack(entities, key, kind)
    return {
        "value_of": np.searchsorted(kind, np.arange(attributes + 1)).astype(np.int64),
        "value_key": key,
        "value": value,
        "value_sig": signatures.of,
        "value_sig_start": signatures.table.start,
        "value_sig_items": signatures.table.items,
    }
