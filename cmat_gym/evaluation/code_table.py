"""Table 1: code correction, by how near the text comes to the reference and by whether it works.

The published table gives BLEU-4 and ROUGE of data that nobody has, so its rows never share a table with ours. Overlap
is a poor measure: a broken function differs from the right one in a few letters. So the row of the broken functions,
handed in unchanged, stands beside every other one, and the figure that counts is how many functions pass their tests.

    cmat-gym eval CodeCorrection --policy tiny --out runs/tiny
    python -m cmat_gym.evaluation.code_table runs/tiny        # needs: pip install 'cmat-gym[metrics]'
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import CmatError, TaskError, UsageError, require
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory, read_trajectories
from cmat_gym.envs.code_correction.env import submitted_code
from cmat_gym.envs.code_correction.scorer import same_tree, without_docstring
from cmat_gym.evaluation.statistics import Interval, bootstrap_mean, wilson

__all__ = ["PUBLISHED", "CodeRow", "Overlap", "PublishedRow", "Submitted", "code_row", "markdown", "overlap",
           "unchanged_row"]  # fmt: skip

ENV_ID = "cmat/CodeCorrection-v0"
RESAMPLES = 1000
HEADINGS = ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L")


class PublishedRow(NamedTuple):
    """A row of the paper's Table 1."""

    model: str
    bleu4: float
    rouge1: float
    rouge2: float
    rouge_l: float


PUBLISHED = (  # as on the slides; data, prompts and settings were never published
    PublishedRow("codellama-7b", 25.01, 45.91, 29.83, 26.24),
    PublishedRow("codellama-13b", 26.96, 45.31, 29.54, 25.91),
    PublishedRow("tinyllama-1.8b", 43.38, 59.86, 37.81, 42.86),
)


class Overlap(NamedTuple):
    """How near texts come to their references, 0 to 100, with 95 % intervals (bootstrap over tasks)."""

    bleu4: Interval
    rouge1: Interval
    rouge2: Interval
    rouge_l: Interval


class Submitted(NamedTuple):
    """What was handed in for a task in the end."""

    code: str
    task: Task
    success: bool


@dataclass(frozen=True)
class CodeRow:
    """One policy in Table 1.

    Attributes:
        name: Who acted.
        source: The tasks: source and split.
        tasks: How many.
        passed: Share of the functions with tests that pass all of them (Wilson's interval); None without such tasks.
        success: Share of all tasks that succeeded: with tests by them, else by the syntax tree.
        exact: Share of all tasks whose text has the syntax tree of the original.
        overlap: Of the whole texts.
        bare: Of the texts without their docstrings, which are long and never broken.
        signature: What sacrebleu says of its settings, and the versions of both libraries.
    """

    name: str
    source: str
    tasks: int
    passed: Interval | None
    success: Interval
    exact: Interval
    overlap: Overlap
    bare: Overlap
    signature: str


def code_row(trajectories: Sequence[Trajectory], name: str = "") -> CodeRow:
    """The row of one policy, from its episodes on a panel (`evaluate(…).trajectories`, or a file of episodes).

    Raises:
        UsageError: No episodes, or episodes of another world or of several sources.
        TaskError: Tasks that this Python does not have.
        MissingExtraError: The metrics are not installed.
    """
    submitted = [
        Submitted(
            submitted_code(episode.turns[-1].action, episode.protocol.partition("-")[0]) if episode.turns else "",
            task,
            episode.success,
        )
        for episode, task in zip(trajectories, _tasks(trajectories), strict=True)
    ]
    return _row(name or trajectories[0].policy, _source(trajectories), submitted)


def unchanged_row(trajectories: Sequence[Trajectory]) -> CodeRow:
    """The row of the broken functions themselves, on the same tasks: what a policy that copies would get.

    None of them succeeds: a task is made only of a text on which a test fails, or whose syntax tree is another one.
    """
    submitted = [Submitted(task.payload["broken"], task, False) for task in _tasks(trajectories)]
    return _row("(broken, unchanged)", _source(trajectories), submitted)


def _row(name: str, source: str, submitted: Sequence[Submitted]) -> CodeRow:
    pairs = [(item.code, str(item.task.payload["reference"])) for item in submitted]
    tested = [item.success for item in submitted if item.task.payload["tests"]]
    names = [item.task.payload["qualname"].rpartition(".")[2] for item in submitted]
    exact = [same_tree(*pair, name) for pair, name in zip(pairs, names, strict=True)]
    return CodeRow(
        name=name,
        source=source,
        tasks=len(submitted),
        passed=wilson(sum(tested), len(tested)) if tested else None,
        success=wilson(sum(item.success for item in submitted), len(submitted)),
        exact=wilson(sum(exact), len(exact)),
        overlap=overlap(pairs),
        bare=overlap([(without_docstring(code), without_docstring(reference)) for code, reference in pairs]),
        signature=_signature(),
    )


def _source(trajectories: Sequence[Trajectory]) -> str:
    """Source and split of all episodes.

    Raises:
        UsageError: None, or more than one.
    """
    worlds = {episode.env_id for episode in trajectories}
    sources = {episode.task_id.rpartition("/")[0] for episode in trajectories}
    if worlds != {ENV_ID} or len(sources) != 1:
        found = ", ".join(sorted(worlds | sources)) or "none"
        raise UsageError(f"A row of Table 1 needs episodes of {ENV_ID} from one split of one source, got: {found}")
    return sources.pop()


