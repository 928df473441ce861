"""What the database tests share: an engine, and real MariaDB servers where the machine has one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import quote

import gymnasium as gym
import pytest

from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.engine import Engine
from cmat_gym.envs.db.mariadb import PrivateServer, is_installed
from tests.db.samples import BOATS, CREW, ON_MARIADB, PASSWORD, USER, Reachable

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


@pytest.fixture(scope="session")
def reachable() -> Iterator[Reachable]:
    """A MariaDB that is reached as any server is: over TCP, with user and password."""
    if not is_installed():
        pytest.skip(NO_MARIADB)
    driver = pytest.importorskip("pymysql")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = PrivateServer(port)
    with driver.connect(unix_socket=server.socket, user="root") as root, root.cursor() as cursor:
        cursor.execute("CREATE USER %s@'127.0.0.1' IDENTIFIED BY %s", (USER, PASSWORD))
        cursor.execute("GRANT ALL ON *.* TO %s@'127.0.0.1' WITH GRANT OPTION", (USER,))
        cursor.execute("CREATE USER 'guest'@'127.0.0.1' IDENTIFIED BY 'guest'")
    yield Reachable(f"mysql://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}", port)
    server.stop()


@pytest.fixture(scope="session")
def mysql(reachable: Reachable) -> Iterator[Backend]:
    """A database on that server."""
    backend = open_backend(reachable.dsn)
    yield backend
    backend.close()


@pytest.fixture(params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Backend:
    """A real server, by its socket and by a DSN over TCP."""
    made: Backend = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=["embedded", "mariadb", "mysql"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn, with two small tables."""
    made: Backend = open_backend() if request.param == "embedded" else request.getfixturevalue(request.param)
    made.load("db", [BOATS, CREW])
    return made
