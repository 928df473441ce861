"""The rules of the house, one by one."""

from __future__ import annotations

import pickle

import pytest
from alfworld_kitchen import CLEAN_APPLE, KITCHEN

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.alfworld import backend as module
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, open_game
from cmat_gym.envs.alfworld.game import State, names_of
from cmat_gym.envs.alfworld.records import DIALECTS


def play(game: ALFWorldBackend, *commands: str, state: State | None = None) -> tuple[State, str]:
    """Play commands that must all be possible; the last observation."""
    state, text = state or game.initial, ""
    for command in commands:
        step = game.act(state, command)
        assert step is not None, f"{command!r} is not possible; possible are {game.situation(state).commands}"
        state, text = step
    return state, text


def commands(game: ALFWorldBackend, *played: str) -> tuple[str, ...]:
    return game.situation(play(game, *played)[0]).commands


def test_the_opening_lists_places_by_id_and_numbers_run_downwards(kitchen: ALFWorldBackend) -> None:
    assert kitchen.opening("Your task is to: eat.") == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "
        "a countertop 1, a drawer 2, a drawer 1, a fridge 1, a microwave 1, a sink 1, and a sinkbasin 1.\n\n"
        "Your task is to: eat."
    )
    assert play(kitchen, "look")[1].endswith("Looking quickly around you, you see nothing.")


def test_names_follow_the_order_of_the_ids() -> None:
    ids = ["mug_bar_2", "mug_bar_10", "sink_bar_1_bar_sinkbasin", "sink_bar_1", "mugtype"]
    assert names_of(ids) == {
        "mug_bar_10": "mug 2",
        "mug_bar_2": "mug 1",
        "mugtype": "mugtype ",
        "sink_bar_1": "sink 1",
        "sink_bar_1_bar_sinkbasin": "sinkbasin 1",
    }


def test_commands_are_sorted_and_exact(kitchen: ALFWorldBackend, old_kitchen: ALFWorldBackend) -> None:
    for game in (kitchen, old_kitchen):
        for played in (
            [],
            ["go to countertop 1"],
            ["go to countertop 1", "open microwave 1", "take apple 1 from countertop 1"],
        ):
            listed = commands(game, *played)
            assert list(listed) == sorted(set(listed))
    assert commands(kitchen, "go to countertop 1") == (
        "examine countertop 1", "examine microwave 1",
        "go to drawer 1", "go to drawer 2", "go to fridge 1", "go to sink 1", "go to sinkbasin 1",
        "help", "inventory", "look", "open microwave 1",
        "take apple 1 from countertop 1", "take knife 1 from countertop 1",
    )  # fmt: skip
    state, _ = play(kitchen, "go to countertop 1")
    for wrong in ("Look", "look around", "go to countertop 1", "take apple 1", "take apple 2 from fridge 1", ""):
        assert kitchen.act(state, wrong) is None


def test_doors(kitchen: ALFWorldBackend) -> None:
    assert play(kitchen, "go to fridge 1")[1] == "You arrive at fridge 1. The fridge 1 is closed."
    assert "take apple 2 from fridge 1" not in commands(kitchen, "go to fridge 1")
    state, text = play(kitchen, "go to fridge 1", "open fridge 1")
    assert text == "You open the fridge 1. The fridge 1 is open. In it, you see a apple 2."
    assert play(kitchen, "close fridge 1", "examine fridge 1", state=state)[1] == "The fridge 1 is closed."
    assert play(kitchen, "close fridge 1", state=state)[1] == "You close the fridge 1."
    assert (
        play(kitchen, "go to drawer 1")[1]
        == "You arrive at drawer 1. The drawer 1 is open. In it, you see a desklamp 1."
    )


def test_taking_and_placing(kitchen: ALFWorldBackend) -> None:
    state, text = play(kitchen, "go to countertop 1", "take knife 1 from countertop 1")
    assert text == "You pick up the knife 1 from the countertop 1."
    assert play(kitchen, "inventory", state=state)[1] == "You are carrying: a knife 1."
    assert not any(command.startswith("take") for command in kitchen.situation(state).commands)
    assert (
        "move knife 1 to sinkbasin 1"
        not in kitchen.situation(play(kitchen, "go to sinkbasin 1", state=state)[0]).commands
    )
    state, text = play(kitchen, "move knife 1 to countertop 1", state=state)
    assert text == "You move the knife 1 to the countertop 1."
    assert state == play(kitchen, "go to countertop 1")[0]
    assert play(kitchen, "inventory", state=state)[1] == "You are not carrying anything."


