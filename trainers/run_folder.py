"""The folder of a training run: everything needed to look at it, to check it, and to go on with it.

config.json              the settings
stages/NAME.json         a finished stage: its evaluations on the dev and the test panel
episodes/NAME-PANEL.jsonl  their episodes
adapters/NAME/           the stage's adapters
checkpoint/              where the running stage goes on after an interruption
history.jsonl            metrics, step by step
results.md, curve.png, report.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.trajectory import read_trajectories, write_trajectories
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.trainers.recipe_config import CmatConfig

__all__ = ["ACTOR_CRITIC", "BASE", "SFT", "Row", "RunFolder", "StageResult"]

BASE, SFT, ACTOR_CRITIC = "base", "sft", "actor-critic"
PANELS = ("dev", "test")


@dataclass(frozen=True)
class StageResult:
    """A finished stage.

    Attributes:
        name: `base`, `sft` or `actor-critic`.
        seconds: Wall time of its training.
        dev: Its evaluation on the dev panel.
        test: Its evaluation on the test panel; None until all stages are finished.
    """

    name: str
    seconds: float
    dev: Evaluation
    test: Evaluation | None = None


class Row(NamedTuple):
    """Metrics of one step of a stage."""

    step: int
    metrics: Mapping[str, float]


class RunFolder:
    """Reads and writes the files of a run; `create` or `open` one."""

    def __init__(self, path: str | Path, config: CmatConfig) -> None:
        self.path = Path(path)
        self.config = config

    @classmethod
    def create(cls, path: str | Path, config: CmatConfig) -> RunFolder:
        """Begin a run in a new folder, or in one whose run never got anywhere.

        Raises:
            UsageError: The folder holds something.
        """
        path = Path(path)
        if any(file.is_file() and file != path / "config.json" for file in path.rglob("*")):
            raise UsageError(f"{path} is not empty; go on with it by --resume {path}, or choose another --out")
        for name in ("stages", "episodes", "adapters"):
            (path / name).mkdir(parents=True, exist_ok=True)
        _write_json(path / "config.json", config.to_json())
        return cls(path, config)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run.

        Raises:
            UsageError: There is none.
        """
        file = Path(path) / "config.json"
        if not file.is_file():
            raise UsageError(f"{path} holds no training run: there is no {file}")
        return cls(path, CmatConfig.from_json(json.loads(file.read_text(encoding="utf-8"))))

    def adapter(self, stage: str) -> Path:
        """Folder of a stage's adapters."""
        return self.path / "adapters" / stage

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted stage goes on."""
        return self.path / "checkpoint"

    # Stages ---------------------------------------------------------------------------------------------------------

    def save_stage(self, result: StageResult) -> None:
        """Write a stage and the episodes of its evaluations."""
        record: dict[str, object] = {"name": result.name, "seconds": result.seconds}
        for panel in PANELS:
            evaluation: Evaluation | None = getattr(result, panel)
            record[panel] = None if evaluation is None else evaluation.to_json()
            if evaluation is not None:
                write_trajectories(self._episodes(result.name, panel), evaluation.trajectories)
        _write_json(self.path / "stages" / f"{result.name}.json", record)

    def load_stage(self, name: str) -> StageResult | None:
        """A finished stage with its episodes; None if it is not finished.

        Raises:
            TaskError: Its file is damaged.
        """
        file = self.path / "stages" / f"{name}.json"
        if not file.is_file():
            return None
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            test = None if record["test"] is None else self._read_evaluation(name, "test", record["test"])
            return StageResult(
                record["name"], record["seconds"], self._read_evaluation(name, "dev", record["dev"]), test
            )
        except (ValueError, KeyError, OSError) as error:
            raise TaskError(f"{file} or its episodes are damaged: {error}") from error

    def save_best(self, stage: str, dev: Evaluation) -> None:
        """Note the best look of a running stage at the dev panel; its adapters are the ones in the stage's folder."""
        write_trajectories(self._episodes(stage, "dev"), dev.trajectories)
        _write_json(self.path / "stages" / f"{stage}.best", dev.to_json())

    def load_best(self, stage: str) -> Evaluation | None:
        """The best look of a running stage so far."""
        file = self.path / "stages" / f"{stage}.best"
        if not file.is_file():
            return None
        return self._read_evaluation(stage, "dev", json.loads(file.read_text(encoding="utf-8")))

    def _read_evaluation(self, stage: str, panel: str, data: Mapping[str, Any]) -> Evaluation:
        return Evaluation.from_json(data, list(read_trajectories(self._episodes(stage, panel))))

    # Metrics --------------------------------------------------------------------------------------------------------

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of a step."""
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "step": step, **metrics}) + "\n")

    def history(self, stage: str) -> list[Row]:
        """Metrics of a stage in order of the steps; a step that was run again after an interruption counts once."""
        rows: dict[int, dict[str, float]] = {}
        file = self.path / "history.jsonl"
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
            record = json.loads(line)
            if record.pop("stage") == stage:
                rows.setdefault(record.pop("step"), {}).update(record)
        return [Row(step, rows[step]) for step in sorted(rows)]

    def _episodes(self, stage: str, panel: str) -> Path:
        return self.path / "episodes" / f"{stage}-{panel}.jsonl"


def _write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all, so that an interruption leaves no half of it."""
    draft = path.with_name(path.name + ".draft")
    draft.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
