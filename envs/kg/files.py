"""Opens graphs: the shipped one, files of triples, and Freebase extracts in the layout of OpenKE.

Reading text takes seconds, so a graph is packed once under the hash of its files, kept in the cache folder, and
memory-mapped from then on.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import re
import shutil
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from cmat_gym.core.cache import cache_folder
from cmat_gym.core.errors import TaskError
from cmat_gym.envs.kg.ontology import Ontology, Role
from cmat_gym.envs.kg.packing import FORMAT, GraphData
from cmat_gym.envs.kg.store import Graph

__all__ = ["FREEBASE", "SHIPPED", "TYPE", "iri", "open_graph", "read_graph", "write_triples"]

FREEBASE = "http://rdf.freebase.com/ns/"
LABEL = "type.object.name"
TYPE = "type.object.type"
_LABELS = (LABEL, "www.w3.org.2000.01.rdf-schema.label")
_TYPES = (TYPE, "www.w3.org.1999.02.22-rdf-syntax-ns.type")

SHIPPED = Path(__file__).parent / "data" / "graph.txt.xz"
HEADER = "cmat-gym graph 1"
_IN_ADDRESSES = "-._~:/!$&'()*+,;=@"
_ID = re.compile(r"[mfg]\.\w+\Z", re.ASCII)
_NTRIPLE = re.compile(
    r'\s*(<[^>]*>|_:\S+)\s*(<[^>]*>)\s*(?:(<[^>]*>|_:\S+)|"((?:[^"\\]|\\.)*)"(?:\^\^<[^>]*>|@[\w-]+)?)\s*\.\s*(?:#.*)?\Z'
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\Z")


def open_graph(path: str | Path | None = None) -> Graph:
    """The graph in a file or folder; None opens the shipped one. Equal paths give the same object within a process.

    Args:
        path: A file of tab-separated triples (`.tsv` or `.txt`) or of N-Triples (`.nt`), also `.xz` or `.gz`; a
            folder or a `.tar.xz` with `entity2id.txt`, `relation2id.txt` and `train2id.txt` as OpenKE writes them, such
            as FB15k-237; or a file in the format of the shipped graph.

    Raises:
        TaskError: There is nothing, or something else, at the path.
    """
    return _open(SHIPPED if path is None else Path(path).expanduser().resolve())


@lru_cache(maxsize=4)
def _open(path: Path) -> Graph:
    files = _files(path)
    digest = _digest(files)
    folder = cache_folder() / f"kg-graph{FORMAT}-{digest[:32]}"
    if folder.exists():
        try:
            return Graph.load(folder)
        except TaskError:  # cut off by a full disk, or by somebody's hands: it is only a copy
            shutil.rmtree(folder, ignore_errors=True)
    # Packed beside its place and moved there whole, so that a second process never reads half a graph.
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    Graph.build(_read(path, files), digest).save(draft)
    try:
        draft.rename(folder)
    except OSError:  # another process was quicker
        shutil.rmtree(draft)
    return Graph.load(folder)


def read_graph(path: Path) -> GraphData:
    """Read a graph without packing it.

    Raises:
        TaskError: There is nothing, or something else, at the path.
    """
    return _read(path, _files(path))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.txt") if file.is_file())
        if not any(file.name == "train2id.txt" for file in files):
            raise TaskError(f"{path} holds no graph: expected entity2id.txt, relation2id.txt and train2id.txt in it")
        return files
    if not path.is_file():
        raise TaskError(f"There is no graph at {path}: give a file of triples or a folder with train2id.txt")
    return [path]


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _read(path: Path, files: list[Path]) -> GraphData:
    try:
        if path.is_dir():
            return _read_openke({file.name: file.read_text(encoding="utf-8") for file in files})
        if path.name.endswith((".tar.xz", ".tar.gz", ".tar")):
            return _read_openke(_unpack(path))
        lines = _lines(path)
        first = next(lines, "")
        if first == HEADER:
            return _read_shipped(lines)
        if path.name.endswith((".nt", ".nt.xz", ".nt.gz")):
            return _read_ntriples(_chain(first, lines))
        return _read_triples(_chain(first, lines))
    except (OSError, EOFError, ValueError, KeyError, IndexError, lzma.LZMAError, tarfile.TarError) as error:
        raise TaskError(f"The graph in {path} cannot be read: {error!r}") from error


def _unpack(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(".txt")]
        return {PurePosixPath(m.name).name: archive.extractfile(m).read().decode() for m in members}  # type: ignore[union-attr]


def _lines(path: Path) -> Iterator[str]:
    data = path.read_bytes()
    if path.suffix == ".xz":
        data = lzma.decompress(data)
    elif path.suffix == ".gz":
        data = gzip.decompress(data)
    return iter(data.decode().splitlines())


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


# Formats -------------------------------------------------------------------------------------------------------------


def _read_shipped(lines: Iterable[str]) -> GraphData:
    """The format of build.py: the ontology, then one line an entity with its class, names and facts."""
    relations: dict[str, Role] = {}
    attributes: dict[str, Role] = {}
    names: dict[str, str] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    classes: dict[str, tuple[str, ...]] = {}
    facts: list[tuple[str, str, str]] = []
    values: list[tuple[str, str, float]] = []
    for line in lines:
        key, *fields = line.split("\t")
        if key == "relation":
            name, domain, target, back = fields
            relations[name] = Role(domain, target, back)
            relations[back] = Role(target, domain, name)
        elif key == "attribute":
            attributes[fields[0]] = Role(fields[1], fields[2])
        else:
            classes[key], names[key] = (fields[0],), fields[1]
            if fields[2]:
                aliases[key] = tuple(fields[2].split("|"))
            for fact in fields[3:]:
                relation, _, value = fact.partition("=")
                if relation in attributes:
                    values.append((key, relation, float(value)))
                    continue
                facts.append((key, relation, value))
                back_way = relations[relation].reverse
                assert back_way is not None, "every relation of the shipped graph has a way back"
                facts.append((value, back_way, key))
    return GraphData(Ontology(relations, attributes), names, aliases, classes, facts, values)


class _Ids:
    """Ids of Freebase's form for entities of any name; those that have the form already keep it."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # id -> what it was called
        self._ids: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._ids:
            dotted = _dotted(name)
            base = dotted if _ID.match(dotted) else "m." + (re.sub(r"[^a-z0-9]+", "_", name.lower()) or "_")
            tries = (base if attempt == 1 else f"{base}_{attempt}" for attempt in count(1))
            self._ids[name] = next(wanted for wanted in tries if wanted not in self.names)
            self.names[self._ids[name]] = name
        return self._ids[name]


