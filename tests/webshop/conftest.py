"""The recordings of the original shop, for tests that need them (`CMAT_GYM_DATA` names their folder)."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """The path of a file of the recordings; a test that asks for a missing one is skipped."""

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
    """The content of a JSON or JSON Lines file of the recordings, unpacked."""

    def read(name: str) -> Any:
        data = data_file(name).read_bytes()
        text = (lzma.decompress(data) if name.endswith(".xz") else data).decode()
        return [json.loads(line) for line in text.splitlines()] if ".jsonl" in name else json.loads(text)

    return read
