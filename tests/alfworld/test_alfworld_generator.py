"""The builtin houses: the same on every machine, believable, solvable, without leaks between splits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, open_game
from cmat_gym.envs.alfworld.game import bits
from cmat_gym.envs.alfworld.generator import SIZES, BuiltinHouseTasks, goal_split
from cmat_gym.envs.alfworld.pddl import parse_problem
from cmat_gym.envs.alfworld.records import DIALECTS, TASK_TYPES
from cmat_gym.envs.alfworld.rooms import rooms
from cmat_gym.envs.alfworld.scorer import Wish, goal_holds

COUNT = 400  # tasks of each split that are looked at


@pytest.fixture(scope="module")
def tasks() -> BuiltinHouseTasks:
    return BuiltinHouseTasks()


@pytest.fixture(scope="module")
def drawn(tasks: BuiltinHouseTasks) -> dict[str, list[Task]]:
    return {split: tasks.split(split)[:COUNT] for split in SIZES}


def game_of(task: Task) -> ALFWorldBackend:
    return open_game(task.payload["problem"], DIALECTS["move"])


def layout_of(task: Task) -> tuple[object, ...]:
    """The room without its things: places, what stands together, what is open."""
    facts = parse_problem(task.payload["problem"]).facts
    return facts["receptacletype"], facts["receptacleatlocation"], facts.get("opened", ())


def test_the_committed_manifest(tasks: BuiltinHouseTasks) -> None:
    published = json.loads((files("cmat_gym.envs.alfworld") / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert {split: tasks.split(split).manifest(1000)._asdict() for split in SIZES} == published


def test_the_same_in_another_process_with_another_hash_seed(drawn: dict[str, list[Task]]) -> None:
    program = """
from cmat_gym.envs.alfworld.generator import BuiltinHouseTasks
tasks = BuiltinHouseTasks()
print([tasks.split(name).manifest(60) for name in ("train", "dev", "test")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    tasks = BuiltinHouseTasks()
    assert done.stdout.strip() == str([tasks.split(name).manifest(60) for name in SIZES])


def test_no_goal_and_no_room_is_in_two_splits(drawn: dict[str, list[Task]]) -> None:
    seen: dict[object, str] = {}
    for split, found in drawn.items():
        for task in found:
            goal = parse_problem(task.payload["problem"]).goal
            assert seen.setdefault(goal, split) == split, goal
            assert seen.setdefault(layout_of(task), split) == split, task.id
            assert goal_split(goal.task_type, goal.object_type[:-4], goal.receptacle_type[:-4]) == split
    for split, found in drawn.items():
        assert len({layout_of(task) for task in found}) > COUNT / 3, f"{split} has few rooms"
        assert len({task.content_hash() for task in found}) == COUNT


@pytest.mark.parametrize("split", SIZES)
def test_every_kind_of_task_room_and_level_occurs(drawn: dict[str, list[Task]], split: str) -> None:
    payloads: list[Any] = [task.payload for task in drawn[split]]
    kinds = Counter(payload["task_type"] for payload in payloads)
    assert set(kinds) == set(TASK_TYPES)
    assert min(kinds.values()) > COUNT / 12
    assert {payload["room"] for payload in payloads} == set(rooms())
    levels = Counter(payload["level"] for payload in payloads)
    assert levels[1] > levels[2] > levels[3] > COUNT / 10
    assert all(parse_problem(p["problem"]).goal.task_type == p["task_type"] for p in payloads)


def test_no_task_is_done_before_it_begins_and_all_are_short_to_read(drawn: dict[str, list[Task]]) -> None:
    for task in (task for found in drawn.values() for task in found):
        game = game_of(task)
        assert not goal_holds(Wish.of(game), game, game.initial)
        opening = game.opening(task.payload["sentence"])
        assert opening.endswith(task.instruction)
        assert len(opening.split()) < 120
        assert 5 <= len(game.receptacles) <= 17
        assert game.here[game.initial.at] == ()


def test_things_are_where_such_things_belong(drawn: dict[str, list[Task]]) -> None:
    """And a thing that is asked for is never at such a place already."""
    for task in drawn["train"]:
        game, room = game_of(task), rooms()[task.payload["room"]]
        kind_of = {number: kind[:-4] for kind, mask in game.kinds.items() for number in bits(mask)}
        place_of = {number: kind[:-4] for kind, mask in game.place_kinds.items() for number in bits(mask)}
        wish = Wish.of(game)
        for place, contents in enumerate(game.initial.contents):
            for thing in bits(contents):
                assert kind_of[thing] == "desklamp" or place_of[place] in room.things[kind_of[thing]].places
                assert not (wish.things >> thing & 1 and place in wish.places)


def test_hints_are_true(drawn: dict[str, list[Task]]) -> None:
    exact, kinds = 0, 0
    for task in (task for found in drawn.values() for task in found):
        game = game_of(task)
        told = re.findall(r"(?:The|One|another) ?(\w*) (?:is )?(?:on|in) (\w+ \d+)", task.instruction)
        assert bool(told) == (task.payload["level"] == 1)
        wanted = parse_problem(task.payload["problem"]).goal.object_type[:-4]
        for thing, place in told:
            mask = game.kinds[f"{thing or wanted}type"]
            assert game.initial.contents[game.receptacle_names.index(place)] & mask
            exact += 1
        hint = re.search(r"Look for the (\w+) (?:on|in) a (\w+)\.", task.instruction)
        assert (hint is not None) == (task.payload["level"] == 2)
        if hint:
            places = bits(game.place_kinds[f"{hint[2]}type"])
            assert any(game.initial.contents[place] & game.kinds[f"{hint[1]}type"] for place in places)
            kinds += 1
    assert exact > 500
    assert kinds > 300


def test_other_seeds_are_other_houses_with_other_names() -> None:
    one, other = BuiltinHouseTasks(), BuiltinHouseTasks(1)
    assert one.name != other.name
    assert one.make("train", 0).content_hash() != other.make("train", 0).content_hash()
    with pytest.raises(UsageError, match="-1"):
        BuiltinHouseTasks(-1)


def test_tables_are_consistent() -> None:
    """Every place a thing may be at is one the room can have, or the thing could never be there."""
    for room in rooms().values():
        for kind, entry in room.things.items():
            assert set(entry.places) <= set(room.places), (room.name, kind)
        assert set(room.places) >= {kind for kind, (least, _) in room.places.items() if least}
    used = {place for room in rooms().values() for entry in room.things.values() for place in entry.places}
    assert used >= {place for room in rooms().values() for place in room.places} - {"towelholder"}