def _read_triples(lines: Iterable[str]) -> GraphData:
    """Tab-separated subject, relation, object; an object that is a number makes the relation an attribute."""
    facts: list[tuple[str, str, str]] = []
    values: list[tuple[str, str, float]] = []
    ids = _Ids()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"line {number} is not subject, relation and object, with tabs between: {line[:80]!r}")
        subject, relation, value = parts
        if _NUMBER.match(value):
            values.append((ids[subject], _dotted(relation), float(value)))
        else:
            facts.append((ids[subject], _dotted(relation), ids[value]))
    return _inferred(facts, values, ids.names)


def _read_ntriples(lines: Iterable[str]) -> GraphData:
    """N-Triples: labels become names, types classes, and numbers values; other literals are nothing a tool can use."""
    facts: list[tuple[str, str, str]] = []
    values: list[tuple[str, str, float]] = []
    labels: dict[str, str] = {}
    classes: dict[str, list[str]] = defaultdict(list)
    ids = _Ids()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _NTRIPLE.match(line)
        if match is None:
            raise ValueError(f"line {number} is no triple: {line[:80]!r}")
        subject, relation, target, literal = match.groups()
        start, relation = ids[_local(subject)], _dotted(_local(relation))
        if target is not None and relation in _TYPES:
            classes[start].append(_dotted(_local(target)))
        elif target is not None:
            facts.append((start, relation, ids[_local(target)]))
        elif relation in _LABELS:
            labels.setdefault(start, _unescaped(literal))
        elif _NUMBER.match(literal):
            values.append((start, relation, float(literal)))
    data = _inferred(facts, values, {**ids.names, **labels})
    return replace(data, classes={**data.classes, **classes})


def _local(address: str) -> str:
    """An address without Freebase's namespace; of another one without its scheme."""
    if address.startswith(f"<{FREEBASE}"):
        return unquote(address[len(FREEBASE) + 1 : -1])
    return unquote(re.sub(r"\Ahttps?://", "", address.strip("<>"))).replace("#", "/")