def test_what_was_taken_out_lies_beside_a_place_when_it_goes_to_the_one_next_to_it(kitchen: ALFWorldBackend) -> None:
    state, _ = play(kitchen, "go to countertop 1", "look")
    assert play(kitchen, "look", state=state)[1] == (
        "You are facing the countertop 1, and microwave 1. Next to it, you see nothing."
    )
    state, _ = play(
        kitchen, "open microwave 1", "take apple 1 from countertop 1", "move apple 1 to microwave 1", state=state
    )
    assert play(kitchen, "look", state=state)[1].endswith("Next to it, you see a apple 1.")
    state, _ = play(kitchen, "take apple 1 from microwave 1", "move apple 1 to countertop 1", state=state)
    assert play(kitchen, "look", state=state)[1].endswith("Next to it, you see a apple 1.")
    state, _ = play(kitchen, "go to fridge 1", "go to countertop 1", state=state)
    assert play(kitchen, "look", state=state)[1].endswith("Next to it, you see a apple 1.")


def test_treatments_and_what_examining_says(kitchen: ALFWorldBackend) -> None:
    state, text = play(kitchen, "go to countertop 1", "take apple 1 from countertop 1", "heat apple 1 with microwave 1")
    assert text == "You heat the apple 1 using the microwave 1."
    assert play(kitchen, "examine apple 1", state=state)[1] == "This is a hot apple 1."
    state, _ = play(kitchen, "go to sinkbasin 1", "clean apple 1 with sinkbasin 1", state=state)
    assert play(kitchen, "examine apple 1", state=state)[1] == "This is a hot and clean apple 1."
    state, _ = play(kitchen, "go to fridge 1", "cool apple 1 with fridge 1", state=state)
    assert play(kitchen, "examine apple 1", state=state)[1] == "This is a cool and clean apple 1."
    state, text = play(
        kitchen, "go to countertop 1", "move apple 1 to countertop 1", "take knife 1 from countertop 1",
        "slice apple 1 with knife 1", state=state,
    )  # fmt: skip
    assert text == "You sliced the apple 1 with the knife 1."
    state, _ = play(kitchen, "move knife 1 to countertop 1", "take apple 1 from countertop 1", state=state)
    assert play(kitchen, "examine apple 1", state=state)[1] == "This is a cool and clean sliced apple 1."


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ("clean hot sliced", "This is a hot and clean sliced apple 1."),
        ("clean cool sliced", "This is a cool and clean sliced apple 1."),
        ("clean sliced", "This is a clean sliced apple 1."),
        ("hot sliced", "This is a hot sliced apple 1."),
        ("cool sliced", "This is a cool sliced apple 1."),
        ("clean hot", "This is a hot and clean apple 1."),
        ("clean cool", "This is a cool and clean apple 1."),
        ("hot", "This is a hot apple 1."),
        ("clean", "This is a clean apple 1."),
        ("cool", "This is a cold apple 1."),
        ("sliced", "This is a sliced apple 1."),
        ("", "There's nothing special about apple 1."),
    ],
)
def test_the_words_for_every_state(kitchen: ALFWorldBackend, states: str, words: str) -> None:
    state, _ = play(kitchen, "go to countertop 1", "take apple 1 from countertop 1")
    state = state._replace(**dict.fromkeys(states.split(), 1 << state.held))
    assert play(kitchen, "examine apple 1", state=state)[1] == words


def test_plates_show_what_is_in_them_and_lamps_stay_on(kitchen: ALFWorldBackend) -> None:
    state, _ = play(kitchen, "go to drawer 2", "open drawer 2", "take plate 1 from drawer 2")
    assert play(kitchen, "examine plate 1", state=state)[1] == "This is a normal plate 1. In it, you see a knife 1."
    state, text = play(kitchen, "go to drawer 1", "close drawer 1", "use desklamp 1")
    assert text == "You turn on the desklamp 1."
    assert play(kitchen, "use desklamp 1", state=state) == (state, "You turn on the desklamp 1.")


