"""The reader of problems and game files: what it takes, and that nothing else gets through or brings it down."""

from __future__ import annotations

import json
import random

import pytest
from alfworld_kitchen import CLEAN_APPLE, KITCHEN
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.alfworld.backend import open_game
from cmat_gym.envs.alfworld.gamefile import game_payload, read_dialect, write_game
from cmat_gym.envs.alfworld.generator import BuiltinHouseTasks
from cmat_gym.envs.alfworld.pddl import parse_goal, parse_problem
from cmat_gym.envs.alfworld.records import DIALECTS, TASK_TYPES, Dialect, Goal

SIMPLE = (
    "(and (exists (?r - receptacle) (exists (?o - object) "
    "(and (inReceptacle ?o ?r) (objectType ?o MugType) (receptacleType ?r DeskType)))))"
)
TWO = (
    "(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 CDType) (receptacleType ?r SafeType) "
    "(inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2)) (objectType ?o2 CDType) "
    "(receptacleType ?r SafeType) (inReceptacle ?o2 ?r)))))))"
)
LOOK = (
    "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot DeskLampType) "
    "(toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r))) "
    "(exists (?o - object ?a - agent) (and (objectType ?o BookType) (holds ?a ?o))))"
)


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        (SIMPLE, Goal("pick_and_place_simple", "mugtype", "desktype")),
        (TWO, Goal("pick_two_obj_and_place", "cdtype", "safetype")),
        (LOOK, Goal("look_at_obj_in_light", "booktype", "desklamptype")),
        (
            CLEAN_APPLE,
            Goal("pick_clean_then_place_in_recep", "appletype", "fridgetype", frozenset({"cleanable"})),
        ),
        (
            CLEAN_APPLE.replace("isClean", "isHot").replace("cleanable", "heatable"),
            Goal("pick_heat_then_place_in_recep", "appletype", "fridgetype", frozenset({"heatable"})),
        ),
        (
            CLEAN_APPLE.replace("(isClean ?o)", "(isCool ?o)").replace("(cleanable ?o)", ""),
            Goal("pick_cool_then_place_in_recep", "appletype", "fridgetype"),
        ),
    ],
)
def test_the_six_goals_are_recognised(text: str, goal: Goal) -> None:
    assert parse_goal(text.lower()) == goal
    assert parse_goal(text.lower() + "))\n") == goal  # the brackets that close the section and the problem


