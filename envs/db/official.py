"""DBBench's own files: `dev.jsonl` and `standard.jsonl` of an AgentBench checkout, and files of the same form.

A task's index is its line number. Records that the official engine cannot set up, or cannot tell done from not done,
are kept and say so (`defects` in the payload): an index must mean the same task for everybody.

Source: github.com/THUDM/AgentBench, `data/dbbench`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource
from cmat_gym.envs.db.dialect.engine import Engine, Table
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.prompts import official_instruction
from cmat_gym.envs.db.scorer import table_hash

__all__ = ["OfficialDBTasks", "find_files", "tables_of"]

MAX_TURNS = 15
CHANGING = ("INSERT", "UPDATE", "DELETE")
PLACES = (".", "agentbench", "dbbench", "db/agentbench", "data/dbbench")
SPLITS = {"dev.jsonl": "dev", "standard.jsonl": "test", "test.jsonl": "test", "train.jsonl": "train"}
CHECKSUMS = {"eb941c58a7a5651357b19e46aa05070f6cd5a7d83ce70cefd24aa3581e1e1130": "dbbench-dev"}
"""SHA-256 of known files -> the name they go by in reports; other files go by their own checksum."""


def find_files(path: Path) -> dict[str, Path]:
    """Split -> file, for a file or for a folder in one of the known layouts.

    Raises:
        TaskError: There is nothing there.
    """
    if path.is_file():
        return {SPLITS.get(path.name, "test"): path}
    for place in PLACES:
        folder = path / place
        found = {split: folder / name for name, split in SPLITS.items() if (folder / name).is_file()}
        if found:
            return found
    raise TaskError(
        f"{path} holds no DBBench: expected dev.jsonl or standard.jsonl of AgentBench's data/dbbench, or such a file"
    )


def tables_of(record: Mapping[str, Any]) -> list[Table]:
    """The tables of a record; every value becomes a text."""
    entries = record["table"]
    tables: list[Table] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        info = entry["table_info"]
        columns = tuple(str(column["name"]) for column in info["columns"])
        rows = tuple(tuple(None if value is None else str(value) for value in row) for row in info["rows"])
        tables.append(Table(str(entry["table_name"]), columns, rows))
    return tables


class OfficialDBTasks(TaskSource):
    """The tasks of DBBench files.

    Args:
        path: A file, or a folder with `dev.jsonl` or `standard.jsonl` in it.

    Raises:
        TaskError: A file is missing or is not as expected.
    """

    domain = "db"
    official = True

    def __init__(self, path: Path) -> None:
        self._records: dict[str, list[Mapping[str, Any]]] = {}
        names: list[str] = []
        for split, file in find_files(path).items():
            data = file.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            names.append(CHECKSUMS.get(digest, f"dbbench-{digest[:12]}"))
            self._records[split] = _read(file, data)
        self.name = "+".join(names)

    def sizes(self) -> Mapping[str, int]:
        """Number of records by split."""
        return {split: len(records) for split, records in self._records.items()}

    def make(self, split: str, index: int) -> Task:
        """The record at a line of a file."""
        record = self._records[split][index]
        kind = str(record["type"][0])
        tables = tables_of(record)
        changing = kind in CHANGING
        gold = [str(item) for item in record["label"]]
        statement = gold[0] if changing else str((record.get("sql") or {}).get("query", ""))
        payload: dict[str, Any] = {
            "database": tables[0].name if tables else "",
            "tables": [[table.name, list(table.columns), [list(row) for row in table.rows]] for table in tables],
            "type": kind,
            "sql": statement,
            "defects": list(
                _defects(tuple(tables), statement if changing else "", str(record.get("answer_md5") or ""))
            ),
        }
        if changing:
            payload |= {"table": tables[0].name, "md5": str(record["answer_md5"])}
        else:
            payload["answer"] = gold
        text = official_instruction(
            str(record["description"]), str(record.get("add_description") or ""), str(record.get("evidence") or "")
        )
        return Task(self.task_id(split, index), self.domain, split, self.name, text, payload, MAX_TURNS)


def _read(path: Path, data: bytes) -> list[Mapping[str, Any]]:
    records: list[Mapping[str, Any]] = []
    for number, line in enumerate(data.decode(errors="replace").split("\n")):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            tables_of(record)
            if record["type"][0] in CHANGING and not record["answer_md5"]:
                raise KeyError("answer_md5")
            if not isinstance(record["label"], list) or not isinstance(record["description"], str):
                raise TypeError("label must be a list and description a text")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise TaskError(f"{path}: line {number} is not a DBBench record ({error!r})") from error
        records.append(record)
    return records


@lru_cache(maxsize=1024)
def _defects(tables: tuple[Table, ...], statement: str, md5: str) -> tuple[str, ...]:
    """What is wrong with a record: no table can be made, or gold does not give its own hash, or changes nothing."""
    engine = Engine("mariadb")
    try:
        engine.load("db", tables)
    except MySQLError as error:
        return (f"the table cannot be made: {error}",)
    except (ValueError, OSError) as error:
        return (f"the table cannot be made: {error}",)
    defects: list[str] = []
    if statement:
        before = table_hash(tables[0].rows)
        try:
            engine.execute(statement)
        except MySQLError as error:
            defects.append(f"the gold statement fails: {error}")
        after = table_hash(engine.rows(tables[0].name)) if tables[0].name in engine.catalog.tables else ""
        if after != md5:
            defects.append("the gold statement does not give the stored hash")
        if md5 == before:
            defects.append("the stored hash is that of the untouched table")
    engine.close()
    return tuple(defects)
