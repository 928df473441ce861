"""Rooms and the things in them: tables of what belongs where, random layouts, and the PDDL problem they make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.alfworld.game import names_of

__all__ = ["Item", "Layout", "Place", "Room", "Thing", "draw_layout", "furnish", "on_or_in", "rooms", "write_problem"]

LAMP = "desklamp"
_PLACES = {1: (5, 7), 2: (8, 11), 3: (12, 17)}  # by level: fewest and most places
_MOST_OF_A_KIND = {1: 2, 2: 4, 3: 8}
_THINGS = {1: (3, 5), 2: (6, 9), 3: (9, 14)}  # kinds of things beside the wanted one
_OPEN = 0.15  # share of the doors and drawers that somebody left open
_SIDE_BY_SIDE = 0.15  # share of the places that can be reached from where the one before them stands
_INSIDE = 0.25  # share of the bowls, mugs and plates with something in them
_FACTS = {
    "clean": "cleanable",
    "heat": "heatable",
    "cool": "coolable",
    "slice": "sliceable",
    "hold": "isReceptacleObject",
}


class Thing(NamedTuple):
    """A kind of thing: what can be done with it, and where it usually is (with weights)."""

    properties: frozenset[str]
    places: Mapping[str, int]


class Room(NamedTuple):
    """A kind of room: fewest and most places of each kind, and the things that belong there."""

    name: str
    places: Mapping[str, tuple[int, int]]
    things: Mapping[str, Thing]
    lamp_places: frozenset[str]


class Place(NamedTuple):
    """A place of a room. Places with equal `spot` are reached from one point."""

    id: str
    kind: str
    spot: int
    open: bool


class Layout(NamedTuple):
    """A furnished room without its things."""

    room: str
    places: tuple[Place, ...]

    def to_json(self) -> list[Any]:
        """The layout as a JSON-able value; equal layouts are equal values."""
        return [self.room, [list(place) for place in self.places]]

    def names(self) -> dict[str, str]:
        """The names the game will show for the places."""
        return names_of(place.id for place in self.places)


class Item(NamedTuple):
    """A thing in a room: its id and kind, the id and kind of the place it is at, and the thing it lies in, if any."""

    id: str
    kind: str
    place: str
    place_kind: str
    inside: str = ""


@lru_cache(maxsize=1)
def _tables() -> tuple[Mapping[str, Room], frozenset[str], frozenset[str]]:
    folder = Path(__file__).parent / "data"
    read = {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("rooms", "places", "things")
    }
    lamp_places = frozenset(read["places"]["lamp_places"])
    found = {}
    for name, room in read["rooms"].items():
        things = {
            kind: Thing(frozenset(entry["is"].split()), entry["in"]) for kind, entry in read["things"][name].items()
        }
        places = {kind: (least, most) for kind, (least, most) in room["places"].items()}
        found[name] = Room(name, places, things, lamp_places)
    return found, frozenset(read["places"]["openable"]), frozenset(read["places"]["on"])


def rooms() -> Mapping[str, Room]:
    """The four kinds of rooms."""
    return _tables()[0]


def on_or_in(place_kind: str) -> str:
    """The preposition for a kind of place."""
    return "on" if place_kind in _tables()[2] else "in"


# Drawing --------------------------------------------------------------------------------------------------------------


def draw_layout(room: Room, level: int, needed: Iterable[str], dice: Dice) -> Layout:
    """Places of a room: the needed kinds, then what such a room has, then more of it until the level's size."""
    counts = dict.fromkeys(needed, 1)
    size = dice.integer(*_PLACES[level])
    musts = [kind for kind, (least, _) in room.places.items() if least and kind not in counts]
    for kind in dice.sample(musts, max(0, size - len(counts))):
        counts[kind] = 1
    while sum(counts.values()) < size:
        limit = _MOST_OF_A_KIND[level]
        more = [kind for kind, (_, most) in room.places.items() if counts.get(kind, 0) < min(most, limit)]
        if not more:
            break
        kind = dice.pick(more)
        counts[kind] = counts.get(kind, 0) + 1
    openable = _tables()[1]
    places: list[Place] = []
    spot = 0
    for kind in sorted(counts):
        for number in range(1, counts[kind] + 1):
            together = level > 1 and bool(places) and places[-1].kind == kind and dice.chance(_SIDE_BY_SIDE)
            spot += not together
            places.append(Place(_place_id(kind, number), kind, spot, kind in openable and dice.chance(_OPEN)))
    return Layout(room.name, tuple(places))


def _place_id(kind: str, number: int) -> str:
    """The raw id; the game shows the part before `_bar_`, and adds `basin` where the id has it anywhere."""
    if kind.endswith("basin"):
        return f"{kind.removesuffix('basin')}_bar_{number:02d}_bar_{kind}"
    return f"{kind}_bar_{number:02d}"


