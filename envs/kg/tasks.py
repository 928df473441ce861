"""Opens a world of questions: where they come from, and the graph that they are about.

`generator.py` makes the builtin questions, `official.py` reads AgentBench's; `backend.py` answers from memory,
`sparql.py` from a server.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cmat_gym.core.errors import UsageError, choose
from cmat_gym.core.task import TaskSource
from cmat_gym.envs.kg.backend import KGBackend, open_backend
from cmat_gym.envs.kg.generator import BuiltinKGTasks
from cmat_gym.envs.kg.official import open_official
from cmat_gym.envs.kg.sparql import SparqlBackend

__all__ = ["KGWorld", "open_tasks", "open_world"]

BACKENDS = ("embedded", "sparql")


class KGWorld(NamedTuple):
    """A source of questions and the graph they are about."""

    tasks: TaskSource
    backend: KGBackend


def open_tasks(source: str | Path = "builtin", graph: str | Path | None = None, seed: int = 0) -> TaskSource:
    """Questions alone, without anything to answer them with.

    Args:
        source: `builtin`, or a file or folder with AgentBench's questions.
        graph: The graph that builtin questions are about; None is the shipped one.
        seed: Of the builtin questions.

    Raises:
        TaskError: There are no questions, or no graph, at the path.
    """
    if source != "builtin":
        return open_official(Path(source).expanduser().resolve())
    return BuiltinKGTasks(open_backend(None if graph is None else Path(graph)), seed, shipped=graph is None)


def open_world(
    source: str | Path = "builtin",
    graph: str | Path | None = None,
    backend: str | None = None,
    endpoint: str | None = None,
    default_graph: str | None = None,
    timeout: float = 30.0,
    retries: int = 2,
    seed: int = 0,
) -> KGWorld:
    """Questions, and what answers the tools.

    Args:
        source: `builtin`, or a file or folder with AgentBench's questions.
        graph: A file or folder with another graph.
        backend: `embedded` or `sparql`; None is `sparql` where an endpoint is given.
        endpoint: Address of a SPARQL service.
        default_graph: Which of the service's graphs to ask, where it holds several.
        timeout: Seconds a query may take.
        retries: How often a failed query is sent again.
        seed: Of the builtin questions.

    Raises:
        TaskError: There are no questions, or no graph, at the path.
        UsageError: An endpoint without its backend, or the other way round; or the graph of the questions is missing.
        BackendError: The endpoint does not answer.
    """
    kind = choose("backend", backend or ("sparql" if endpoint else "embedded"), BACKENDS)
    if (kind == "sparql") != (endpoint is not None):
        raise UsageError(
            "backend='sparql' needs endpoint='http://…/sparql', the address of a SPARQL service"
            if kind == "sparql"
            else f"endpoint={endpoint!r} is for backend='sparql', got backend={backend!r}"
        )
    tasks = open_tasks(source, graph, seed)
    if endpoint is not None:
        ontology = tasks.ontology if source != "builtin" else open_backend(_path(graph)).ontology  # type: ignore[attr-defined]
        server = SparqlBackend(endpoint, ontology, default_graph=default_graph, timeout=timeout, retries=retries)
        return KGWorld(tasks, server)
    if source != "builtin" and graph is None:
        raise UsageError(
            f"The questions in {source} are about Freebase, which is not here. Give its SPARQL service "
            "(backend='sparql', endpoint='http://…/sparql') or a file of its triples (graph=…); "
            "cmat_gym.envs.kg.tasks.open_tasks reads the questions alone"
        )
    return KGWorld(tasks, open_backend(_path(graph)))


def _path(graph: str | Path | None) -> Path | None:
    return None if graph is None else Path(graph)
