"""Houses to test in, and the recordings of the original engine (`CMAT_GYM_DATA` names their folder)."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alfworld_kitchen import CLEAN_APPLE, KITCHEN

from cmat_gym.envs.alfworld.backend import ALFWorldBackend, open_game
from cmat_gym.envs.alfworld.official import OfficialHouseTasks
from cmat_gym.envs.alfworld.records import DIALECTS


@pytest.fixture
def kitchen() -> ALFWorldBackend:
    """The test kitchen, in the current grammar; the goal is a clean apple in the fridge."""
    return open_game(KITCHEN.replace("{goal}", CLEAN_APPLE), DIALECTS["move"])


@pytest.fixture
def old_kitchen() -> ALFWorldBackend:
    """The same in AgentBench's own grammar."""
    return open_game(KITCHEN.replace("{goal}", CLEAN_APPLE), DIALECTS["put"])


@pytest.fixture(scope="session")
def recordings(data_file: Callable[[str], Path]) -> list[dict[str, Any]]:
    """The recorded episodes of the original engine."""
    text = lzma.decompress(data_file("golden/alfworld.jsonl.xz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def archive(data_file: Callable[[str], Path]) -> Path:
    """The packed published games."""
    return data_file("alfworld/games_seen_train.tar.xz")


@pytest.fixture(scope="session")
def published(archive: Path) -> OfficialHouseTasks:
    """The published games, opened."""
    return OfficialHouseTasks(archive)
