"""Registers the test world under an id of its own, next to the worlds of the package."""

from __future__ import annotations

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
