"""What several test files of the knowledge graph share: small graphs, the real data, and a real SPARQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kg_servers import SERVERS, Service

from cmat_gym.envs.kg.backend import GraphBackend, open_backend
from cmat_gym.envs.kg.store import Graph


@pytest.fixture(scope="session")
def backend() -> GraphBackend:
    """The shipped graph."""
    return open_backend()


@pytest.fixture(scope="session", params=["oxigraph", pytest.param("virtuoso", marks=pytest.mark.slow)])
def serve(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Graph], Service]]:
    """Loads a graph into a real SPARQL server and says where it can be asked."""
    server = SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    yield server.add
    server.close()


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
