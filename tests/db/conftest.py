"""What the database tests share: the official files, and a private MariaDB where the machine has one."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import pytest

from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.engine import Engine
from cmat_gym.envs.db.mariadb import is_installed
from tests.db.samples import BOATS, CREW, ON_MARIADB

pytest.register_assert_rewrite("cmat_gym.core.conformance")

NO_MARIADB = "MariaDB's server is not installed (apt install mariadb-server)"

gym.register(
    id=ON_MARIADB,
    entry_point="cmat_gym.core.registry:make_world",
    vector_entry_point="cmat_gym.core.registry:make_vector_world",
    kwargs={"world": "cmat_gym.envs.db.env:DBEnv", "backend": "mariadb"},
)


@pytest.fixture
def engine() -> Engine:
    """The embedded engine with two small tables."""
    engine = Engine()
    engine.load("db", [BOATS, CREW])
    return engine


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Backend]:
    """A database on a private MariaDB, which the whole session shares."""
    if not is_installed():
        pytest.skip(NO_MARIADB)
    pytest.importorskip("pymysql")
    backend = open_backend("mariadb")
    yield backend
    backend.close()


@pytest.fixture(params=["embedded", "mariadb"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn, with two small tables."""
    made: Backend = open_backend() if request.param == "embedded" else request.getfixturevalue("mariadb")
    made.load("db", [BOATS, CREW])
    return made
