"""From facts to the arrays of a graph: sorting, numbering, and what tells entities of the same name apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.kg.arrays import Postings, Signatures, Texts
from cmat_gym.envs.kg.ontology import Ontology

__all__ = ["FORMAT", "GraphData", "Packed", "pack"]

FORMAT = 1
"""Version of the arrays and the header; a saved graph of another one is refused."""

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


class Packed(NamedTuple):
    """A graph ready to be opened: its arrays by name, and the JSON-able rest (ontology, classes, digest, format)."""

    arrays: dict[str, npt.NDArray[Any]]
    header: dict[str, Any]


def pack(data: GraphData, digest: str = "") -> Packed:
    """Number, sort and pack a graph.

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
        arrays[f"{name}_data"], arrays[f"{name}_start"] = Texts.pack(values)
    arrays |= _naming(ids, [data.names[i] for i in ids], [min(data.classes.get(i) or ("",)) for i in ids])
    arrays |= _class_arrays([[classes.index(k) for k in sorted(data.classes.get(i, ()))] for i in ids], len(classes))
    s, r, o = facts.T
    for name, postings in (
        ("forward", Postings.pack(len(relation), r, s, o)),
        ("backward", Postings.pack(len(relation), r, o, s)),
    ):
        arrays[f"{name}_of"], arrays[f"{name}_key"] = postings.of, postings.key
        arrays[f"{name}_start"], arrays[f"{name}_items"] = postings.table
    out = Signatures.pack(len(ids), s, r)
    arrays["out_of"], (arrays["out_start"], arrays["out_items"]) = out.of, out.table
    arrays |= _value_arrays(rows, len(ids), len(attribute))
    header = {"format": FORMAT, "digest": digest, "ontology": data.ontology.to_json(), "classes": classes}
    return Packed(arrays, header)


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
    signatures = Signatures.pack(entities, key, kind)
    return {
        "value_of": np.searchsorted(kind, np.arange(attributes + 1)).astype(np.int64),
        "value_key": key,
        "value": value,
        "value_sig": signatures.of,
        "value_sig_start": signatures.table.start,
        "value_sig_items": signatures.table.items,
    }
