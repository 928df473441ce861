"""What several test files of the knowledge graph share: small graphs, the real data, and a real SPARQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmat_gym.envs.kg.backend import GraphBackend, open_backend
from cmat_gym.envs.kg.files import write_triples
from cmat_gym.envs.kg.store import Graph


@pytest.fixture(scope="session")
def backend() -> GraphBackend:
    """The shipped graph."""
    return open_backend()


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Graph], str]]:
    """Loads a graph into an Oxigraph server of its own and gives the address of its SPARQL service."""
    program = shutil.which("oxigraph", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("the server 'oxigraph' is not installed: pip install 'cmat-gym[sparql]'")
    servers: list[subprocess.Popen[bytes]] = []

    def start(graph: Graph) -> str:
        folder = tmp_path_factory.mktemp("oxigraph")
        write_triples(graph, folder / "graph.nt")
        store = str(folder / "store")
        load = [program, "load", "--location", store, "--file", str(folder / "graph.nt")]
        subprocess.run(load, check=True, capture_output=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [program, "serve-read-only", "--location", store, "--bind", f"127.0.0.1:{port}"]
        servers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        _wait(f"http://127.0.0.1:{port}/query?query=ASK%20%7B%7D", servers[-1])
        return f"http://127.0.0.1:{port}/query"

    yield start
    for server in servers:
        server.terminate()
        server.wait(timeout=20)


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


TOWNS = """
/m/ada\t/people/person/places_lived\t/m/tern
/m/ada\t/people/person/places_lived\t/m/wren
/m/ben\t/people/person/places_lived\t/m/wren
/m/ben\t/people/person/places_lived\t/m/lark
/m/ada\t/people/person/siblings\t/m/ben
/m/ben\t/people/person/siblings\t/m/ada
/m/ben\t/people/person/siblings\t/m/cy
/m/cy\t/people/person/siblings\t/m/ben
/m/cy\t/people/person/places_lived\t/m/tern
/m/tern\t/location/town/river\t/m/ouse
/m/wren\t/location/town/river\t/m/ouse
/m/lark\t/location/town/river\t/m/cam
/m/tern\t/location/town/twin\t/m/wren
/m/tern\t/location/town/population\t900
/m/wren\t/location/town/population\t1200
/m/lark\t/location/town/population\t1200
/m/tern\t/location/town/area\t7.5
/m/ada\t/people/person/works./people/job/town\t/m/lark
/m/ouse\t/geography/river/length\t77
/m/cam\t/geography/river/length\t64
"""


@pytest.fixture(scope="session")
def towns_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of triples small enough to answer by hand."""
    path = tmp_path_factory.mktemp("towns") / "towns.tsv"
    path.write_text(TOWNS.strip())
    return path


@pytest.fixture(scope="session")
def towns(towns_path: Path) -> GraphBackend:
    """The graph in that file."""
    return open_backend(towns_path)
