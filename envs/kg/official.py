"""AgentBench's own questions: `dev.json`, `std.json` and `kg_rl_all.json` of the domain "knowledge graph".

They are about Freebase, so they need its SPARQL service to be played; questions, entities, gold chains and answers can
be read without. 13 of the 20 questions of `dev.json` are also in `kg_rl_all.json`: where both are read, training gives
them up (`dropped` lists them).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource
from cmat_gym.envs.kg.generator import MAX_TURNS
from cmat_gym.envs.kg.ontology import ARCHIVE, Ontology, read_agentbench_ontology
from cmat_gym.envs.kg.programs import Program, both, follow, parse_program, superlative, tally
from cmat_gym.envs.kg.tools import SIGNATURES, Move

__all__ = ["OfficialKGTasks", "Record", "open_official", "program_of_chain", "read_move"]

SPLITS = {"kg_rl_all.json": "train", "dev.json": "dev", "std.json": "test"}
_MOVE = re.compile(r"(\w+)\((.*)\)\Z", re.DOTALL)
_VARIABLE = re.compile(r"#(\d{1,4})\Z")


class Record(NamedTuple):
    """A question of AgentBench."""

    qid: str
    source: str
    question: str
    entities: Mapping[str, str]
    s_expression: str
    actions: tuple[str, ...]
    answer: tuple[str, ...]


def read_move(action: str) -> Move:
    """Read one call of a gold chain.

    Raises:
        TaskError: It is none.
    """
    match = _MOVE.match(action.strip())
    if match is None or match[1] not in SIGNATURES:
        raise TaskError(
            f"Not a call of a gold chain: {action[:80]!r}; expected tool(arguments) with one of {list(SIGNATURES)}"
        )
    arguments = tuple(argument.strip() for argument in match[2].split(","))
    if len(arguments) != SIGNATURES[match[1]]:
        raise TaskError(f"{match[1]} takes {SIGNATURES[match[1]]} arguments, got {action[:80]!r}")
    return Move(match[1], arguments)


def program_of_chain(actions: Sequence[str]) -> Program:
    """What the last variable of a gold chain stands for.

    Raises:
        TaskError: The chain names a variable before it is made, or makes none.
    """
    made: list[Program] = []
    for action in actions:
        tool, arguments = read_move(action)
        if tool in ("get_relations", "get_attributes"):
            continue
        start = _read(arguments[0], made)
        match tool:
            case "get_neighbors":
                made.append(follow(arguments[1], start))
            case "intersection":
                made.append(both(start, _read(arguments[1], made)))
            case "argmax":
                made.append(superlative("ARGMAX", start, arguments[1]))
            case "argmin":
                made.append(superlative("ARGMIN", start, arguments[1]))
            case _:
                made.append(tally(start))
    if not made:
        raise TaskError(f"A gold chain that makes no variable: {list(actions)}")
    return made[-1]


def _read(argument: str, made: Sequence[Program]) -> Program:
    if match := _VARIABLE.match(argument):
        if int(match[1]) >= len(made):
            raise TaskError(f"A gold chain uses {argument} before it is made")
        return made[int(match[1])]
    return parse_program(argument)  # an id, or a class: some chains start from one, which the tools refuse


class OfficialKGTasks(TaskSource):
    """The questions of one or several of AgentBench's files.

    Args:
        path: One of the files, or a folder: an AgentBench checkout, or one that holds the files somewhere below.

    Attributes:
        dropped: Ids of questions that are left out of `train` because `dev` or `test` has them.

    Raises:
        TaskError: There are no such files, or one of them cannot be read.
    """

    domain = "kg"
    official = True

    def __init__(self, path: Path) -> None:
        self.path = path
        files = _find(path)
        digest = hashlib.sha256()
        self.records: dict[str, tuple[Record, ...]] = {}
        for file in files:
            data = file.read_bytes()
            digest.update(data)
            self.records[SPLITS.get(file.name, file.stem)] = _load(file, data)
        self.name = f"agentbench-{digest.hexdigest()[:8]}"
        held_out = {record.qid for split in ("dev", "test") for record in self.records.get(split, ())}
        train = self.records.get("train", ())
        self.dropped = tuple(record.qid for record in train if record.qid in held_out)
        if "train" in self.records:
            self.records["train"] = tuple(record for record in train if record.qid not in held_out)

    @cached_property
    def ontology(self) -> Ontology:
        """The Freebase vocabulary that belongs to the questions.

        Raises:
            TaskError: It is not beside them.
        """
        folder = self.path if self.path.is_dir() else self.path.parent
        for place in (*folder.rglob("fb_roles"), *folder.rglob(ARCHIVE)):
            return read_agentbench_ontology(place.parent)
        return read_agentbench_ontology(folder)

    def sizes(self) -> Mapping[str, int]:
        """Number of questions by split."""
        return {split: len(records) for split, records in self.records.items()}

    def make(self, split: str, index: int) -> Task:
        """The question at `index` of `split`."""
        record = self.records[split][index]
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=record.question,
            payload={
                "entities": dict(record.entities),
                "program": program_of_chain(record.actions).text,
                "answer": sorted(set(record.answer)),
                "qid": record.qid,
                "from": record.source,
                "s_expression": record.s_expression,
                "actions": list(record.actions),
            },
            max_turns=MAX_TURNS,
        )


@lru_cache(maxsize=4)
def open_official(path: Path) -> OfficialKGTasks:
    """The questions at a path; equal paths give the same object within a process."""
    return OfficialKGTasks(path)


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found: dict[str, Path] = {}
    for name in SPLITS:
        # Other domains of a checkout have files of the same names: the nearest of this domain counts.
        for file in sorted(path.rglob(name), key=lambda file: (len(file.parts), str(file))):
            if file.parent == path or {"kg", "knowledgegraph", "knowledge_graph"} & set(file.parts):
                found.setdefault(name, file)
    if not found:
        raise TaskError(
            f"{path} holds no questions of AgentBench's knowledge graph: expected {', '.join(SPLITS)} in it, "
            "or in a folder 'knowledgegraph' or 'kg' below"
        )
    return list(found.values())


def _load(file: Path, data: bytes) -> tuple[Record, ...]:
    try:
        rows = json.loads(data)
        if not isinstance(rows, list):
            raise TypeError(f"expected a list, got {type(rows).__name__}")
        return tuple(_records(rows))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskError(f"{file} is no file of AgentBench's knowledge graph: {error!r}") from error


def _records(rows: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
    for row in rows:
        yield Record(
            qid=str(row["qid"]),
            source=str(row["source"]),
            question=str(row["question"]),
            entities={str(name): str(entity) for name, entity in row["entities"].items()},
            s_expression=str(row.get("s_expression", "")),
            actions=tuple(map(str, row["actions"])),
            answer=tuple(str(answer["answer_argument"]) for answer in row["answer"]),
        )
