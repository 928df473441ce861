"""The same tasks at a real SPARQL server over the same graph: equal listings, equal observations, equal answers."""

from __future__ import annotations

import http.server
import pickle
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from kg_servers import Service

from cmat_gym.core.conformance import play_expert
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.envs.kg.backend import GraphBackend, open_backend
from cmat_gym.envs.kg.env import KGEnv
from cmat_gym.envs.kg.generator import BuiltinKGTasks
from cmat_gym.envs.kg.ontology import Ontology
from cmat_gym.envs.kg.programs import Program, entity, parse_program
from cmat_gym.envs.kg.sparql import SparqlBackend
from cmat_gym.envs.kg.store import Graph
from cmat_gym.envs.kg.tools import Variable

KG = "cmat/KG-v0"
TASKS = 15  # of each split; benchmarks/kg.py compares whole panels


def ask(service: Service, like: GraphBackend) -> SparqlBackend:
    """The backend that asks a server, with another one's vocabulary."""
    return SparqlBackend(service.endpoint, like.ontology, default_graph=service.default_graph)


@pytest.fixture(scope="module")
def service(serve: Callable[[Graph], Service], backend: GraphBackend) -> Service:
    """A server with the shipped graph."""
    return serve(backend.graph)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_same_tasks_have_the_same_answers(service: Service, backend: GraphBackend, split: str) -> None:
    """Of every part of every program: what it stands for, and what is listed of it."""
    server = ask(service, backend)
    tasks = BuiltinKGTasks(backend)
    compared = 0
    for index in range(TASKS):
        question = tasks.question(split, index)
        assert server.answer(question.program) == frozenset(question.answer) == backend.answer(question.program)
        for part in question.program.walk():
            if not part.is_number and backend.size(part) <= 100:
                assert server.answer(part) == backend.answer(part), part
                assert server.relations(part) == backend.relations(part), part
                assert server.attributes(part) == backend.attributes(part), part
                compared += 1
    assert compared > 2 * TASKS


def test_an_episode_reads_the_same(service: Service) -> None:
    """The expert's episodes, observation by observation, in both protocols."""
    for protocol in ("text", "tools"):
        here = gym.make(KG, split="test", protocol=protocol, memory=None)
        there = gym.make(KG, split="test", protocol=protocol, memory=None, **service._asdict())
        assert isinstance(there.unwrapped, KGEnv)
        assert isinstance(there.unwrapped.graph, SparqlBackend)
        for index in range(10):
            assert here.reset(seed=0, options={"task": index}) == there.reset(seed=0, options={"task": index})
            ours, theirs = play_expert(here), play_expert(there)
            assert ours == theirs
            assert theirs[-1].info["score"] == 1.0


PROGRAMS = [
    "m.ada",
    "location.town",
    "(JOIN (R people.person.siblings) m.ben)",
    "(JOIN (R people.person.siblings) (JOIN (R people.person.siblings) m.ada))",  # ada herself is left out
    "(JOIN location.town.river m.ouse)",
    "(JOIN people.person.places_lived (JOIN location.town.river m.ouse))",
    "(JOIN (R people.person.works..people.job.town) m.ada)",
    "(AND (JOIN (R people.person.places_lived) m.ada) (JOIN (R people.person.places_lived) m.ben))",
    "(OR (JOIN (R people.person.places_lived) m.ada) (JOIN (R people.person.places_lived) m.ben))",
    "(AND location.town (JOIN (R people.person.places_lived) m.cy))",
    "(COUNT (JOIN (R people.person.places_lived) m.ada))",
    "(COUNT (JOIN (R people.person.siblings) (JOIN (R people.person.siblings) m.ada)))",
    "(COUNT (JOIN (R no.such.relation) m.ada))",
    "(COUNT (COUNT (JOIN (R people.person.places_lived) m.ada)))",
    "(AND (COUNT (JOIN (R people.person.places_lived) m.ada)) (COUNT (JOIN (R people.person.places_lived) m.ben)))",
    "(AND (COUNT (JOIN (R people.person.places_lived) m.ada)) (COUNT (JOIN (R people.person.places_lived) m.cy)))",
    "(ARGMAX (JOIN (R people.person.places_lived) m.ben) location.town.population)",  # a tie: the smaller id
    "(ARGMIN (JOIN (R people.person.places_lived) m.ben) location.town.population)",
    "(ARGMIN (JOIN (R people.person.places_lived) m.ada) location.town.area)",  # one member has no area
    "(ARGMAX location.town location.town.population)",
    "(ARGMAX location.town (JOIN location.town.river geography.river.length))",
    "(JOIN (R location.town.river) (ARGMIN location.town location.town.population))",
    "(AND (ARGMAX location.town location.town.population) (JOIN (R people.person.places_lived) m.ben))",
    "(ARGMAX (JOIN (R people.person.places_lived) m.ada) geography.river.length)",
    "m.nobody",
]


@pytest.fixture(scope="module")
def both(serve: Callable[[Graph], Service], towns: GraphBackend) -> tuple[GraphBackend, SparqlBackend]:
    """The towns in memory and at a server."""
    return towns, ask(serve(towns.graph), towns)


@pytest.mark.parametrize("text", PROGRAMS)
def test_every_operation_means_the_same(both: tuple[GraphBackend, SparqlBackend], text: str) -> None:
    here, there = both
    program = parse_program(text)
    assert there.answer(program) == here.answer(program)
    if not program.is_number:
        assert there.relations(program) == here.relations(program)
        assert there.attributes(program) == here.attributes(program)


