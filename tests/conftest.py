"""The test world under an id of its own next to the package's; real data and a browser, where they are at hand."""

from __future__ import annotations

import importlib.util
import json
import lzma
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pytest.register_assert_rewrite("cmat_gym.core.conformance")

import cmat_gym  # noqa: E402, F401 - registers the worlds

COUNTER_ID = "cmat-test/Counter-v0"

gym.register(
    id=COUNTER_ID,
    entry_point="cmat_gym.core.registry:make_world",
    vector_entry_point="cmat_gym.core.registry:make_vector_world",
    kwargs={"world": "cmat_gym.core.testing:CounterEnv"},
)


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """The path of a file of real benchmark data (in `CMAT_GYM_DATA`); a test that asks for a missing one is skipped."""

    def find(name: str) -> Path:
        folder = os.environ.get("CMAT_GYM_DATA")
        if not folder:
            pytest.skip(f"CMAT_GYM_DATA is not set, so {name} is not there")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"{path} is missing")
        return path

    return find


@pytest.fixture(scope="session")
def read_data(data_file: Callable[[str], Path]) -> Callable[[str], Any]:
    """The content of a JSON or JSON Lines file of the real data, unpacked."""

    def read(name: str) -> Any:
        data = data_file(name).read_bytes()
        text = (lzma.decompress(data) if name.endswith(".xz") else data).decode()
        return [json.loads(line) for line in text.splitlines()] if ".jsonl" in name else json.loads(text)

    return read


@pytest.fixture(scope="session")
def browser() -> str:
    """The system's Chromium; tests that need it are skipped where it or Playwright is missing."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: pip install 'cmat-gym[browser]'")
    found = os.environ.get("CMAT_GYM_CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    return found


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works, here and in processes begun here, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
