"""Recorded tasks as sources: the user's own copy of Mind2Web, or walks of ours.

Files of the benchmark are large (hundreds of megabytes) and stay where they are: an index of byte offsets is made once
per file and kept in the cache folder; a task is read when it is played. Nothing of their content is written anywhere.

Source: github.com/OSU-NLP-Group/Mind2Web; its test splits come in an archive that must not be redistributed.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cmat_gym.core.cache import cache_folder
from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.mind2web.export import record_walk
from cmat_gym.envs.mind2web.generator import BuiltinWebTasks
from cmat_gym.envs.mind2web.recorded import Record, Scores, read_record
from cmat_gym.envs.mind2web.static import rounds_needed

__all__ = ["BuiltinRecordTasks", "OfficialRecordTasks", "index_file", "read_scores"]

SPLITS = ("train", "test_task", "test_website", "test_domain")
UNITS = ("task", "step")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


class Span(NamedTuple):
    """Where a task stands in a file, and how many steps it has."""

    file: str
    start: int
    end: int
    steps: int


class RecordTasks(TaskSource):
    """What the sources of recorded tasks share.

    Args:
        interface: Decides how many turns a task takes.
        unit: `task` (all steps of a record) or `step` (each step by itself, as AgentBench counts).
    """

    domain = "mind2web"
    official = False

    def __init__(self, interface: str, unit: str) -> None:
        self.interface = interface
        self.unit = unit

    def record(self, payload: Mapping[str, Any]) -> Record:
        """The record a payload names."""
        raise NotImplementedError

    def _turns(self, record: Record, step: int | None) -> int:
        steps = record.steps if step is None else record.steps[step : step + 1]
        if self.interface != "tournament":
            return len(steps)
        return max(1, sum(rounds_needed(len(one.pool)) for one in steps))


class BuiltinRecordTasks(RecordTasks):
    """Walks of the expert on generated sites; the splits are those of the live tasks."""

    def __init__(self, seed: int, interface: str) -> None:
        super().__init__(interface, "task")
        self.live = BuiltinWebTasks(seed)
        self.name = f"{self.live.name}-walks-{interface}"
        self._records = lru_cache(maxsize=256)(self._walk)  # some 40 kB each

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arguments."""
        return BuiltinRecordTasks, (self.live.seed, self.interface)

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return self.live.sizes()

    def make(self, split: str, index: int) -> Task:
        """The walk of the live task at `index` of `split`."""
        live = self.live.make(split, index)
        payload = {"live": dict(live.payload), "instruction": live.instruction, "interface": self.interface}
        turns = self._turns(self.record(payload), None)
        return Task(self.task_id(split, index), self.domain, split, self.name, live.instruction, payload, turns)

    def record(self, payload: Mapping[str, Any]) -> Record:
        """The walk, made anew."""
        if "live" not in payload:
            raise TaskError("This task is no recorded walk: make the environment with the mode the task comes from")
        return self._records(json.dumps([payload["live"], payload["instruction"]], sort_keys=True))

    def _walk(self, key: str) -> Record:
        live, instruction = json.loads(key)
        return read_record(record_walk(live, instruction, content_hash(key)[:12]))


class OfficialRecordTasks(RecordTasks):
    """Mind2Web's own files: a folder with `train/`, `test_task/`, `test_website/`, `test_domain/`, or one JSON file.

    Raises:
        TaskError: The folder holds no such file, or one is damaged.
    """

    official = True

    def __init__(self, place: Path, interface: str, unit: str, scores: Path | None = None) -> None:
        super().__init__(interface, unit)
        self.place = place
        self.scores_path = scores
        self._spans = {
            split: tuple(span for file in files for span in index_file(file)) for split, files in _find(place).items()
        }
        self._steps = {
            split: [(n, step) for n, span in enumerate(spans) for step in range(span.steps)]
            for split, spans in self._spans.items()
        }
        self._scores = None if scores is None else read_scores(scores)
        # Results with other ranks are not comparable, so the name tells them apart.
        ranks = "own-ranks" if scores is None else f"ranks-{hashlib.sha256(scores.read_bytes()).hexdigest()[:8]}"
        self.name = f"mind2web-{unit}-{interface}-{ranks}"
        self._records = lru_cache(maxsize=4)(self._read)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arguments."""
        return OfficialRecordTasks, (self.place, self.interface, self.unit, self.scores_path)

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks, or of steps, by split."""
        table: Mapping[str, Any] = self._spans if self.unit == "task" else self._steps
        return {split: len(rows) for split, rows in table.items()}

    def make(self, split: str, index: int) -> Task:
        """The task, or the step, at `index`; its payload names the place and carries a digest of the content."""
        number, step = (index, None) if self.unit == "task" else self._steps[split][index]
        record, digest = self._records(self._spans[split][number])
        payload = {
            "split": split,
            "number": number,
            "step": step,
            "annotation_id": record.id,
            "sha256": digest,
            "interface": self.interface,
        }
        turns = self._turns(record, step)
        return Task(self.task_id(split, index), self.domain, split, self.name, record.task, payload, turns)

    def record(self, payload: Mapping[str, Any]) -> Record:
        """The record at the place a payload names, checked against its digest."""
        spans, number = self._spans.get(payload.get("split", ""), ()), payload.get("number", 0)
        if number < len(spans):
            record, digest = self._records(spans[number])
            if digest == payload.get("sha256"):
                return record
        name = payload.get("annotation_id", "?")
        raise TaskError(f"{self.place} does not hold task {name!r} as it was: use the same files")

    def _read(self, span: Span) -> tuple[Record, str]:
        with Path(span.file).open("rb") as file:
            file.seek(span.start)
            data = file.read(span.end - span.start)
        return read_record(json.loads(data), self._scores), hashlib.sha256(data).hexdigest()


