"""The seven tools: every result and every refusal in AgentBench's words, and what is remembered of an episode."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.envs.kg.backend import GraphBackend
from cmat_gym.envs.kg.ontology import Ontology
from cmat_gym.envs.kg.programs import both, entity, follow
from cmat_gym.envs.kg.tools import (
    MAX_OPERATIONS,
    MAX_VARIABLES,
    SIGNATURES,
    Session,
    Toolbox,
    ToolError,
    Variable,
    type_of,
)

ENTITIES = {"Ada": "m.ada", "Ben": "m.ben", "#9": "m.cy"}
LIVED = "people.person.places_lived"


def play(toolbox: Toolbox, *calls: tuple[str, ...], session: Session | None = None) -> tuple[Session, list[str]]:
    """Use the tools one after the other; the session at the end, and what each said."""
    session, said = session or Session(), []
    for tool, *arguments in calls:
        done = toolbox.run(session, tool, tuple(arguments), ENTITIES)
        session = done.session
        said.append(done.result)
    return session, said


@pytest.fixture
def toolbox(towns: GraphBackend) -> Toolbox:
    return Toolbox(towns)


BOTH_LIVED = [
    ("get_relations", "Ada"),
    ("get_neighbors", "Ada", LIVED),
    ("get_relations", "m.ben"),
    ("get_neighbors", "m.ben", LIVED),
]


def test_what_the_tools_say(toolbox: Toolbox) -> None:
    session, said = play(
        toolbox,
        *BOTH_LIVED,
        ("intersection", "#0", "variable #1"),
        ("get_attributes", "Variable #1"),
        ("argmax", "#1", "location.town.population"),
        ("argmin", "#1", "location.town.population"),
        ("count", "#0"),
    )
    assert said == [
        f"[{LIVED}, people.person.siblings, people.person.works..people.job.town]",
        "variable #0, which are instances of location.town",
        f"[{LIVED}, people.person.siblings]",
        "variable #1, which are instances of location.town",
        "variable #2, which are instances of location.town",
        "[location.town.population]",
        "variable #3, which are instances of location.town",
        "variable #4, which are instances of location.town",
        "variable #5, which is a number",
    ]
    assert [variable.program.text for variable in session.variables] == [
        f"(JOIN {LIVED}_inv m.ada)",
        f"(JOIN {LIVED}_inv m.ben)",
        f"(AND (JOIN {LIVED}_inv m.ada) (JOIN {LIVED}_inv m.ben))",
        f"(ARGMAX (JOIN {LIVED}_inv m.ben) location.town.population)",
        f"(ARGMIN (JOIN {LIVED}_inv m.ben) location.town.population)",
        f"(COUNT (JOIN {LIVED}_inv m.ada))",
    ]
    assert session.variables[5].type == "type.int"


REFUSALS = [
    (("get_relations", "Cy"), "get_relations: variable must be a variable or an entity"),
    (("get_relations", "ada"), "get_relations: variable must be a variable or an entity"),
    (("get_relations", "x.ada"), "get_relations: variable must be a variable or an entity"),
    (("get_neighbors", "nobody", LIVED), "get_neighbors: variable must be a variable or an entity"),
    (("get_neighbors", "#0", "location.town.river"), "get_neighbors: relation must be a relation of the variable"),
    (("get_neighbors", "Ada", "no.such.relation"), "get_neighbors: relation must be a relation of the variable"),
    (("get_neighbors", "Ada", "location.town.river"), "get_neighbors: relation must be a relation of the variable"),
    (("intersection", "#0", "#2"), "intersection: two variables must have the same type"),
    (("intersection", "#0", "Ada"), "intersection: variable must be a variable"),
    (("intersection", "m.ada", "#0"), "intersection: variable must be a variable"),
    (("get_attributes", "Ada"), "get_attributes: variable must be a variable"),
    (("argmax", "#0", "location.town.population"), "argmax: attribute must be an attribute of the variable"),
    (("argmin", "#1", "location.town.area"), "argmin: attribute must be an attribute of the variable"),
    (("count", "Ada"), "count: variable must be a variable"),
    (("count", "#3"), "Invalid variable id! Need to recheck the action."),
    (("intersection", "#0", "#77"), "Invalid variable id! Need to recheck the action."),
]


@pytest.mark.parametrize(("call", "words"), REFUSALS)
def test_what_the_tools_refuse(toolbox: Toolbox, call: tuple[str, ...], words: str) -> None:
    """Nothing but the listed relations and attributes of exactly this program may be used."""
    session, _ = play(
        toolbox, *BOTH_LIVED, ("get_neighbors", "Ada", "people.person.siblings"), ("get_attributes", "#1")
    )
    with pytest.raises(ToolError) as refusal:
        play(toolbox, call, session=session)
    assert str(refusal.value) == words
    assert refusal.value.unlike_types == ("same type" in words)
    assert refusal.value.wrong_index == ("Invalid variable id" in words)


def test_a_listing_belongs_to_a_program_and_not_to_a_number(toolbox: Toolbox) -> None:
    """Equal programs share what was listed; what another episode listed counts for nothing."""
    session, _ = play(toolbox, *BOTH_LIVED[:2], ("get_neighbors", "Ada", LIVED), ("get_relations", "#0"))
    assert session.variables[0] == session.variables[1]
    play(toolbox, ("get_neighbors", "#1", "location.town.river"), session=session)
    with pytest.raises(ToolError, match="relation must be"):
        play(toolbox, ("get_neighbors", "Ada", LIVED))


def test_every_id_can_be_used_known_to_the_question_or_not(toolbox: Toolbox) -> None:
    """An entity that is called like a variable is reached by its id: a number always means a variable."""
    with pytest.raises(ToolError, match="Invalid variable id"):
        play(toolbox, ("get_relations", "#9"))
    assert [group.first for group in toolbox.choices(Session(), ENTITIES)] == ["Ada", "Ben", "m.cy"]
    assert play(toolbox, ("get_relations", "m.wren"), ("get_relations", "m.nobody"))[1] == [
        "[location.town.river]",
        "[]",
    ]


def test_ids_that_begin_with_g(towns: GraphBackend) -> None:
    assert play(Toolbox(towns), ("get_relations", "g.unknown"))[1] == ["[]"]
    with pytest.raises(ToolError, match="must be a variable or an entity"):
        play(Toolbox(towns, strict=True), ("get_relations", "g.unknown"))
    for text in ("m.a.b", "m.", "m.ä", "m.a ns:x", "m.a}\n", "M.ada"):
        with pytest.raises(ToolError):
            play(Toolbox(towns), ("get_relations", text))


def test_function_calls_of_agentbench_list_relations_themselves(towns: GraphBackend) -> None:
    toolbox = Toolbox(towns, strict=True, lists_itself=True)
    session, _ = play(toolbox, ("get_neighbors", "Ada", LIVED))
    assert session.relations == {"m.ada"}
    with pytest.raises(ToolError, match="relation must be a relation"):
        play(toolbox, ("get_neighbors", "Ada", "location.town.river"))


def test_numbers_have_nothing_to_follow(toolbox: Toolbox) -> None:
    session, said = play(toolbox, *BOTH_LIVED, ("count", "#0"), ("count", "#1"), ("get_relations", "#2"))
    assert said[-1] == "[]"
    session, said = play(toolbox, ("intersection", "#2", "#3"), ("count", "#2"), session=session)
    assert said == ["variable #4, which are instances of type.int", "variable #5, which is a number"]
    assert toolbox.backend.answer(session.variables[4].program) == {"2"}


def test_programs_and_variables_are_bounded(toolbox: Toolbox) -> None:
    """Doubling by intersection ends long before it costs anything."""
    session, _ = play(toolbox, *BOTH_LIVED[:2])
    while session.variables[-1].program.size * 2 < MAX_OPERATIONS:
        last = f"#{len(session.variables) - 1}"
        session, _ = play(toolbox, ("intersection", last, last), session=session)
    last = f"#{len(session.variables) - 1}"
    with pytest.raises(ToolError, match=f"more than {MAX_OPERATIONS} operations"):
        play(toolbox, ("intersection", last, last), session=session)
    session, _ = play(toolbox, *[("count", "#0")] * (MAX_VARIABLES - len(session.variables)), session=session)
    with pytest.raises(ToolError, match=f"{MAX_VARIABLES} variables"):
        play(toolbox, ("count", "#0"), session=session)
    offered = {move.tool for group in toolbox.choices(session, ENTITIES) for move in group.moves()}
    assert offered == {"get_relations", "get_attributes", "final_answer"}


def test_a_session_survives_json(toolbox: Toolbox) -> None:
    session, _ = play(toolbox, *BOTH_LIVED, ("intersection", "#0", "#1"), ("get_attributes", "#2"), ("count", "#2"))
    session = toolbox.answer(session, 2)
    assert Session.from_json(json.loads(json.dumps(session.to_json())), toolbox.ontology) == session


def test_types_come_from_ranges() -> None:
    start = follow("a.b.c", entity("m.x"))
    assert type_of(both(start, start), Ontology()) == "unknown"
    assert Variable("unknown", start).type == "unknown"


TEXTS = st.text(max_size=30) | st.sampled_from(["#0", "#1", "#00", "#1e9", "Ada", "m.ben", LIVED, "location.town.area"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(SIGNATURES)), TEXTS, TEXTS), max_size=12))
def test_no_arguments_break_a_tool(towns: GraphBackend, calls: list[tuple[str, str, str]]) -> None:
    """A tool answers or refuses; what it refuses leaves no trace, and every offered call is accepted."""
    toolbox, session = Toolbox(towns), Session()
    for tool, *arguments in calls:
        before = session
        try:
            session = toolbox.run(session, tool, tuple(arguments[: SIGNATURES[tool]]), ENTITIES).session
        except ToolError:
            assert session == before
    for group in toolbox.choices(session, ENTITIES):
        for move in group.moves():
            if move.tool != "final_answer":
                toolbox.run(session, move.tool, move.arguments, ENTITIES)
