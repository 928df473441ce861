"""Tasks of the builtin houses: rooms of our own, furnished at random from tables of what belongs where.

Three levels, mixed in every split. Level 1: a small room, and the task says where the thing is. Level 2: a bigger room,
and the task names the kind of place. Level 3: a full room, and not a word: the agent must search where such things
usually are. Splits never meet: one content hash gives every layout of a room to a split, another one every goal (type
of task, thing and place), and a split has the tasks for which both hashes name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.alfworld import prompts
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
                    goal = HouseGoal(room.name, kind, thing, place)
                    if goal_split(kind, thing, place) == split and _source_places(goal):
                        goals[kind].append(goal)
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
    avoid = _HOLDS_ONE if task_type == "pick_two_obj_and_place" else {_APPLIANCE.get(verb)}
    return [place for place in entry.places if place not in avoid]


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
    room, sources = rooms()[goal.room], _source_places(goal)
    lamp_places = [place for place in room.places if place in room.lamp_places]
    while True:
        lamp_place = dice.pick(lamp_places) if goal.place == LAMP else ""
        needed = [lamp_place or goal.place, dice.weighted(sources)]
        if goal.treatment:
            needed.append(_APPLIANCE[goal.treatment])
        layout = draw_layout(room, level, needed, dice)
        if layout_split(layout) == split:
            # A second one of the wanted kind would make the hints of the lower levels ambiguous.
            spare = level == max(LEVELS) and dice.chance(0.3)
            wanted = (2 if goal.task_type == "pick_two_obj_and_place" else 1) + spare
            items = furnish(room, layout, level, (goal.thing, wanted, sources), lamp_place, dice)
            return _House(goal, level, layout, items)


def _source_places(goal: HouseGoal) -> dict[str, int]:
    """Kinds of places the wanted thing may start at: not where it must go, and not in the fridge to be cooled."""
    avoid = {goal.place, _APPLIANCE["cool"]} if goal.treatment == "cool" else {goal.place}
    weights = rooms()[goal.room].things[goal.thing].places
    return {place: weight for place, weight in weights.items() if place not in avoid}


def _sentence(house: _House, dice: Dice) -> str:
    """The task in words, with what the level tells."""
    goal = house.goal
    words = dice.pick(prompts.TASK_SENTENCES[goal.task_type])
    task = words.format(thing=goal.thing, on=on_or_in(goal.place), place=goal.place)
    return " ".join([task, *_hints(house)])


def _hints(house: _House) -> list[str]:
    """Where the wanted things are: exactly on the first level, by the kind of place on the second."""
    names, thing = house.layout.names(), house.goal.thing
    found = [item for item in house.items if item.kind in (thing, house.goal.place)]  # a lamp is a place to go to
    on = [on_or_in(item.place_kind) for item in found]
    if house.level == 2:
        return [prompts.HINT_KIND.format(thing=thing, on=on[0], place=found[0].place_kind)]
    if house.level == 3:
        return []
    places = [names[item.place] for item in found]
    if house.goal.task_type == "pick_two_obj_and_place":
        other = {"other_on": on[1], "other_place": places[1]}
        return [prompts.HINT_BOTH.format(thing=thing, on=on[0], place=places[0], **other)]
    return [
        prompts.HINT_EXACT.format(thing=item.kind, on=on[number], place=places[number])
        for number, item in enumerate(found)
    ]


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