def furnish(
    room: Room,
    layout: Layout,
    level: int,
    wanted: tuple[str, int, Mapping[str, int]],
    lamp_place: str,
    dice: Dice,
) -> list[Item]:
    """Put things into a room: the wanted kind, so many of it, at such places; others where they usually are; a lamp."""
    by_kind: dict[str, list[Place]] = {}
    for place in layout.places:
        by_kind.setdefault(place.kind, []).append(place)
    items: list[Item] = []

    def put(kind: str, count: int, weights: Mapping[str, int]) -> None:
        present = {place: weight for place, weight in weights.items() if place in by_kind}
        for number in range(1, count + 1) if present else ():
            place = dice.pick(by_kind[dice.weighted(present)])
            items.append(Item(f"{kind}_bar_{number:02d}", kind, place.id, place.kind))

    thing, count, sources = wanted
    put(thing, count, sources)
    if lamp_place:
        put(LAMP, 1, {lamp_place: 1})
    others = [kind for kind in room.things if kind != thing]
    for kind in dice.sample(others, dice.integer(*_THINGS[level])):
        put(kind, 1 + dice.chance(0.35), room.things[kind].places)
    return _nest(room, items, dice)


def _nest(room: Room, items: list[Item], dice: Dice) -> list[Item]:
    """Now and then a thing lies in a bowl, mug or plate that is at the same place."""
    outers: dict[str, str] = {}
    nested = []
    for item in items:
        entry = room.things.get(item.kind)
        if entry is not None and "hold" in entry.properties:
            outers.setdefault(item.place, item.id)
        elif entry is not None and "fixed" not in entry.properties and item.place in outers and dice.chance(_INSIDE):
            item = item._replace(inside=outers[item.place])
        nested.append(item)
    return nested


# Writing --------------------------------------------------------------------------------------------------------------


def write_problem(task_type: str, thing: str, place: str, layout: Layout, items: list[Item]) -> str:
    """The PDDL problem of a task, which the original engine reads as well."""
    kinds = sorted({item.kind for item in items})
    place_kinds = sorted({spot.kind for spot in layout.places})
    spots = sorted({spot.spot for spot in layout.places})
    objects = [
        "agent1 - agent",
        " ".join(item.id for item in items) + " - object",
        " ".join(spot.id for spot in layout.places) + " - receptacle",
        " ".join(f"loc_bar_{spot:02d}" for spot in (0, *spots)) + " - location",
        " ".join(f"{kind}type" for kind in kinds) + " - otype",
        " ".join(f"{kind}type" for kind in place_kinds) + " - rtype",
    ]
    facts = ["(atLocation agent1 loc_bar_00)"]
    for spot in layout.places:
        facts.append(f"(receptacleType {spot.id} {spot.kind}type)")
        facts.append(f"(receptacleAtLocation {spot.id} loc_bar_{spot.spot:02d})")
        if spot.kind in _tables()[1]:
            facts.append(f"(openable {spot.id})")
        if spot.open:
            facts.append(f"(opened {spot.id})")
    where = {spot.id: spot.spot for spot in layout.places}
    for item in items:
        facts += _item_facts(layout.room, item, where[item.place])
    allowed = {
        (p, kind)
        for kind in kinds
        for room in rooms().values()
        if kind in room.things
        for p in room.things[kind].places
    }
    facts += [f"(canContain {p}type {kind}type)" for p, kind in sorted(allowed) if p in place_kinds]
    return "\n".join(
        [
            "(define (problem house) (:domain alfred)",
            *_section("objects", objects),
            *_section("init", facts),
            f"(:goal {_goal(task_type, thing, place)}))",
        ]
    )


def _section(name: str, lines: list[str]) -> list[str]:
    return [f"(:{name}", *(f" {line}" for line in lines), ")"]


def _item_facts(room: str, item: Item, spot: int) -> list[str]:
    facts = [
        f"(objectType {item.id} {item.kind}type)",
        f"(inReceptacle {item.id} {item.place})",
        f"(objectAtLocation {item.id} loc_bar_{spot:02d})",
    ]
    if item.kind == LAMP:
        return [*facts, f"(toggleable {item.id})"]
    properties = rooms()[room].things[item.kind].properties
    if "fixed" not in properties:
        facts.append(f"(pickupable {item.id})")
    facts += [f"({_FACTS[name]} {item.id})" for name in sorted(properties & set(_FACTS))]
    if "cool" in properties and item.place_kind == "fridge":
        facts.append(f"(isCool {item.id})")
    if item.inside:
        facts.append(f"(inReceptacleObject {item.id} {item.inside})")
    return facts


def _goal(task_type: str, thing: str, place: str) -> str:
    """The goal in the form that the published games have for the type of task."""
    if task_type == "look_at_obj_in_light":
        return (
            f"(and (exists (?l - object ?r - receptacle ?a - agent ?p - location) (and (objectType ?l {place}type) "
            "(toggleable ?l) (isToggled ?l) (receptacleAtLocation ?r ?p) (atLocation ?a ?p) (inReceptacle ?l ?r))) "
            f"(exists (?o - object ?a - agent) (and (objectType ?o {thing}type) (holds ?a ?o))))"
        )
    where = f"(objectType ?o {thing}type) (receptacleType ?r {place}type) (inReceptacle ?o ?r)"
    if task_type == "pick_two_obj_and_place":
        other = where.replace("?o", "?o2")
        where += f" (exists (?o2 - object) (and (not (= ?o ?o2)) {other}))"
    state = {"clean": "(isClean ?o) ", "heat": "(isHot ?o) ", "cool": "(isCool ?o) "}.get(task_type.split("_")[1], "")
    return f"(exists (?r - receptacle) (exists (?o - object) (and {state}{where})))"
