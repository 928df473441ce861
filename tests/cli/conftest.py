"""The small world these tests play in."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def counter_id() -> str:
    """Id of the counter world, which the test suite registers for itself."""
    return "cmat-test/Counter-v0"