def test_closed_places_can_be_sliced_into(kitchen: ALFWorldBackend) -> None:
    """An oddity of the original: slicing asks where a thing is, not whether it can be reached."""
    assert "slice apple 2 with knife 1" in commands(
        kitchen, "go to countertop 1", "take knife 1 from countertop 1", "go to fridge 1"
    )


def test_help_is_the_original_text(kitchen: ALFWorldBackend) -> None:
    text = play(kitchen, "help")[1]
    assert text.startswith("Available commands:\n  look:    ")
    assert text.endswith("using a sharp object\n")


def test_the_old_grammar(old_kitchen: ALFWorldBackend) -> None:
    state, text = play(old_kitchen, "go to countertop 1")
    assert text == "You arrive at loc 6. On the countertop 1, you see a apple 1, and a knife 1."
    assert "help" not in old_kitchen.situation(state).commands
    state, _ = play(old_kitchen, "take apple 1 from countertop 1", state=state)
    assert "move apple 1 to countertop 1" not in old_kitchen.situation(state).commands
    text = play(old_kitchen, "put apple 1 in/on countertop 1", state=state)[1]
    assert text == "You put the apple 1 in/on the countertop 1."
    state, _ = play(old_kitchen, "go to sink 1", state=state)
    assert "clean apple 1 with sink 1" not in old_kitchen.situation(state).commands
    assert (
        "clean apple 1 with sinkbasin 1"
        in old_kitchen.situation(play(old_kitchen, "go to sinkbasin 1", state=state)[0]).commands
    )


def test_in_the_new_grammar_sinks_clean_as_well(kitchen: ALFWorldBackend) -> None:
    assert "clean apple 1 with sink 1" in commands(
        kitchen, "go to countertop 1", "take apple 1 from countertop 1", "go to sink 1"
    )


def test_a_thing_can_be_in_two_places(kitchen: ALFWorldBackend) -> None:
    """Some published games have that; taking it from one leaves it in the other."""
    problem = KITCHEN.replace("{goal}", CLEAN_APPLE).replace(
        "(pickupable Apple_bar_2)", "(pickupable Apple_bar_2) (inReceptacle Apple_bar_2 Sink_bar_1)"
    )
    game = open_game(problem, DIALECTS["move"])
    state, _ = play(game, "go to countertop 1", "take apple 1 from countertop 1", "go to sink 1")
    assert play(game, "examine sink 1", state=state)[1] == "On the sink 1, you see a apple 1."


def test_the_cache_is_bounded_and_never_pickled(kitchen: ALFWorldBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_SITUATIONS", 3)
    kitchen = pickle.loads(pickle.dumps(kitchen))  # the fixture's is shared, and knows some situations already
    for place in ("drawer 1", "drawer 2", "fridge 1", "sink 1", "sinkbasin 1", "countertop 1"):
        assert commands(kitchen, f"go to {place}")
        assert len(kitchen._situations) <= 3
    copy = pickle.loads(pickle.dumps(kitchen))
    assert copy._situations == {}
    assert copy.situation(copy.initial) == kitchen.situation(kitchen.initial)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(atLocation agent1 loc_bar_0)", "", "one agent at one location, not 0"),
        ("(openable Fridge_bar_1)", "(openable Fridge_bar_1 x)", "openable …\\) takes one"),
        ("(objectType Apple_bar_1 AppleType)", "(objectType Apple_bar_1)", "objecttype …\\) takes two"),
        ("(opened Drawer_bar_2)", "(holds agent1 a_bar_1) (holds agent1 b_bar_1)", "2 things in hand"),
        ("(opened Drawer_bar_2)", "(receptacleAtLocation Drawer_bar_2 loc_bar_1)", "at two locations"),
    ],
)
def test_facts_that_make_no_house_are_refused(old: str, new: str, message: str) -> None:
    problem = KITCHEN.replace("{goal}", CLEAN_APPLE).replace(old, new, 1)
    with pytest.raises(TaskError, match=message):
        open_game(problem, DIALECTS["move"])
