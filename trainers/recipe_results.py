"""What a finished run shows: the table, the learning curve and the report."""

from __future__ import annotations

from collections.abc import Sequence

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.curve import Curve, Point, Series, curve_png
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.report import write_report
from cmat_gym.evaluation.tables import markdown_table
from cmat_gym.trainers.run_folder import ACTOR_CRITIC, RunFolder, StageResult

__all__ = ["final_evaluations", "learning_curve", "write_results"]


def final_evaluations(stages: Sequence[StageResult]) -> list[Evaluation]:
    """The final figures, stage by stage.

    Raises:
        UsageError: A stage has not been on the test panel yet.
    """
    evaluations = [stage.test for stage in stages if stage.test is not None]
    if len(evaluations) < len(stages):
        raise UsageError("The run is not finished: not every stage has played the test panel")
    return evaluations


def learning_curve(folder: RunFolder, stages: Sequence[StageResult]) -> Curve | None:
    """Score over the iterations of the actor-critic, with the earlier stages as levels; None without iterations."""
    rows = folder.history(ACTOR_CRITIC)
    dev = [
        Point(row.step, row.metrics["dev/score"], row.metrics["dev/score_low"], row.metrics["dev/score_high"])
        for row in rows
        if "dev/score" in row.metrics
    ]
    rollouts = [Point(row.step, row.metrics["rollout/score"]) for row in rows if "rollout/score" in row.metrics]
    series = [Series("dev panel", dev), Series("rollouts (sampled)", rollouts)]
    levels = {f"{stage.name} (dev)": stage.dev.score.estimate for stage in stages if stage.name != ACTOR_CRITIC}
    drawn = [line for line in series if line.points]
    return Curve("iteration", "score", drawn, levels) if drawn else None


def write_results(folder: RunFolder, stages: Sequence[StageResult]) -> None:
    """Write results.md, curve.png and report.html."""
    evaluations, curve = final_evaluations(stages), learning_curve(folder, stages)
    (folder.path / "results.md").write_text(markdown_table(evaluations), encoding="utf-8")
    title = f"{folder.config.env_id}: {folder.config.model}"
    if curve is not None:
        curve_png(curve, folder.path / "curve.png", title)
    write_report(folder.path / "report.html", evaluations, title=title, curve=curve, settings=folder.config.to_json())