@pytest.mark.parametrize(
    "text",
    [
        SIMPLE.replace("(inReceptacle ?o ?r)", ""),
        SIMPLE.replace("(objectType ?o MugType)", "(objectType ?o MugType) (isSliced ?o)"),
        SIMPLE.replace("(objectType ?o MugType)", "(objectType ?o MugType) (objectType ?o CupType)"),
        SIMPLE.replace("(inReceptacle ?o ?r)", "(not (inReceptacle ?o ?r))"),
        SIMPLE.replace("(inReceptacle ?o ?r)", "(or (inReceptacle ?o ?r))"),
        SIMPLE.replace("(inReceptacle ?o ?r)", "(forall (?x - object) (inReceptacle ?x ?r))"),
        SIMPLE.replace("exists (?o", "forall (?o"),
        CLEAN_APPLE.replace("(isClean ?o)", "(isClean ?o) (isHot ?o)"),
        TWO.replace("(not (= ?o1 ?o2))", ""),
        TWO.replace("(not (= ?o1 ?o2))", "(not (= ?o1 ?r))"),
        TWO.replace("(inReceptacle ?o2 ?r)", "(inReceptacle ?o2 ?r) (isClean ?o2)"),
        TWO.replace("exists (?o2 - object)", "exists (?o2 - object ?r - receptacle)"),  # another receptacle is meant
        LOOK.replace("(atLocation ?a ?l)", ""),
        LOOK.replace("(holds ?a ?o)", ""),
        LOOK.replace("(inReceptacle ?ot ?r)", "(inReceptacle ?ot ?q)"),
        LOOK.replace("(toggleable ?ot)", "(toggleable ?ot) (isClean ?ot)"),
        "",
        "(",
        ")",
        "x",
        "(and",
        "(and) (and)",
        "(" * 50_000,
        "(and " * 500,
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    """A goal that is guessed at would score something else than the original."""
    with pytest.raises(TaskError):
        parse_goal(text.lower())


def test_costs_and_comments_have_no_effect() -> None:
    problem = KITCHEN.replace("{goal}", CLEAN_APPLE)
    more = problem.replace(
        "(atLocation",
        "(= (total-cost) 0) ; (atLocation agent1 loc_bar_9)\n (= (distance loc_a loc_b) 12)\n(atLocation",
        1,
    )
    assert parse_problem(more) == parse_problem(problem)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(:init", "(:start"),
        ("(:goal", "(:aim"),
        ("(opened Drawer_bar_2)", "opened"),
        ("(opened Drawer_bar_2)", "(x (y))"),
    ],
)
def test_damaged_problems_are_refused(old: str, new: str) -> None:
    with pytest.raises(TaskError):
        parse_problem(KITCHEN.replace("{goal}", CLEAN_APPLE).replace(old, new))


JSON_OBJECT = st.dictionaries(st.text(max_size=12), st.none() | st.text(max_size=9)).map(json.dumps)


def mutate(text: str, seed: int) -> str:
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 5)):
        at, other = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        text = rng.choice(
            [
                text[:at] + text[min(other, at + 20) :],
                text[:at] + rng.choice(["(", ")", " ", "?r", "_bar_", "(:goal", "\x00", "ß", ";"]) + text[at:],
                text[:at] + text[other:] if other - at < 40 else text,
                text.replace("agent1", "agent2", 1),
            ]
        )
    return text


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9) | st.text(max_size=200))
def test_no_problem_raises_anything_else(seed: int | str) -> None:
    problem = KITCHEN.replace("{goal}", CLEAN_APPLE)
    text = seed if isinstance(seed, str) else mutate(problem, seed)
    try:
        game = open_game(text, DIALECTS["move"])
    except TaskError:
        return
    assert game.situation(game.initial).commands


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9) | st.text(max_size=100) | JSON_OBJECT)
def test_no_game_file_raises_anything_else(seed: int | str) -> None:
    whole = json.dumps(write_game(BuiltinHouseTasks().make("train", 0)))
    try:
        payload = game_payload(seed if isinstance(seed, str) else mutate(whole, seed), "somewhere")
    except TaskError:
        return
    assert payload["task_type"] in TASK_TYPES


def test_a_written_game_reads_as_the_task_it_was() -> None:
    tasks = BuiltinHouseTasks()
    for index in range(20):
        task = tasks.make("train", index)
        for dialect in DIALECTS.values():
            payload = game_payload(json.dumps(write_game(task, dialect, ["look"])), "here")
            assert payload["sentence"] == task.payload["sentence"]
            assert payload["task_type"] == task.payload["task_type"]
            assert payload["walkthrough"] == ["look"]
            assert Dialect.from_json(payload["grammar"]) == dialect
            assert parse_problem(payload["problem"]) == parse_problem(task.payload["problem"])


def test_unknown_wordings_are_refused_and_mixtures_are_named() -> None:
    game = write_game(BuiltinHouseTasks().make("train", 0))
    grammar, domain = game["grammar"], game["pddl_domain"]
    with pytest.raises(TaskError, match=r"'drop \{o\} at \{r\}'; known are move"):
        read_dialect(grammar.replace("move {o} to {r}", "drop {o} at {r}"), domain)
    with pytest.raises(TaskError, match="no action CleanObject"):
        read_dialect(grammar, domain.replace("CleanObject", "WashObject"))
    mixed = read_dialect(grammar.replace("You arrive at {r.name}", "You arrive at {lend.name}"), domain)
    assert (mixed.name, mixed.arrive_at_location) == ("move*", True)
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {"move": "move", "put": "put"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solvable": False}, "marked as unsolvable"),
        ({"walkthrough": [1]}, "walkthrough that is no list of commands"),
        ({"grammar": "no"}, "no task sentence"),
        ({"pddl_problem": 3}, "no game file"),
    ],
)
def test_unfit_game_files_are_refused(change: dict[str, object], message: str) -> None:
    game = {**write_game(BuiltinHouseTasks().make("train", 0)), **change}
    with pytest.raises(TaskError, match=f"here.*{message}"):
        game_payload(json.dumps(game), "here")