def _find(place: Path) -> dict[str, list[Path]]:
    """The files of each split."""
    if place.is_file():
        return {"test": [place]}
    for folder in (place, place / "data"):
        found = {split: sorted((folder / split).glob("*.json")) for split in SPLITS}
        found = {split: files for split, files in found.items() if files}
        if found:
            return found
    raise TaskError(
        f"{place} holds no Mind2Web tasks: expected a JSON file, or folders {', '.join(SPLITS)} with JSON files in them"
    )


def index_file(path: Path) -> list[Span]:
    """Where each task stands in a file that holds a JSON list of tasks.

    The index (offsets only) is kept in the cache folder under the file's path, size and time of change.
    """
    path = path.resolve()
    status = path.stat()
    key = content_hash([str(path), status.st_size, status.st_mtime_ns])[:24]
    cached = cache_folder() / f"mind2web-index1-{key}.json"
    if cached.exists():
        return [Span(str(path), *row) for row in json.loads(cached.read_text(encoding="utf-8"))]
    rows = _scan(path)
    draft = cached.with_suffix(f".{os.getpid()}")  # moved into place whole, so that nobody reads half an index
    draft.write_text(json.dumps(rows), encoding="utf-8")
    draft.replace(cached)
    return [Span(str(path), *row) for row in rows]


def _scan(path: Path) -> list[tuple[int, int, int]]:
    """Start, end and number of steps of each object in a JSON list, without reading the file into memory."""
    rows: list[tuple[int, int, int]] = []
    depth, start, steps, in_actions = 0, 0, 0, False
    last_text = b""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for match in _TOKEN.finditer(data):
                token = match[0]
                if token[:1] == b'"':
                    last_text = token
                elif token in (b"[", b"{"):
                    depth += 1
                    if depth == 2:
                        start, steps = match.start(), 0
                    elif depth == 3:
                        in_actions = last_text == b'"actions"'
                    elif depth == 4 and in_actions:
                        steps += 1
                else:
                    depth -= 1
                    if depth == 1:
                        rows.append((start, match.end(), steps))
    except (OSError, ValueError) as error:
        raise TaskError(f"{path} cannot be read: {error}") from error
    if depth or not rows:
        raise TaskError(f"{path} is no complete JSON list of tasks; fetch the file again")
    return rows


def read_scores(path: Path) -> Scores:
    """The ranker's scores, as JSON: `{"scores": {sample: {candidate: score}}}`, or only the inner part.

    Raises:
        TaskError: It is a pickle (loading one runs whatever code it holds), or no such table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"The candidate scores {path} cannot be read: {error}") from error
    if path.suffix in (".pkl", ".pickle") or data[:1] == b"\x80":
        raise TaskError(
            f"{path} is a pickle, and loading a pickle runs the code in it. Convert it once, where you trust it: "
            "python -c \"import json, pickle; json.dump(pickle.load(open('s.pkl', 'rb')), open('s.json', 'w'))\""
        )
    try:
        content = json.loads(data)
        table = content.get("scores", content)
        return {sample: {str(name): float(score) for name, score in scores.items()} for sample, scores in table.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise TaskError(f"{path} is no table of candidate scores: {error}") from error
