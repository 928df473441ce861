"""What relations and attributes there are, and between which kinds of things they run."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cmat_gym.core.errors import TaskError

__all__ = ["NUMBER", "Ontology", "Role", "read_agentbench_ontology"]

NUMBER = "type.int"  # the type of what `count` gives
ARCHIVE = "ontology.tar.xz"


class Role(NamedTuple):
    """Where a relation or an attribute starts and where it leads; `reverse` is the relation of the way back."""

    domain: str
    range: str
    reverse: str | None = None


@dataclass(frozen=True)
class Ontology:
    """The vocabulary an agent may be shown.

    Attributes:
        relations: Relation name -> its role.
        attributes: Attribute name -> its role; the range is a kind of value.
    """

    relations: Mapping[str, Role] = field(default_factory=dict)
    attributes: Mapping[str, Role] = field(default_factory=dict)

    def range_of(self, relation: str) -> str | None:
        """The type of what a relation leads to; None where nobody says."""
        role = self.relations.get(relation)
        return None if role is None else role.range

    def domain_of(self, relation: str) -> str | None:
        """The type of what a relation starts from; None where nobody says."""
        role = self.relations.get(relation)
        return None if role is None else role.domain

    def to_json(self) -> dict[str, list[list[str | None]]]:
        """The ontology as JSON-able rows."""
        return {
            "relations": [[name, *role] for name, role in sorted(self.relations.items())],
            "attributes": [[name, *role] for name, role in sorted(self.attributes.items())],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Iterable[Iterable[str]]]) -> Ontology:
        """The inverse of `to_json`."""
        rows = {part: {name: Role(*role) for name, *role in data[part]} for part in ("relations", "attributes")}
        return cls(rows["relations"], rows["attributes"])


def read_agentbench_ontology(folder: Path) -> Ontology:
    """The Freebase vocabulary of AgentBench: `vocab.json`, `fb_roles` and `reverse_properties`, as files or packed.

    Args:
        folder: The folder that holds them, or `ontology.tar.xz`, or a folder `ontology` with them.

    Raises:
        TaskError: They are not there, or cannot be read.
    """
    try:
        vocabulary, roles, reverse = (_text(folder, name) for name in ("vocab.json", "fb_roles", "reverse_properties"))
        names = json.loads(vocabulary)
        back = dict(line.split("\t") for line in reverse.splitlines() if line)
        table = {
            relation: Role(domain, target, back.get(relation)) for domain, relation, target in _rows(roles.splitlines())
        }
        return Ontology(
            {name: table[name] for name in names["relations"] if name in table},
            {name: table[name] for name in names["attributes"] if name in table},
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise TaskError(
            f"The ontology of AgentBench's knowledge graph cannot be read from {folder}: {error!r}. "
            "Expected vocab.json, fb_roles and reverse_properties there, in a folder 'ontology' below it, "
            f"or packed as {ARCHIVE}"
        ) from error


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Domain, relation, range. In one place the published file lacks a line break between two rows."""
    for line in lines:
        words = line.split()
        if len(words) == 5:
            second_domain = words[3].rpartition(".")[0]
            yield second_domain, words[3], words[4]
            words = [*words[:2], words[2].removesuffix(second_domain)]
        domain, relation, target = words
        yield domain, relation, target


def _text(folder: Path, name: str) -> str:
    for path in (folder / name, folder / "ontology" / name):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    with tarfile.open(folder / ARCHIVE) as archive:
        member = archive.extractfile(f"ontology/{name}")
        if member is None:
            raise KeyError(name)
        return member.read().decode()
