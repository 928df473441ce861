"""Sorted integer arrays, and what is asked of them: runs, postings in one direction, signatures, strings.

Each structure is a NamedTuple of arrays, so it lies as well in a memory-mapped file as in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["EMPTY", "Nodes", "Postings", "Signatures", "Table", "Texts", "distinct", "spans"]

Nodes: TypeAlias = npt.NDArray[np.int32]
"""Sorted distinct entity numbers."""

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
EMPTY: Nodes = np.empty(0, np.int32)


def spans(first: Ints, last: Ints) -> npt.NDArray[np.int64]:
    """All places first[i] ... last[i] - 1, for every i."""
    length = last - first
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    places: npt.NDArray[np.int64] = np.arange(total) + np.repeat(first - ends + length, length)
    return places


def distinct(nodes: Nodes) -> Nodes:
    """Sort and drop doubles; several times as fast as `np.unique` on short arrays."""
    nodes = np.sort(nodes)
    keep = np.empty(len(nodes), np.bool_)
    keep[:1] = True
    np.not_equal(nodes[1:], nodes[:-1], out=keep[1:])
    return nodes[keep]


class Texts(NamedTuple):
    """Strings, one after the other: the bytes and where each begins."""

    data: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]

    @classmethod
    def pack(cls, texts: Iterable[str]) -> Texts:
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


class Table(NamedTuple):
    """Runs of integers: run i is `items[start[i]:start[i + 1]]`."""

    start: npt.NDArray[np.int64]
    items: Nodes

    def runs(self, rows: Ints) -> Nodes:
        """The distinct items of several runs, sorted."""
        if len(rows) == 1:
            return self.items[self.start[rows[0]] : self.start[rows[0] + 1]]
        return distinct(self.items[spans(self.start[rows], self.start[rows + 1])])


class Postings(NamedTuple):
    """One direction of all relations: relation r has the keys `key[of[r]:of[r + 1]]`, and key i the run i."""

    of: npt.NDArray[np.int64]
    key: Nodes
    table: Table

    @classmethod
    def pack(cls, relations: int, relation: Nodes, key: Nodes, partner: Nodes) -> Postings:
        order = np.lexsort((partner, key, relation))
        relation, key, partner = relation[order], key[order], partner[order]
        new = np.ones(len(key), np.bool_)
        new[1:] = (key[1:] != key[:-1]) | (relation[1:] != relation[:-1])
        first = np.flatnonzero(new)
        start = np.append(first, len(key)).astype(np.int64)
        of = np.searchsorted(relation[first], np.arange(relations + 1)).astype(np.int64)
        return cls(of, key[first], Table(start, partner))

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


class Signatures(NamedTuple):
    """For each entity which relations (or attributes) it has, each distinct combination stored once."""

    of: Nodes  # entity -> signature
    table: Table  # signature -> relations

    @classmethod
    def pack(cls, entities: int, subject: Nodes, relation: Nodes) -> Signatures:
        pairs = np.unique(np.stack([subject, relation], axis=1), axis=0) if len(subject) else np.empty((0, 2), np.int32)
        start = np.searchsorted(pairs[:, 0], np.arange(entities + 1))
        kinds: dict[bytes, int] = {}
        column = np.ascontiguousarray(pairs[:, 1], np.int32)
        of = np.empty(entities, np.int32)
        for number in range(entities):
            of[number] = kinds.setdefault(column[start[number] : start[number + 1]].tobytes(), len(kinds))
        runs = [np.frombuffer(kind, np.int32) for kind in kinds]
        ends = np.cumsum([0, *map(len, runs)], dtype=np.int64)
        return cls(of, Table(ends, np.concatenate([EMPTY, *runs])))
