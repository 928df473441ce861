"""Table 1: overlap by the field's libraries against hand-worked numbers, and rows from real episodes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")

from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.core.trajectory import Trajectory, write_trajectories
from cmat_gym.envs.code_correction.backend import open_sandbox
from cmat_gym.evaluation.code_table import PUBLISHED, code_row, main, markdown, overlap, unchanged_row
from cmat_gym.evaluation.evaluate import Evaluation, evaluate
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy


@pytest.fixture(scope="module")
def runs() -> list[Evaluation]:
    try:
        open_sandbox()
    except BackendError as error:
        pytest.skip(str(error))
    policies = {"expert": ExpertPolicy, "random": lambda envs: RandomPolicy(0)}
    kwargs = {"split": "dev", "num_envs": 2}
    return [
        evaluate(policy, "CodeCorrection", 24, name=name, **kwargs)  # type: ignore[arg-type]
        for name, policy in policies.items()
    ]


def test_overlap_by_hand() -> None:
    """`a b c d e` against `a b c d f`: 4/5, 3/4, 2/3, 1/2 n-grams are shared, the lengths are equal."""
    found = overlap([("  a b c d e  \n", "a b c d f\n")] * 3)
    assert found.bleu4.estimate == pytest.approx(100 * math.exp(sum(map(math.log, (4 / 5, 3 / 4, 2 / 3, 1 / 2))) / 4))
    assert found.rouge1.estimate == pytest.approx(80.0)
    assert found.rouge2.estimate == pytest.approx(75.0)
    assert found.rouge_l.estimate == pytest.approx(80.0)
    assert found.bleu4.low == pytest.approx(found.bleu4.high), "three equal tasks have no spread"


def test_bleu_is_sacrebleus_own_of_the_whole_corpus() -> None:
    from sacrebleu.metrics import BLEU

    pairs = [("def f(x): return x + 1", "def f(x): return x - 1"), ("a b", "a b c d e"), ("", "x y z w"), ("q", "q")]
    own = BLEU().corpus_score([text for text, _ in pairs], [[reference for _, reference in pairs]]).score
    found = overlap(pairs).bleu4
    assert found.estimate == pytest.approx(own)
    assert found.low < found.estimate < found.high


def test_rows_of_real_episodes(runs: list[Evaluation]) -> None:
    expert, random = (code_row(run.trajectories, run.name) for run in runs)
    unchanged = unchanged_row(runs[0].trajectories)
    assert (expert.name, expert.tasks) == ("expert", 24)
    assert expert.passed is not None
    assert expert.passed.estimate == expert.success.estimate == 1.0
    assert expert.exact.estimate == 1.0
    assert unchanged.exact.estimate == 0.0
    assert all(value.estimate == pytest.approx(100.0) for value in (*expert.overlap, *expert.bare))
    assert unchanged.success.estimate == 0.0
    assert 80 < unchanged.overlap.bleu4.estimate < 100, "a broken function is nearly the right one"
    assert random.overlap.bleu4.estimate < unchanged.overlap.bleu4.estimate
    assert "tok:13a|smooth:exp" in expert.signature
    assert "rouge-score" in expert.signature


def test_our_figures_and_the_published_ones_never_share_a_table(runs: list[Evaluation]) -> None:
    text = markdown([code_row(run.trajectories, run.name) for run in runs])
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    for row in PUBLISHED:
        assert row.model in tables[0]
        assert not any(row.model in table for table in tables[1:])
    assert "expert" not in tables[0]
    assert "| tinyllama-1.8b | 43.38 | 59.86 | 37.81 | 42.86 |" in tables[0]


def test_printing_from_files(runs: list[Evaluation], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trajectories(tmp_path / "episodes-1.jsonl", runs[0].trajectories)
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "| expert | 100.00 [100.00, 100.00] |" in shown
    assert "| (broken, unchanged) |" in shown
    assert main([str(tmp_path / "missing")]) == 2
    assert "missing holds no episodes" in capsys.readouterr().err


def test_what_cannot_be_a_row(runs: list[Evaluation]) -> None:
    with pytest.raises(UsageError, match="none"):
        code_row([])
    with pytest.raises(UsageError, match="WebShop"):
        code_row([Trajectory("cmat/WebShop-v0", {}, "webshop/builtin-v0/dev/000000", "text-v1", "")])
    with pytest.raises(UsageError, match="no rows"):
        markdown([])
    with pytest.raises(UsageError, match="one pair"):
        overlap([])
