"""The committed pages say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

from cmat_gym.core.registry import WORLDS

DOCS = Path(__file__).parents[2] / "docs"
HEADINGS = ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End", "Arguments",
            "Example Episode", "Source", "Differences from the Source")  # fmt: skip


def test_committed_pages_are_up_to_date() -> None:
    make = runpy.run_path(str(DOCS / "make.py"))
    assert len(make["pages"]()) == len(WORLDS) + 1
    assert make["stale"]() == [], "run python docs/make.py"


def test_every_world_has_every_heading_in_order() -> None:
    for page in (DOCS / "worlds").glob("*.md"):
        found = [line[3:] for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
        assert [heading for heading in found if heading in HEADINGS] == list(HEADINGS), page.name