def _unescaped(literal: str) -> str:
    try:
        return str(json.loads(f'"{literal}"'))
    except ValueError:  # the one escape that JSON lacks
        return re.sub(r"\\U([0-9A-Fa-f]{8})", lambda match: chr(int(match[1], 16)), literal)


def _read_openke(files: Mapping[str, str]) -> GraphData:
    """`train2id.txt` and its like: head, tail, relation by number, the count in the first line."""
    entities = _by_number(files["entity2id.txt"])
    relations = _by_number(files["relation2id.txt"])
    facts: list[tuple[str, str, str]] = []
    for name in ("train2id.txt", "valid2id.txt", "test2id.txt"):
        rows = files.get(name, "").split("\n")[1:]
        for head, tail, relation in (row.split() for row in rows if row):
            facts.append((entities[int(head)], relations[int(relation)], entities[int(tail)]))
    names = {}
    for row in files.get("entity2text.txt", "").splitlines():
        entity, _, name = row.partition("\t")
        names[_dotted(entity)] = name
    return _inferred(facts, [], names)


def _by_number(text: str) -> dict[int, str]:
    rows = (row.split("\t") for row in text.split("\n")[1:] if row)
    return {int(number): _dotted(name) for name, number in rows}


def _dotted(name: str) -> str:
    """`/a/b/c./d/e/f` as `a.b.c..d.e.f`: a path through a middle node stays one relation."""
    return re.sub(r"[\s()]+", "_", name.strip().removeprefix("/").replace("/", "."))


def _inferred(
    facts: list[tuple[str, str, str]], values: list[tuple[str, str, float]], names: Mapping[str, str]
) -> GraphData:
    """Domains from the names of relations, classes from the domains, ranges from what most objects are."""
    classes: dict[str, dict[str, None]] = defaultdict(dict)
    for subject, relation, _ in (*facts, *values):
        classes[subject][_domain(relation)] = None
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    for _, relation, target in facts:
        classes.setdefault(target, {})
        ends[relation].update(list(classes[target]))
    relations = {
        relation: Role(_domain(relation), min(count, key=lambda kind: (-count[kind], kind), default="type.object"))
        for relation, count in ends.items()
    }
    attributes = {relation: Role(_domain(relation), "type.float") for _, relation, _ in values}
    both = relations.keys() & attributes.keys()
    if both:
        raise ValueError(f"{min(both)} has numbers and entities for objects: split it into two relations")
    ids = {name: names.get(name, name) for name in classes}
    kinds = {name: tuple(kinds) for name, kinds in classes.items()}
    return GraphData(Ontology(relations, attributes), ids, {}, kinds, facts, values)


def _domain(relation: str) -> str:
    return relation.partition("..")[0].rpartition(".")[0] or "type.object"


# The way out ---------------------------------------------------------------------------------------------------------


def iri(name: str, namespace: str = FREEBASE) -> str:
    """An id or a name as SPARQL and N-Triples write it; letters that have no place in an address are escaped."""
    return f"<{namespace}{quote(name, safe=_IN_ADDRESSES)}>"


def write_triples(graph: Graph, path: Path, namespace: str = FREEBASE) -> int:
    """Write a graph as N-Triples, for any SPARQL server; returns the number of lines.

    Names and classes come along as Freebase has them, as `type.object.name` and `type.object.type`.
    """
    ids = [graph.id(number) for number in range(len(graph))]
    lines = 0
    with path.open("w", encoding="utf-8") as file:
        for line in _triples(graph, ids, namespace):
            file.write(line)
            lines += 1
    return lines


def _triples(graph: Graph, ids: list[str], namespace: str) -> Iterator[str]:
    double = "http://www.w3.org/2001/XMLSchema#double"
    addresses = [iri(name, namespace) for name in ids]
    for number, subject in enumerate(addresses):
        yield f'{subject} {iri(LABEL, namespace)} "{_escape(graph.name(number))}"@en .\n'
        for kind in graph.classes_of(number):
            yield f"{subject} {iri(TYPE, namespace)} {iri(kind, namespace)} .\n"
        one = graph.node(number)
        for relation in graph.relations_of(one):
            for target in graph.forward(relation, one):
                yield f"{subject} {iri(relation, namespace)} {addresses[target]} .\n"
        for attribute in graph.attributes_of(one):
            for value in graph.values_of(attribute, number):
                yield f'{subject} {iri(attribute, namespace)} "{value!r}"^^<{double}> .\n'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
