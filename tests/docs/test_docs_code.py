"""Every code block of README, CONTRIBUTING and docs/ is executed, but for those that are listed here with the reason.

A page is a program: its Python blocks share one namespace, and bash blocks stand between them in one folder. A Python
block that begins with `# NAME.py` is saved under that name instead. Of a bash block that is not executed every
`cmat-gym` line is still parsed, so that no option in it can be wrong.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cmat_gym.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

NOT_RUN = {  # page and the beginning of the block's first line -> why
    "README.md: python3 -m venv .venv && .venv/bin/pip install -e '.[train]'": "installs, and trains for minutes",
    "README.md: python3 -m venv .venv && .venv/bin/pip install -e '.[dev": ".ci/run executes it, this test included",
    "CONTRIBUTING.md: python3 -m venv": "installs; .ci/run executes these checks",
    "docs/guides/first-training.md: python3 -m venv": "installs",
    "docs/guides/first-training.md: cmat-gym doctor": "its exit code depends on the machine",
    "docs/guides/first-training.md: cmat-gym train": "trains for minutes; tests/cli/test_cli_train.py trains",
    "docs/guides/first-training.md: cmat-gym eval WebShop --policy tiny": "needs the run above",
    "docs/guides/official-data.md: cmat-gym data get os": "needs the network",
    "docs/guides/official-data.md: cmat-gym data get alfworld": "needs a copy of the file",
    "docs/guides/gpu-and-cluster.md: cmat-gym doctor": "its exit code depends on the machine",
    "docs/guides/gpu-and-cluster.md: cmat-gym train": "trains for hours",
    "docs/guides/gpu-and-cluster.md: export": "trains for minutes",
    "docs/guides/reproducing-the-paper.md: cmat-gym eval OS": "needs the official data and a model",
    "docs/tiny.md: pretrain=": "trains for hours",
    "docs/evaluation.md: pip install": "needs a key, or a server",
    "docs/provenance/kg.md: pip install": "installs",
    "docs/results/mind2web.md: python benchmarks": "measures for minutes",
}
TEXT = {"", "sql"}  # what an agent reads or says, quoted in a page


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    code: str

    @property
    def key(self) -> str:
        """Page and first line."""
        return f"{self.page.relative_to(ROOT)}: {self.code.partition(chr(10))[0]}"

    @property
    def runs(self) -> bool:
        """Whether it is code that is executed."""
        return self.language not in TEXT and not any(self.key.startswith(beginning) for beginning in NOT_RUN)


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, indented ones included."""
    fence = re.compile(r"^ *(`{3,})(\w*)\n(.*?)^ *\1$", re.DOTALL | re.MULTILINE)
    for match in fence.finditer(page.read_text(encoding="utf-8")):
        yield Block(page, match[2], textwrap.dedent(match[3]))


ALL = [block for page in PAGES for block in blocks(page)]
EXECUTED = [
    page for page in PAGES if any(b.page == page and b.language not in TEXT and b.key not in NOT_RUN for b in ALL)
]


def program(page: Path) -> str:
    """A page's blocks as one Python program, in the page's order."""
    parts = ["import subprocess"]
    for block in ALL:
        if block.page != page or not block.runs:
            continue
        named = re.match(r"# ([\w/]+\.py)\n", block.code)
        if block.language == "python" and named:
            parts.append(f"open({named[1]!r}, 'w').write({block.code!r})")
        elif block.language == "python":
            parts.append(block.code)
        else:
            parts.append(f"subprocess.run(['bash', '-euo', 'pipefail', '-c', {block.code!r}], check=True)")
    return "\n".join(parts)


def test_blocks_are_python_bash_or_quoted_text_and_every_exception_is_in_use() -> None:
    assert {block.language for block in ALL} <= {"python", "bash", *TEXT}
    for beginning in NOT_RUN:
        assert sum(block.key.startswith(beginning) for block in ALL) == 1, f"{beginning!r} is no exception of one block"
    assert len({block.key for block in ALL if block.language == "python"}) > 8, "the blocks were not found"


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "CMAT_GYM_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


NOT_EXECUTED = [block for block in ALL if block.language == "bash" and not block.runs]


@pytest.mark.parametrize("block", NOT_EXECUTED, ids=lambda block: block.key)
def test_commands_that_are_not_executed_can_be_parsed(block: Block) -> None:
    for line in block.code.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|\||\|", line.partition(" # ")[0]):
            words = shlex.split(command)
            if words and Path(words[0]).name == "cmat-gym":
                words = [word for word in words[1:] if word != "$options"]
                build_parser().parse_args(words)