def _tasks(trajectories: Sequence[Trajectory]) -> list[Task]:
    _source(trajectories)
    kwargs: Mapping[str, Any] = trajectories[0].env_kwargs
    env = gym.make(ENV_ID, **{key: kwargs[key] for key in ("names", "task_seed") if key in kwargs})
    try:
        return [base_env(env).tasks.find(episode.task_id) for episode in trajectories]
    finally:
        env.close()


# The measures ---------------------------------------------------------------------------------------------------------


def overlap(pairs: Iterable[tuple[str, str]]) -> Overlap:
    """BLEU-4 of a corpus (sacrebleu: `13a`, default smoothing) and mean ROUGE F-measures (rouge-score: no stemming).

    Args:
        pairs: Text and reference; both are compared without common indentation and trailing white space.

    Raises:
        UsageError: No texts.
        MissingExtraError: The libraries are not installed.
    """
    texts = [(_normal(text), _normal(reference)) for text, reference in pairs]
    if not texts:
        raise UsageError("Overlap needs at least one pair of texts")
    scorer = require("rouge_score.rouge_scorer", "metrics")
    rouge = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    scores = [rouge.score(reference, text) for text, reference in texts]
    means = [
        bootstrap_mean([100 * score[kind].fmeasure for score in scores]) for kind in ("rouge1", "rouge2", "rougeL")
    ]
    return Overlap(_bleu(texts), *means)


def _bleu(texts: Sequence[tuple[str, str]]) -> Interval:
    """Corpus BLEU, and its interval by drawing tasks again: from each text's own counts, which add up."""
    metrics = require("sacrebleu.metrics", "metrics")
    single = metrics.BLEU(effective_order=True)
    parts = [single.sentence_score(text, [reference]) for text, reference in texts]
    counts = np.array([[*part.counts, *part.totals, part.sys_len, part.ref_len] for part in parts])

    def score(sums: Sequence[int]) -> float:
        return float(metrics.BLEU.compute_bleu(sums[:4], sums[4:8], sums[8], sums[9], smooth_method="exp").score)

    generator = np.random.default_rng(0)
    drawn = [counts[generator.integers(0, len(counts), len(counts))].sum(axis=0).tolist() for _ in range(RESAMPLES)]
    low, high = np.quantile([score(sums) for sums in drawn], [0.025, 0.975])
    return Interval(score(counts.sum(axis=0).tolist()), float(low), float(high))


def _normal(text: str) -> str:
    return textwrap.dedent(text).rstrip()


def _signature() -> str:
    from importlib.metadata import version

    bleu = require("sacrebleu.metrics", "metrics").BLEU()
    bleu.corpus_score(["a"], [["a"]])  # the signature is not complete before the first use
    return f"sacrebleu {bleu.get_signature()}; rouge-score {version('rouge-score')}, no stemming"


# Printing -------------------------------------------------------------------------------------------------------------


def markdown(rows: Sequence[CodeRow]) -> str:
    """The published table, and below it, apart, ours: whole texts, then texts without docstrings.

    Raises:
        UsageError: No rows, or rows of different sources.
    """
    sources = {row.source for row in rows}
    if len(sources) != 1:
        raise UsageError(f"Rows of one table are about the same tasks, got: {', '.join(sorted(sources)) or 'no rows'}")
    published = [[row.model, *(f"{value:.2f}" for value in row[1:])] for row in PUBLISHED]
    ours = [[row.name, *_cells(row.overlap), *map(_percent, (row.passed, row.success, row.exact))] for row in rows]
    bare = [[row.name, *_cells(row.bare)] for row in rows]
    return "\n\n".join(
        [
            "Published (CMAT, Table 1; its data are not known, so nothing below can be compared with it)",
            _lines(["Model", *HEADINGS], published),
            f"Ours: {rows[0].source}, {rows[0].tasks} tasks",
            _lines(["", *HEADINGS, "Pass", "Success", "Exact"], ours),
            "Without docstrings",
            _lines(["", *HEADINGS], bare),
            "Brackets: 95 % intervals (bootstrap over tasks; Wilson for shares). Pass: functions with tests only. "
            "Exact: the syntax tree of the original.\n"
            f"{rows[0].signature}",
        ]
    )


def _cells(found: Overlap) -> list[str]:
    return [f"{value.estimate:.2f} [{value.low:.2f}, {value.high:.2f}]" for value in found]


def _percent(value: Interval | None) -> str:
    return "–" if value is None else f"{100 * value.estimate:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print Table 1 for recorded runs."""
    parser = argparse.ArgumentParser(prog="python -m cmat_gym.evaluation.code_table", description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of `cmat-gym eval --out`, or files of episodes")
    args = parser.parse_args(arguments)
    try:
        runs = [list(read_trajectories(file)) for path in args.runs for file in _episode_files(path)]
        print(markdown([*(code_row(episodes) for episodes in runs), unchanged_row(runs[0])]))
    except CmatError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _episode_files(path: Path) -> list[Path]:
    """The files of episodes at a path.

    Raises:
        TaskError: There are none.
    """
    files = sorted(path.glob("episodes*.jsonl")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise TaskError(f"{path} holds no episodes; `cmat-gym eval CodeCorrection --out {path}` writes them")
    return files


if __name__ == "__main__":
    raise SystemExit(main())
