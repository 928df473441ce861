"""Sandboxes for the tests: each backend that this machine allows; the others are skipped with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cmat_gym.core.errors import BackendError
from cmat_gym.envs.os.backend import BACKENDS, Limits, Machines, Sandbox, open_machines

# Small limits: an attack that gets through must not take the machine of the tests with it.
SMALL = Limits(memory=96 << 20, processes=30, disk=24 << 20, inodes=2000, file_size=16 << 20, cpu_seconds=10,
               open_files=128, command_seconds=2.0, output_bytes=1 << 18)  # fmt: skip


def machines_or_skip(name: str) -> Machines:
    """The backend, or a skipped test; a variable turns the skips of CI's own backends into failures."""
    if name == "podman" and "podman" not in os.environ.get("CMAT_GYM_TEST_BACKENDS", ""):
        pytest.skip("backend podman: does not pass all tests yet; CMAT_GYM_TEST_BACKENDS=podman tries it")
    try:
        return open_machines(name)
    except (BackendError, ImportError) as error:
        if name in os.environ.get("CMAT_GYM_TEST_BACKENDS", "").split(","):
            raise
        pytest.skip(f"backend {name}: {str(error).splitlines()[0]}")


@pytest.fixture(params=BACKENDS)
def machines(request: pytest.FixtureRequest) -> Machines:
    """Each backend in turn."""
    return machines_or_skip(request.param)


@pytest.fixture
def sandbox(machines: Machines) -> Iterator[Sandbox]:
    """A machine with small limits, of each backend in turn."""
    found = machines.start(SMALL)
    yield found
    found.close()


@pytest.fixture
def cage() -> Iterator[Sandbox]:
    """A machine of the namespace backend, for what is the same on all of them."""
    found = machines_or_skip("namespace").start(SMALL)
    yield found
    found.close()
