"""Programs: reading and writing them, and what they stand for on a graph small enough to check by hand."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.kg.backend import GraphBackend
from cmat_gym.envs.kg.programs import (
    Program,
    both,
    canonical,
    either,
    entity,
    follow,
    parse_program,
    superlative,
    tally,
)

IDS = st.from_regex(r"[mfg]\.[a-z0-9_]{1,6}", fullmatch=True)
NAMES = st.from_regex(r"[a-z]{1,5}\.[a-z_]{1,5}\.[a-z]{1,6}", fullmatch=True)


def programs() -> st.SearchStrategy[Program]:
    return st.recursive(
        st.builds(follow, NAMES, IDS.map(entity)),
        lambda inner: (
            st.builds(follow, NAMES, inner)
            | st.builds(both, inner, inner)
            | st.builds(either, inner, inner)
            | st.builds(tally, inner)
            | st.builds(superlative, st.sampled_from(["ARGMAX", "ARGMIN"]), inner, NAMES)
        ),
        max_leaves=6,
    )


@settings(max_examples=80, deadline=None)
@given(programs())
def test_what_is_written_is_read_again(program: Program) -> None:
    again = parse_program(program.text)
    assert again == program
    assert (again.op, again.name, again.size, again.parts) == (program.op, program.name, program.size, program.parts)
    assert again.entities() == program.entities()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text("() mJOINRACUTgx._inv", max_size=60))
def test_any_text_is_a_program_or_an_error(text: str) -> None:
    with contextlib.suppress(TaskError):
        program = parse_program(text)
        assert parse_program(program.text) == program


@pytest.mark.parametrize(
    "text",
    ["", "(", ")", "()", "(JOIN)", "(JOIN a)", "m.a m.b", "(AND m.a)", "(R x)", "(JOIN (R a b) m.a)", "(" * 9999],
)
def test_what_is_no_program_is_named(text: str) -> None:
    with pytest.raises(TaskError, match="Not a program"):
        parse_program(text)


def test_the_two_notations_are_one() -> None:
    gold = parse_program("(AND (JOIN (R port.builder.ships) m.01) (JOIN (R port.builder.ships) m.02))")
    assert gold.text == "(AND (JOIN port.builder.ships_inv m.01) (JOIN port.builder.ships_inv m.02))"
    assert gold.entities() == {"m.01", "m.02"}
    path = parse_program("(ARGMAX location.town (JOIN location.town.river geography.river.length))")
    assert path.name == "location.town.river geography.river.length"
    assert parse_program(path.text) == path


def test_order_in_an_intersection_does_not_matter_for_sameness() -> None:
    one, other = follow("a.b.c", entity("m.1")), follow("a.b.d", entity("m.2"))
    assert both(one, other) != both(other, one)
    assert canonical(both(one, other)) == canonical(both(other, one))
    assert canonical(tally(both(one, other))) == canonical(tally(both(other, one)))
    assert canonical(follow("a.b.c", one)) != canonical(follow("a.b.d", one))
    assert canonical(superlative("ARGMAX", one, "x.y")) != canonical(superlative("ARGMIN", one, "x.y"))


LIVED = "people.person.places_lived"
SIBLINGS = "people.person.siblings"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"(JOIN (R {SIBLINGS}) m.ben)", {"m.ada", "m.cy"}),
        (f"(JOIN (R {SIBLINGS}) (JOIN (R {SIBLINGS}) m.ada))", {"m.cy"}),  # ada is named, so she is no answer
        (f"(COUNT (JOIN (R {SIBLINGS}) (JOIN (R {SIBLINGS}) m.ada)))", {"1"}),
        ("(JOIN location.town.river m.ouse)", {"m.tern", "m.wren"}),
        (f"(AND (JOIN (R {LIVED}) m.ada) (JOIN (R {LIVED}) m.ben))", {"m.wren"}),
        (f"(OR (JOIN (R {LIVED}) m.ada) (JOIN (R {LIVED}) m.ben))", {"m.lark", "m.tern", "m.wren"}),
        (f"(AND location.town (JOIN (R {LIVED}) m.cy))", {"m.tern"}),
        (f"(COUNT (JOIN (R {LIVED}) m.ada))", {"2"}),
        ("(COUNT (JOIN (R no.such.relation) m.ada))", {"0"}),
        (f"(ARGMAX (JOIN (R {LIVED}) m.ada) location.town.population)", {"m.wren"}),
        (f"(ARGMAX (JOIN (R {LIVED}) m.ben) location.town.population)", {"m.lark"}),  # a tie: the smaller id
        (f"(ARGMIN (JOIN (R {LIVED}) m.ada) location.town.area)", {"m.tern"}),  # wren has no area
        (f"(ARGMIN (JOIN (R {LIVED}) m.ben) location.town.area)", set()),
        ("(ARGMAX location.town (JOIN location.town.river geography.river.length))", {"m.tern"}),
        ("(ARGMIN location.town (JOIN location.town.river geography.river.length))", {"m.lark"}),
        (f"(JOIN (R location.town.river) (ARGMIN (JOIN (R {LIVED}) m.ada) location.town.population))", {"m.ouse"}),
        (f"(JOIN (R {LIVED}) m.nobody)", set()),
    ],
)
def test_what_programs_stand_for(towns: GraphBackend, text: str, expected: set[str]) -> None:
    program = parse_program(text)
    assert towns.answer(program) == expected
    assert towns.matches(program, frozenset(expected))
    assert not towns.matches(program, frozenset(expected | {"m.wrong"}))


def test_remembered_results_stay_within_their_budget(towns: GraphBackend) -> None:
    from cmat_gym.envs.kg import backend as module

    fresh = GraphBackend(towns.graph)
    fresh._results = module._Results(4000)
    for number in range(200):
        assert fresh.answer(follow(LIVED, entity("m.ada"))) == {"m.tern", "m.wren"}
        fresh.answer(follow(LIVED, entity(f"m.x{number}")))
        assert fresh._results._taken <= 4000
    assert len(fresh._results._kept) < 40
