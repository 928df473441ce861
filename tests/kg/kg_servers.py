"""Real SPARQL servers on loopback, each started for the tests and ended after them."""

from __future__ import annotations

import abc
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from cmat_gym.envs.kg.files import write_triples
from cmat_gym.envs.kg.store import Graph

LOADING = 300  # seconds that loading a graph may take on a busy machine


class Service(NamedTuple):
    """Where a graph can be asked: the keywords that `gym.make` and `SparqlBackend` take."""

    endpoint: str
    default_graph: str | None = None


class SparqlServer(abc.ABC):
    """A server, or several of one kind, with the graphs that were added; `close` ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    @abc.abstractmethod
    def add(self, graph: Graph) -> Service:
        """Load a graph and say where it can be asked."""

    def close(self) -> None:
        """End what runs."""
        for server in self._running:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def _start(self, command: list[str], endpoint: str) -> None:
        server = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._running.append(server)
        for _ in range(600):
            assert server.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"{endpoint}?query=ASK%20%7B%7D", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")


class OxigraphServer(SparqlServer):
    """Oxigraph, of the package `oxigraph`: one server for each graph."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self._program = _find("oxigraph", path, "pip install 'cmat-gym[sparql]'")

    def add(self, graph: Graph) -> Service:
        """Load a graph into a server of its own."""
        number = len(self._running)
        triples, store = self.folder / f"{number}.nt", str(self.folder / f"{number}.store")
        write_triples(graph, triples)
        load = [self._program, "load", "--location", store, "--file", str(triples)]
        subprocess.run(load, check=True, capture_output=True, timeout=LOADING)
        port = _free_port()
        endpoint = f"http://127.0.0.1:{port}/query"
        self._start([self._program, "serve-read-only", "--location", store, "--bind", f"127.0.0.1:{port}"], endpoint)
        return Service(endpoint)


class VirtuosoServer(SparqlServer):
    """OpenLink Virtuoso, which AgentBench asks: one server, and a named graph for each graph."""

    SETTINGS = """
        [Database]
        DatabaseFile = virtuoso.db
        ErrorLogFile = virtuoso.log
        LockFile = virtuoso.lck
        TransactionFile = virtuoso.trx
        xa_persistent_file = virtuoso.pxa
        [TempDatabase]
        DatabaseFile = temporary.db
        TransactionFile = temporary.trx
        [Parameters]
        ServerPort = 127.0.0.1:{sql}
        NumberOfBuffers = 20000
        DirsAllowed = .
        [HTTPServer]
        ServerPort = 127.0.0.1:{http}
        ServerRoot = .
        ServerThreads = 5
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = _find("virtuoso-t", None, "apt install virtuoso-opensource-7-bin")
        self._graphs = 0
        self._sql = f"127.0.0.1:{_free_port()}"
        http = _free_port()
        self._endpoint = f"http://127.0.0.1:{http}/sparql"
        lines = self.SETTINGS.format(sql=self._sql.partition(":")[2], http=http).strip().splitlines()
        (folder / "virtuoso.ini").write_text("\n".join(line.strip() for line in lines) + "\n")
        self._start([self._program, "-c", "virtuoso.ini", "-f"], self._endpoint)

    def add(self, graph: Graph) -> Service:
        """Load a graph under a name of its own."""
        self._graphs += 1
        name = f"http://graph.test/{self._graphs}"
        write_triples(graph, self.folder / "graph.nt")
        # log_enable(2, 1): no transaction log, each row by itself. 255: take every address as it is written.
        load = f"log_enable(2, 1); DB.DBA.TTLP(file_to_string_output('graph.nt'), '', '{name}', 255);"
        command = ["isql-vt", self._sql, "dba", "dba", "ERRORS=STDOUT", f"exec={load}"]
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=LOADING, check=False)
        assert run.returncode == 0, run.stdout
        assert "***" not in run.stdout, run.stdout
        return Service(self._endpoint, name)


SERVERS: dict[str, type[SparqlServer]] = {"oxigraph": OxigraphServer, "virtuoso": VirtuosoServer}


def _find(program: str, path: str | None, remedy: str) -> str:
    found = shutil.which(program, path=path)
    if found is None:
        pytest.skip(f"the server {program!r} is not installed: {remedy}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
