"""AgentBench's task files: what a record means, and the splits of a checkout.

Source: github.com/THUDM/AgentBench, data/os_interaction (Apache-2.0). Nothing of it is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource
from cmat_gym.envs.os.checkers import find_checker

__all__ = ["COUNTS", "OFFICIAL_TURNS", "OSTasks", "read_record"]

OFFICIAL_TURNS = 8
COUNTS = {"dev": 26, "test": 144, "train": 1000}
ROOT = Path("data/os_interaction")


class OSTasks(TaskSource):
    """Tasks of AgentBench, by split.

    Args:
        splits: Split -> payloads, in the official order.
    """

    domain = "os"
    name = "agentbench"
    official = True

    def __init__(self, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._splits = {name: tuple(payloads) for name, payloads in splits.items()}

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return {name: len(payloads) for name, payloads in self._splits.items()}

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`."""
        payload = self._splits[split][index]
        description = payload["description"]
        rest = {key: value for key, value in payload.items() if key != "description"}
        return Task(self.task_id(split, index), self.domain, split, self.name, description, rest, OFFICIAL_TURNS)

    @classmethod
    def from_checkout(cls, folder: str | Path, *, check_counts: bool = True) -> OSTasks:
        """The splits of a checkout of AgentBench, as far as they are there; scripts are read in.

        Raises:
            TaskError: There is none, a file is damaged, or a split has not the published number of tasks.
        """
        base = Path(folder)
        base = base / ROOT if (base / ROOT).is_dir() else base
        splits: dict[str, list[dict[str, Any]]] = {}
        scripts = base / "scripts"
        if (base / "data" / "dev.json").is_file():
            splits["dev"] = _read(base / "data" / "dev.json", scripts / "dev", "dev-001")
        test: list[dict[str, Any]] = []
        for number in range(1, 8):
            for path in sorted((base / "data" / str(number)).glob("*.json")):
                if not path.stem.endswith("backup"):
                    test += _read(path, scripts / str(number), f"std-{number:03}-{path.stem}")
        if test:
            splits["test"] = test
        training = base / "train_0317" / "training.json"
        if training.is_file():
            splits["train"] = _read(training, scripts / "7", "train-001")
        if not splits:
            raise TaskError(f"{folder} holds no shell tasks: expected a checkout of AgentBench with {ROOT}/data")
        for name, tasks in splits.items():
            if check_counts and len(tasks) != COUNTS[name]:
                raise TaskError(f"Split {name!r} in {base} has {len(tasks)} tasks, AgentBench has {COUNTS[name]}")
        return cls(splits)

    @classmethod
    def from_source(cls, source: str | Path) -> OSTasks:
        """A checkout, a folder with `dev.json` and `training.json` side by side, or one file (its split is `dev`).

        Raises:
            TaskError: It cannot be read.
        """
        path = Path(source).expanduser()
        if path.is_file():
            return cls({"dev": _read(path, path.parent / "scripts", path.stem)})
        flat = {"dev": path / "dev.json", "train": path / "training.json"}
        found = {name: file for name, file in flat.items() if file.is_file()}
        if found:
            return cls({name: _read(file, path / "scripts", f"{name}-001") for name, file in found.items()})
        return cls.from_checkout(path)


def _read(path: Path, scripts: Path, prefix: str) -> list[dict[str, Any]]:
    """All records of a file: a JSON list, one JSON object, or one object a line."""
    try:
        text = path.read_text(encoding="utf-8")
        try:
            data = json.loads(text)
        except ValueError:
            data = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise TaskError(f"{path} cannot be read as shell tasks: {error}") from None
    records = data if isinstance(data, list) else [data]
    return [read_record(record, scripts, f"{prefix}-{index:05}") for index, record in enumerate(records)]


def read_record(record: Any, scripts: Path, index: str) -> dict[str, Any]:
    """A record with all its variants of spelling as one payload.

    Raises:
        TaskError: A field that is needed is missing, or a script is in a language nobody knows.
    """
    try:
        create = record.get("create")
        create = create if isinstance(create, dict) else {}  # null, [], and one list that belongs elsewhere
        evaluation = record["evaluation"]
        payload: dict[str, Any] = {
            "index": index,
            "description": record["description"],
            "image": create.get("local", "default"),
            "init": [_script(script, scripts) for script in _listed(create.get("init"))],
            "start": record.get("start") or "",
        }
        example = evaluation.get("example")
        payload["example"] = _script(example, scripts) if example is not None else None
        if "match" in evaluation:
            payload["match"] = _match(evaluation["match"])
        else:
            checks = _listed(evaluation["check"], keep_none=True)
            payload["checks"] = [None if check is None else _check(check, scripts) for check in checks]
            if None in payload["checks"] and example is None:
                raise TaskError(f"Task {index} checks by its example, but has none")
    except (AttributeError, KeyError, TypeError) as error:
        raise TaskError(f"Task {index} is no shell task: {type(error).__name__} {error}") from None
    return payload


def _listed(value: Any, *, keep_none: bool = False) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None and not keep_none else [value]


def _match(match: Any) -> dict[str, Any]:
    if isinstance(match, str):
        return {"answer": match, "strip": True}
    if "answer" in match:
        return {"answer": match["answer"], "strip": bool(match.get("strip", True))}
    return {"regex": match["regex"], "strip": bool(match.get("strip", True))}


def _script(script: Any, scripts: Path) -> dict[str, str]:
    """A script as language and code."""
    if isinstance(script, str):
        return {"language": "bash", "code": script}
    language = script.get("language", "bash")
    if language not in ("bash", "python"):
        raise TaskError(f"A script in {language!r} cannot be run; known are bash and python")
    if "file" not in script:
        return {"language": language, "code": script["code"]}
    path = scripts / script["file"]
    if not scripts.is_dir():  # task files without their scripts: the others can still be played
        return {"language": language, "code": "", "missing": script["file"]}
    try:
        return {"language": language, "code": path.read_text(encoding="utf-8")}
    except OSError as error:
        raise TaskError(f"The script {path} cannot be read: {error}") from None


def _check(check: Any, scripts: Path) -> dict[str, str]:
    """A standard checker by name, or a script."""
    if isinstance(check, dict) and "file" in check and find_checker(check["file"]):
        return {"standard": Path(check["file"]).stem}
    return _script(check, scripts)