def test_odd_names_reach_the_server_as_they_are(serve: Callable[[Graph], Service], tmp_path: Path) -> None:
    """Names that no address may hold, and ones that would end a query early."""
    path = tmp_path / "odd.tsv"
    path.write_text('a "b"> ?x\trel (of) ünïcode\tc\\d } UNION {\n<e>\tgeo.x/y\tf%20g\n')
    here = open_backend(path)
    there = ask(serve(here.graph), here)
    starts = [entity(here.graph.id(number)) for number in range(len(here.graph))]
    for start in starts:
        assert there.relations(start) == here.relations(start)
        for relation in here.relations(start):
            program = Program("", "FORWARD", (start,), relation)
            assert there.answer(program) == here.answer(program) != frozenset()


# When the server fails -----------------------------------------------------------------------------------------------


class _Faulty(http.server.BaseHTTPRequestHandler):
    """Answers the first query well; after that as `faults` say, the last one for ever."""

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.sent.append(urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        fault = server.faults[min(server.asked, len(server.faults) - 1)]
        server.asked += 1
        if fault == "slow":
            time.sleep(1.0)
        status, body = {"ok": (200, b'{"head": {}, "results": {"bindings": []}}'), "junk": (200, b"<html>")}.get(
            fault, (int(fault) if fault.isdigit() else 200, b"no luck")
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    faults: tuple[str, ...] = ("ok",)
    asked = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sent: list[dict[str, list[str]]] = []


@contextmanager
def faulty(*faults: str) -> Iterator[tuple[str, _Server]]:
    with _Server(("127.0.0.1", 0), _Faulty) as server:
        server.faults = faults
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/sparql", server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("fault", ["500", "503", "junk", "slow"])
def test_a_passing_fault_is_tried_again(fault: str) -> None:
    with faulty("ok", fault, "ok") as (address, server):
        backend = SparqlBackend(address, Ontology(), timeout=0.5, retries=1)
        assert backend.relations(entity("m.a")) == ()
        assert server.asked == 3


@pytest.mark.parametrize(("fault", "asked"), [("500", 3), ("400", 2), ("slow", 3), ("junk", 3)])
def test_a_lasting_fault_is_an_error_that_names_the_server(fault: str, asked: int) -> None:
    """What the server will refuse again (400) is not sent again."""
    with faulty("ok", fault) as (address, server):
        backend = SparqlBackend(address, Ontology(), timeout=0.3, retries=1)
        with pytest.raises(BackendError, match=address):
            backend.answer(entity("m.a"))
        assert server.asked == asked


def test_a_server_that_is_not_there_is_named_at_once() -> None:
    with pytest.raises(BackendError, match=r"http://127.0.0.1:9/sparql.*Is the server running"):
        gym.make(KG, backend="sparql", endpoint="http://127.0.0.1:9/sparql", retries=0)


def test_a_failing_query_is_an_observation_and_is_counted() -> None:
    """The agent may try again; the question it cannot answer is not lost, and other episodes go on."""
    with faulty("ok", "500", "500") as (address, server):
        env = gym.make(KG, memory=None, endpoint=address, retries=0)
        env.reset(seed=0)
        world = base_env(env)
        assert isinstance(world, KGEnv)
        name = next(iter(world.task.payload["entities"]))
        observation, reward, terminated, truncated, info = env.step(f"get_relations({name})")
        assert "get_relations: the graph did not answer" in observation
        assert (reward, terminated, truncated, info["valid_action"], world.failures) == (0.0, False, False, False, 1)
        server.faults = ("ok",)
        assert env.step(f"get_relations({name})")[4]["valid_action"]


@pytest.mark.parametrize("dialect", ["cmat", "agentbench"])
def test_an_answer_that_cannot_be_computed_may_be_given_again(dialect: str) -> None:
    with faulty("ok") as (address, server):
        env = gym.make(KG, memory=None, endpoint=address, retries=0, dialect=dialect)
        _, info = env.reset(seed=0)
        world = base_env(env)
        assert isinstance(world, KGEnv)
        variable = Variable("geo.city", parse_program("(JOIN geo.country.capital_inv m.x)"))
        world.session = world.session._replace(variables=(variable,))
        server.faults = ("500",)
        observation, reward, terminated, _, info = env.step("Final Answer: #0")
        assert "the graph did not answer" in observation
        assert (reward, terminated, info["valid_action"], world.failures) == (0.0, False, False, 1)
        server.faults = ("ok",)
        assert env.step("Final Answer: #0")[2]


def test_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="endpoint='http"):
        gym.make(KG, backend="sparql")
    with pytest.raises(UsageError, match="is for backend='sparql'"):
        gym.make(KG, backend="embedded", endpoint="http://localhost/sparql")
    with pytest.raises(UsageError, match="ftp://nowhere"):
        gym.make(KG, endpoint="ftp://nowhere")
    with pytest.raises(UsageError, match="timeout must be above 0"):
        gym.make(KG, endpoint="http://localhost/sparql", timeout=0)


def test_what_virtuoso_needs_is_sent() -> None:
    """The graph to ask and the time it may take, with every query."""
    with faulty("ok") as (address, server):
        env = gym.make(KG, endpoint=address, default_graph="http://freebase.com", timeout=12, memory=None)
        env.reset(seed=0)
        env.step(base_env(env).expert_action())
        assert len(server.sent) >= 2
        for fields in server.sent:
            assert (fields["default-graph-uri"], fields["timeout"]) == (["http://freebase.com"], ["12000"])


def test_a_pickle_carries_the_settings() -> None:
    with faulty("ok") as (address, _):
        backend = SparqlBackend(address, Ontology(), timeout=3, default_graph="http://freebase.com")
        copy = pickle.loads(pickle.dumps(backend))
        assert (copy.endpoint, copy.timeout, copy.default_graph) == (address, 3, "http://freebase.com")
        assert copy.answer(entity("m.a")) == frozenset()
