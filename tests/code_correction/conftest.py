"""Code correction needs its sandbox: where that cannot be built, its tests are skipped with the reason."""

from __future__ import annotations

import os

import pytest

from cmat_gym.core.errors import BackendError
from cmat_gym.envs.code_correction.backend import open_sandbox


@pytest.fixture(autouse=True, scope="session")
def _sandbox() -> None:
    try:
        open_sandbox()
    except BackendError as error:
        if "namespace" in os.environ.get("CMAT_GYM_TEST_BACKENDS", "").split(","):
            raise
        pytest.skip(str(error))
