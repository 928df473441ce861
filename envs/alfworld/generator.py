"""Tasks of the builtin houses: rooms of our own, furnished at random from tables of what belongs where.

Three levels, mixed in every split. Level 1: a small room, and the task says where the thing is. Level 2: a bigger room,
and the task names the kind of place. Level 3: a full room, and not a word: the agent must search where such things
usually are. Splits never meet: one content hash gives every layout of a room to a split, another one every goal (type
of task, thing and place), and a split has the tasks for which both hashes name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.alfworld import prompts
from cmat_gym.envs.alfworld.dice import Dice
from cmat_gym.envs.alfworld.records import DIALECTS, TASK_TYPES
from cmat_gym.envs.alfworld.rooms import Item, Layout, draw_layout, furnish, on_or_in, rooms, write_problem

__all__ = ["MAX_TURNS", "BuiltinHouseTasks", "goal_split", "layout_split"]

MAX_TURNS = 30
SIZES = {"train": 2**31, "dev": 500, "test": 500}
LEVELS = (1, 1, 1, 1, 1, 2, 2, 2, 3, 3)  # half of the tasks are of the first level, a fifth of the last
LAMP = "desklamp"
_BUCKETS = ("dev", "test", *["train"] * 6)
_APPLIANCE = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_HOLDS_ONE = frozenset({"coffeemachine", "toiletpaperhanger", "toaster"})


# Goals and splits -----------------------------------------------------------------------------------------------------


class HouseGoal(NamedTuple):
    """What a task asks for: in which room, what kind of task, with which thing and which place (or lamp)."""

    room: str
    task_type: str
    thing: str
    place: str

    @property
    def treatment(self) -> str:
        """`clean`, `heat`, `cool` or the empty string."""
        verb = self.task_type.split("_")[1]
        return verb if verb in _APPLIANCE else ""


def goal_split(task_type: str, thing: str, place: str) -> str:
    """The only split in which anybody asks for this, in whatever room."""
    return _BUCKETS[int(content_hash([task_type, thing, place])[:8], 16) % len(_BUCKETS)]


def layout_split(layout: Layout) -> str:
    """The only split that has a room with these places, these doors open and these places side by side."""
    return _BUCKETS[int(content_hash(layout.to_json())[:8], 16) % len(_BUCKETS)]


@lru_cache(maxsize=3)
def _goals(split: str) -> Mapping[str, tuple[HouseGoal, ...]]:
    """The goals of a split by type of task."""
    goals: dict[str, list[HouseGoal]] = {kind: [] for kind in TASK_TYPES}
    for room in rooms().values():
        for thing, entry in room.things.items():
            if "fixed" in entry.properties:
                continue
            for kind in TASK_TYPES:
                for place in _goal_places(kind, thing, room.name):
                    if goal_split(kind, thing, place) == split:
                        goals[kind].append(HouseGoal(room.name, kind, thing, place))
    return {kind: tuple(found) for kind, found in goals.items()}


def _goal_places(task_type: str, thing: str, room_name: str) -> list[str]:
    """Where a thing of a room may be asked for."""
    room = rooms()[room_name]
    entry = room.things[thing]
    if task_type == "look_at_obj_in_light":
        return [LAMP] if room_name in ("bedroom", "livingroom") else []
    verb = task_type.split("_")[1]
    if verb in _APPLIANCE and (verb not in entry.properties or _APPLIANCE[verb] not in room.places):
        return []
    places = [place for place in entry.places if place != _APPLIANCE.get(verb)]
    if task_type == "pick_two_obj_and_place":
        places = [place for place in places if place not in _HOLDS_ONE]
    return places if len(entry.places) > 1 else []


# Tasks ----------------------------------------------------------------------------------------------------------------


class _House(NamedTuple):
    goal: HouseGoal
    level: int
    layout: Layout
    items: list[Item]


def _draw_house(split: str, dice: Dice) -> _House:
    """A goal of the split, then rooms until one is of the split too, then the things in it."""
    level = dice.pick(LEVELS)
    by_type = {kind: found for kind, found in _goals(split).items() if found}
    goal = dice.pick(by_type[dice.pick(tuple(by_type))])
    room = rooms()[goal.room]
    while True:
        needed = []
        if goal.task_type == "look_at_obj_in_light":
            lamp_place = dice.pick([place for place in room.places if place in room.lamp_places])
            needed.append(lamp_place)
        else:
            lamp_place = ""
            needed.append(goal.place)
        sources = _source_places(goal, room.places)
        needed.append(dice.weighted(sources))
        if goal.treatment:
            needed.append(_APPLIANCE[goal.treatment])
        layout = draw_layout(room, level, needed, dice)
        if layout_split(layout) == split:
            # A second one of the wanted kind would make the hints of the lower levels ambiguous.
            spare = level == max(LEVELS) and dice.chance(0.3)
            wanted = (2 if goal.task_type == "pick_two_obj_and_place" else 1) + spare
            items = furnish(room, layout, level, (goal.thing, wanted, sources), lamp_place, dice)
            return _House(goal, level, layout, items)


def _source_places(goal: HouseGoal, places: Mapping[str, Any]) -> dict[str, int]:
    """Kinds of places the wanted thing may start at: not where it must go, and not in the fridge to be cooled."""
    avoid = {goal.place, _APPLIANCE["cool"]} if goal.treatment == "cool" else {goal.place}
    weights = rooms()[goal.room].things[goal.thing].places
    found = {place: weight for place, weight in weights.items() if place in places and place not in avoid}
    return found or {place: weight for place, weight in weights.items() if place != goal.place}


def _sentence(house: _House, dice: Dice) -> str:
    """The task in words, with what the level tells."""
    goal, thing = house.goal, house.goal.thing
    words = dice.pick(prompts.TASK_SENTENCES[goal.task_type])
    parts = [words.format(thing=thing, on=on_or_in(goal.place), place=goal.place)]
    found = [item for item in house.items if item.kind == thing]
    lamps = [item for item in house.items if item.kind == LAMP] if goal.place == LAMP else []
    names = house.layout.names()
    if house.level == 1:
        if goal.task_type == "pick_two_obj_and_place":
            one, other = found[0], found[1]
            parts.append(
                prompts.HINT_BOTH.format(
                    thing=thing,
                    on=on_or_in(one.place_kind),
                    place=names[one.place],
                    other_on=on_or_in(other.place_kind),
                    other_place=names[other.place],
                )
            )
            return " ".join(parts)
        for item in (*found[:1], *lamps[:1]):
            parts.append(
                prompts.HINT_EXACT.format(thing=item.kind, on=on_or_in(item.place_kind), place=names[item.place])
            )
    if house.level == 2:
        kind = found[0].place_kind
        parts.append(prompts.HINT_KIND.format(thing=thing, on=on_or_in(kind), place=kind))
    return " ".join(parts)


class BuiltinHouseTasks(TaskSource):
    """Procedural chores: a practically endless `train` split, and panels of 500 for `dev` and `test`.

    Task `i` of a split is a pure function of (seed, split, i).

    Args:
        seed: Of the rooms and goals.

    Raises:
        UsageError: The seed is negative.
    """

    domain = "alfworld"

    def __init__(self, seed: int = 0) -> None:
        if seed < 0:
            raise UsageError(f"The seed of the builtin houses must be >= 0, got {seed}")
        self.seed = seed
        self.name = "builtin-v0" if seed == 0 else f"builtin-v0-seed{seed}"

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`: the whole problem as PDDL, and the sentence the agent reads."""
        dice = Dice(self.seed, list(SIZES).index(split), index)
        house = _draw_house(split, dice)
        instruction = _sentence(house, dice)
        goal = house.goal
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=instruction,
            payload={
                "problem": write_problem(goal.task_type, goal.thing, goal.place, house.layout, house.items),
                "sentence": prompts.TASK + instruction,
                "grammar": DIALECTS["move"].to_json(),
                "task_type": goal.task_type,
                "room": goal.room,
                "level": house.level,
            },
            max_turns=MAX_TURNS,
        )
