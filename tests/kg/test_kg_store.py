"""The triple store against a naive one, the formats it reads, and what the shipped graph holds."""

from __future__ import annotations

import json
import lzma
import pickle
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.cache import cache_folder
from cmat_gym.core.errors import TaskError
from cmat_gym.envs.kg.backend import GraphBackend, open_backend
from cmat_gym.envs.kg.files import SHIPPED, open_graph, read_graph, write_triples
from cmat_gym.envs.kg.ontology import Ontology, Role
from cmat_gym.envs.kg.packing import FORMAT, GraphData
from cmat_gym.envs.kg.programs import entity, follow
from cmat_gym.envs.kg.store import Graph

SUBJECTS = [f"m.{letter}" for letter in "abcdefgh"]
RELATIONS = ["geo.x.p", "geo.x.q", "geo.y.r"]
ATTRIBUTES = ["geo.x.size", "geo.y.age"]
FACTS = st.lists(st.tuples(*map(st.sampled_from, (SUBJECTS, RELATIONS, SUBJECTS))), max_size=40)
VALUES = st.lists(
    st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(ATTRIBUTES), st.integers(-3, 3).map(float)), max_size=20
)
SETS = st.sets(st.sampled_from(SUBJECTS), max_size=6)


def pack(facts: list[tuple[str, str, str]], values: list[tuple[str, str, float]]) -> Graph:
    ontology = Ontology(
        {name: Role(name.rpartition(".")[0], "geo.x") for name in RELATIONS},
        {name: Role(name.rpartition(".")[0], "type.float") for name in ATTRIBUTES},
    )
    names = {name: name.upper() for name in SUBJECTS}
    return Graph.build(GraphData(ontology, names, {}, dict.fromkeys(SUBJECTS, ("geo.x",)), facts, values))


@settings(max_examples=150, deadline=None)
@given(FACTS, VALUES, SETS)
def test_it_answers_as_a_list_of_triples_does(
    facts: list[tuple[str, str, str]], values: list[tuple[str, str, float]], chosen: set[str]
) -> None:
    graph = pack(facts, values)
    nodes = np.array(sorted(graph.find(name) for name in chosen), np.int32)

    def ids(numbers: np.ndarray) -> list[str]:
        return [graph.id(number) for number in numbers]

    for relation in RELATIONS:
        ahead = sorted({o for s, r, o in facts if r == relation and s in chosen})
        behind = sorted({s for s, r, o in facts if r == relation and o in chosen})
        assert ids(graph.forward(relation, nodes)) == ahead
        assert ids(graph.backward(relation, nodes)) == behind
        assert ids(graph.subjects(relation)) == sorted({s for s, r, _ in facts if r == relation})
    assert list(graph.relations_of(nodes)) == sorted({r for s, r, _ in facts if s in chosen})
    assert list(graph.attributes_of(nodes)) == sorted({a for s, a, _ in values if s in chosen})
    for attribute in ATTRIBUTES:
        for greatest in (True, False):
            ranked = sorted((-v if greatest else v, s) for s, a, v in values if a == attribute and s in chosen)
            assert ids(graph.extreme(attribute, nodes, greatest=greatest)) == [s for _, s in ranked[:1]]
        for name in SUBJECTS:
            expected = sorted({v for s, a, v in values if (s, a) == (name, attribute)})
            assert list(graph.values_of(attribute, graph.find(name))) == expected


def test_numbers_follow_the_order_of_ids() -> None:
    graph = pack([("m.b", "geo.x.p", "m.a")], [])
    assert [graph.id(number) for number in range(len(graph))] == SUBJECTS
    assert graph.find("m.zzz") == graph.find("") == graph.find("m.a\ud800") == -1
    assert (graph.name(0), graph.aliases(0), graph.classes_of(0)) == ("M.A", (), ("geo.x",))


def test_a_fact_about_something_unknown_is_named() -> None:
    with pytest.raises(TaskError, match=r"'m\.nobody', which is not declared"):
        pack([("m.a", "geo.x.p", "m.nobody")], [])


