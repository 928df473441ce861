"""The counter world under a local id, and runs on it."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import pytest

COUNTER = "local/Counter-v0"


@pytest.fixture(scope="session", autouse=True)
def counter_id() -> Iterator[str]:
    gym.register(COUNTER, "cmat_gym.core.registry:make_world", kwargs={"world": "cmat_gym.core.testing:CounterEnv"})
    yield COUNTER
    del gym.registry[COUNTER]
