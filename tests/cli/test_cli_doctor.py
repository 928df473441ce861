"""`cmat-gym doctor`: what it finds is so, what it misses it names, and it imports nothing heavy for it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmat_gym.cli import checks
from cmat_gym.cli.main import main
from cmat_gym.core.registry import WORLDS

PROGRAM = """
import sys
from cmat_gym.cli.main import main
code = main(["doctor", "--json", *sys.argv[1:]])
heavy = {"torch", "transformers", "trl", "peft", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def doctor(*parts: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and checks by name, of a process of its own that finds no programs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *parts],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "", "DOCKER_HOST": "unix:///nowhere", "CMAT_GYM_CHROMIUM": "", **environment},
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_what_is_missing_is_named_with_the_way_to_it_and_only_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    code, found = doctor(CMAT_GYM_CACHE=str(tmp_path))
    assert [name for name in found if name.startswith("cmat/")] == [world.id for world in WORLDS]
    works = all(found[world.id]["ok"] for world in WORLDS)  # the shell's world needs what this machine may not allow
    assert code == (0 if works else 1)
    assert all(check["ok"] for check in found.values() if check["kind"] == "machine" and check["needed"])
    assert not found["Mind2Web/chromium"]["ok"]
    assert "Chromium" in found["Mind2Web/chromium"]["detail"] or "playwright" in found["Mind2Web/chromium"]["detail"]
    assert not found["OS/docker"]["ok"]
    assert found["tiny"]["ok"]


def test_a_part_that_was_asked_for_and_is_missing_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [checks.Check("backend", "OS/docker", False, "no daemon"), checks.Check("model", "tiny", True, "there")]
    monkeypatch.setattr("cmat_gym.cli.doctor.all_checks", lambda: iter(shown))
    assert main(["doctor"]) == 0
    assert main(["doctor", "tiny"]) == 0
    assert main(["doctor", "tiny", "os/DOCKER"]) == 1
    assert "  x OS/docker" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_is_a_failure() -> None:
    code, found = doctor(CMAT_GYM_CACHE="/dev/null/cache")
    assert code == 1
    assert found["cache"]["remedy"].startswith("set CMAT_GYM_CACHE")


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmat_gym.cli.doctor.all_checks", lambda: iter([checks.Check("extra", "train", True, "there")]))
    assert main(["doctor", "trian"]) == 2
    assert "Did you mean 'train'" in capsys.readouterr().err
    assert main(["doctor", "train"]) == 0
    assert "+ train" in capsys.readouterr().out


def test_extras_are_compared_with_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ['pytest>=1; extra == "good"', 'pytest>=999; extra == "old"', 'no-such-thing; extra == "gone"', "rich>=13"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    found = {check.name: check for check in checks.extras()}
    assert {name: found[name].ok for name in ("train", "sb3")} == {"train": True, "sb3": True}, "needing nothing"
    monkeypatch.setattr(
        importlib.metadata,
        "metadata",
        lambda name: type("M", (), {"get_all": lambda self, key: ["good", "old", "gone", "all"]})(),
    )
    found = {check.name: check for check in checks.extras()}
    assert {name: check.ok for name, check in found.items()} == {"good": True, "old": False, "gone": False}
    assert found["good"].detail == f"pytest {importlib.metadata.version('pytest')}"
    assert ">=999" in found["old"].detail
    assert found["gone"].detail == "no-such-thing is missing"
    assert found["gone"].remedy == "pip install 'cmat-gym[gone]'"


@pytest.mark.parametrize(
    ("torch", "cards", "ok", "words"),
    [
        (None, [], False, "run on the CPU"),
        ("2.13.0+cpu", ["H100, 80 GB, 550"], False, "CPU build"),
        ("2.13.0", ["H100, 80 GB, 550"], True, "H100"),
        (None, ["H100, 80 GB, 550"], True, "torch is not installed"),
    ],
)
def test_a_gpu_is_judged_with_the_torch_that_is_installed(
    torch: str | None, cards: list[str], ok: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_version", lambda package: torch)
    monkeypatch.setattr(checks, "_nvidia", lambda: cards)
    assert checks.gpu().ok == ok
    assert words in checks.gpu().detail


def test_the_text_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [
        checks.Check("machine", "cache", False, "read-only", "set CMAT_GYM_CACHE", needed=True),
        checks.Check("extra", "vllm", False, "vllm is missing", "pip install 'cmat-gym[vllm]'"),
    ]
    monkeypatch.setattr("cmat_gym.cli.doctor.all_checks", lambda: iter(shown))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "  x cache" in out
    assert "  - vllm" in out
    assert "pip install 'cmat-gym[vllm]'" in out
    assert "Missing: cache" in out