def test_saved_and_pickled_graphs_are_the_same(tmp_path: Path) -> None:
    facts = [("m.a", "geo.x.p", "m.b"), ("m.b", "geo.y.r", "m.c")]
    graph = pack(facts, [("m.a", "geo.x.size", 2.0)])
    graph.save(tmp_path / "graph")
    for copy in (Graph.load(tmp_path / "graph"), pickle.loads(pickle.dumps(graph))):
        a = copy.node(copy.find("m.a"))
        assert copy.relations_of(a) == ("geo.x.p",)
        assert copy.values_of("geo.x.size", copy.find("m.a")) == (2.0,)
        assert copy.ontology == graph.ontology


# Files ---------------------------------------------------------------------------------------------------------------


def test_triples_in_a_file(towns: GraphBackend) -> None:
    """Slashes become dots, numbers make attributes, and ranges are what most objects are."""
    graph = towns.graph
    assert graph.relations == (
        "location.town.river",
        "location.town.twin",
        "people.person.places_lived",
        "people.person.siblings",
        "people.person.works..people.job.town",
    )
    assert graph.attributes == ("geography.river.length", "location.town.area", "location.town.population")
    assert graph.ontology.relations["people.person.places_lived"] == Role("people.person", "location.town")
    assert graph.ontology.relations["people.person.works..people.job.town"] == Role("people.person", "location.town")
    assert graph.ontology.relations["location.town.river"].range == "geography.river"
    assert [graph.id(n) for n in graph.members("location.town")] == ["m.lark", "m.tern", "m.wren"]


def test_entities_with_names_for_ids_get_ids(tmp_path: Path) -> None:
    path = tmp_path / "plain.tsv.xz"
    path.write_bytes(
        lzma.compress("São Paulo\tcity/in\tBrazil\nsao paulo\tcity/in\tBrazil\nS o Paulo\tcity/in\tm.x\n".encode())
    )
    graph = open_graph(path)
    assert sorted(graph.id(n) for n in range(len(graph))) == [
        "m.brazil",
        "m.s_o_paulo",
        "m.s_o_paulo_2",
        "m.sao_paulo",
        "m.x",
    ]
    assert graph.name(graph.find("m.s_o_paulo")) == "São Paulo"


def test_what_is_exported_can_be_read_again(towns: GraphBackend, tmp_path: Path) -> None:
    path = tmp_path / "towns.nt"
    write_triples(towns.graph, path)
    copy = open_graph(path)
    assert (len(copy), copy.fact_count, copy.value_count) == (len(towns.graph), 14, 6)
    assert copy.ontology == towns.graph.ontology
    for number in range(len(copy)):
        node = copy.node(number)
        assert (copy.id(number), copy.classes_of(number)) == (towns.graph.id(number), towns.graph.classes_of(number))
        for relation in copy.relations_of(node):
            assert list(copy.forward(relation, node)) == list(towns.graph.forward(relation, node))


def test_ntriples_of_other_namespaces(tmp_path: Path) -> None:
    path = tmp_path / "other.nt"
    path.write_text(
        "# a comment\n"
        '<http://x.org/Ada> <http://www.w3.org/2000/01/rdf-schema#label> "Ada \\"L\\" \\u00e9"@en .\n'
        "<http://x.org/Ada> <http://x.org/p#knows> <http://x.org/Ben> . # why not\n"
        "_:b1 <http://x.org/p#knows> <http://x.org/Ada> .\n"
        '<http://x.org/Ada> <http://x.org/p#age> "36"^^<http://www.w3.org/2001/XMLSchema#integer> .\n'
        '<http://x.org/Ada> <http://x.org/p#motto> "never" .\n'
    )
    graph = open_graph(path)
    ada = graph.find("m.x_org_ada")
    assert graph.name(ada) == 'Ada "L" é'
    assert graph.relations == ("x.org.p.knows",)
    assert [graph.id(int(n)) for n in graph.forward("x.org.p.knows", graph.node(ada))] == ["m.x_org_ben"]
    assert graph.values_of("x.org.p.age", ada) == (36.0,)
    bad = tmp_path / "bad.nt"
    bad.write_text("<http://x.org/Ada> knows <http://x.org/Ben> .\n")
    with pytest.raises(TaskError, match="line 1 is no triple"):
        open_graph(bad)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("m.a\tgeo.p\n", "line 1 is not subject, relation and object"),
        ("m.a\tgeo.p\tm.b\nm.a geo.p m.b\n", "line 2"),
        ("m.a\tgeo.p\tm.b\nm.a\tgeo.p\t3\n", r"geo\.p has numbers and entities"),
        ("cmat-gym graph 1\nm.a\tgeo.x\n", "cannot be read"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(content)
    with pytest.raises(TaskError, match=f"(?s)bad.tsv.*{message}"):
        open_graph(path)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="There is no graph at"):
        open_graph(tmp_path / "nothing.tsv")
    with pytest.raises(TaskError, match="expected entity2id"):
        open_graph(tmp_path)


