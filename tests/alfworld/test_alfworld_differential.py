"""A small sample of the comparison with the original engine, where it is installed.

Installing it compiles a planner for minutes, so CI goes without, and the whole comparison is a script:
benchmarks/alfworld_differential.py plays 200 games.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "alfworld_differential.py"
MISSING = [name for name in ("textworld", "fast_downward", "alfworld") if importlib.util.find_spec(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"the original engine is not installed: {', '.join(MISSING)} missing")
def test_a_few_games_in_both_engines() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--games", "2", "--steps", "12", "--start", "7000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differ" in done.stdout
