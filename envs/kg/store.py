"""The graph in memory: a compact triple store of sorted integer arrays (`arrays.py`), packed by `packing.py`.

Entities are numbered in the order of their ids, relations and attributes in the order of their names, so a sorted array
of numbers is a sorted list of ids. Each relation has two posting tables, one by subject and one by object: the sorted
distinct keys, and for each of them a sorted run of partners. What may be listed of an entity (its relations, its
attributes) is a *signature*, and as most entities share theirs with many others, each distinct one is stored once.

Everything is immutable, may lie in a memory-mapped file, and is shared by all environments of a process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.kg.arrays import EMPTY, Nodes, Postings, Signatures, Table, Texts, distinct, spans
from cmat_gym.envs.kg.ontology import Ontology
from cmat_gym.envs.kg.packing import FORMAT, GraphData, pack

__all__ = ["Graph"]


class Graph:
    """A packed graph; make one with `Graph.build` or `Graph.load`.

    Args:
        arrays: The arrays by name, as `save` writes them.
        header: The JSON-able rest: ontology, classes and digest.
    """

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
        self._ids = Texts(a["id_data"], a["id_start"])
        self._names = Texts(a["name_data"], a["name_start"])
        self._aliases = Texts(a["alias_data"], a["alias_start"])
        self._classes_of = Table(a["class_start"], a["class_items"])
        self._members = Table(a["member_start"], a["member_items"])
        self._forward = Postings(a["forward_of"], a["forward_key"], Table(a["forward_start"], a["forward_items"]))
        self._backward = Postings(a["backward_of"], a["backward_key"], Table(a["backward_start"], a["backward_items"]))
        self._has_relations = Signatures(a["out_of"], Table(a["out_start"], a["out_items"]))
        self._has_attributes = Signatures(a["value_sig"], Table(a["value_sig_start"], a["value_sig_items"]))
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

    def _listed(self, signatures: Signatures, names: tuple[str, ...], one: Any, nodes: Nodes) -> tuple[str, ...]:
        if len(nodes) == 1:
            return tuple(one(int(signatures.of[nodes[0]])))
        if not len(nodes):
            return ()
        kinds = distinct(signatures.of[nodes])
        if len(kinds) == 1:
            return tuple(one(int(kinds[0])))
        return tuple(names[number] for number in signatures.table.runs(kinds))

    @staticmethod
    def _names_of(signatures: Signatures, names: tuple[str, ...], kind: int) -> tuple[str, ...]:
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
            rows = spans(np.searchsorted(keys, nodes), np.searchsorted(keys, nodes, side="right"))
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
        return cls(*pack(data, digest))

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
            if header["format"] != FORMAT:
                raise TaskError(f"{folder} holds a graph of format {header['format']}, expected {FORMAT}: remove it")
            arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
            return cls(arrays, header)
        except (OSError, ValueError, KeyError) as error:
            raise TaskError(
                f"{folder} holds no graph that can be read ({error!r}): remove it to build it again"
            ) from error