def test_a_damaged_copy_in_the_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAT_GYM_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / f"{name}.tsv" for name in ("one", "two")]
    for path in paths:
        path.write_text("m.a\tgeo.p\tm.b\n")
    open_graph(paths[0])
    (folder,) = cache_folder().glob("kg-graph*")
    shutil.copytree(folder, str(folder) + "-kept")
    (folder / "graph.json").write_text("{")
    # A process that opens it anew:
    from cmat_gym.envs.kg import files

    files._open.cache_clear()
    assert len(open_graph(paths[0])) == 2
    assert json.loads((folder / "graph.json").read_text())["format"] == FORMAT


def test_fb15k237(data_file: Callable[[str], Path]) -> None:
    """All 310,116 triples and 14,541 names; a path through a middle node is one relation."""
    backend = open_backend(data_file("kg/fb15k237.tar.xz"))
    graph = backend.graph
    assert (graph.fact_count, len(graph), len(graph.relations), graph.value_count) == (310_116, 14_541, 237, 0)
    named = sum(graph.name(n) != graph.id(n) for n in range(len(graph)))
    assert named == 14_541
    # The second line of train2id.txt: the first entity has the first relation to the second one.
    start = entity("m.027rn")
    assert "location.country.form_of_government" in backend.relations(start)
    assert "m.06cx9" in backend.answer(follow("location.country.form_of_government", start))
    assert "tv.tv_program.regular_cast..tv.regular_tv_appearance.actor" in graph.relations


# The shipped graph ---------------------------------------------------------------------------------------------------


def test_the_shipped_graph_is_large_and_declared(backend: GraphBackend) -> None:
    graph = backend.graph
    assert len(graph) >= 50_000
    assert len(graph.relations) >= 30
    assert len(graph.attributes) >= 10
    assert SHIPPED.stat().st_size < 2_000_000
    for name, role in graph.ontology.relations.items():
        assert role.reverse in graph.ontology.relations, name
        assert graph.ontology.relations[role.reverse].reverse == name
        assert len(graph.subjects(name)), f"{name} has no facts"


def test_every_shipped_fact_keeps_to_its_domain_and_range() -> None:
    data = read_graph(SHIPPED)
    roles, kinds = data.ontology.relations, data.classes
    wrong = [f for f in data.facts if roles[f[1]].domain not in kinds[f[0]] or roles[f[1]].range not in kinds[f[2]]]
    assert wrong == []
    assert [v for v in data.values if data.ontology.attributes[v[1]].domain not in kinds[v[0]]] == []
    assert all(re.fullmatch(r"m\.[a-z0-9_]+", name) for name in data.names)
    assert min(Counter(kind for kinds in data.classes.values() for kind in kinds).values()) >= 4
    assert sum(len(names) for names in data.aliases.values()) > 20_000


@pytest.mark.parametrize(
    ("start", "relation", "expected"),
    [
        ("Switzerland", "geo.country.neighbours", {"Germany", "Austria", "Liechtenstein", "Italy", "France"}),
        ("Finland", "geo.country.official_languages", {"Finnish", "Swedish"}),
        ("Japan", "geo.country.currency", {"Japanese Yen"}),
        ("Peru", "geo.country.capital", {"Lima"}),
        ("Gold", "chemistry.element.group", {"group 11"}),
        ("Uranium-238", "chemistry.isotope.decays_to", {"Thorium-234", "Plutonium-238"}),
        ("Charles de Gaulle International Airport", "aviation.airport.city", {"Paris"}),
        ("Delaware", "geo.state.counties", {"Kent County", "New Castle County", "Sussex County"}),
    ],
)
def test_the_facts_are_real(backend: GraphBackend, start: str, relation: str, expected: set[str]) -> None:
    graph = backend.graph
    starts = [int(n) for n in graph.subjects(relation) if graph.name(n) == start]
    found = graph.forward(relation, np.array(starts, np.int32))
    assert {graph.name(number) for number in found} == expected
