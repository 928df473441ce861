"""A house in numbers: what never changes in a game, compiled from its facts, and the state that does change.

Sets of objects and receptacles are bit masks; bit order is the order of their ids, in which the original lists things.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias, cast

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.alfworld.records import Dialect, Goal, Problem

__all__ = ["House", "State", "bits", "names_of"]

Facts: TypeAlias = Mapping[str, tuple[tuple[str, ...], ...]]

FLAGS = ("pickupable", "cleanable", "heatable", "coolable", "toggleable", "sliceable", "isreceptacleobject")
_APPLIANCES = {"heat": ("microwavetype",), "cool": ("fridgetype",)}
_KNIVES = ("knifetype", "butterknifetype")


class State(NamedTuple):
    """All there is to know about one moment. Equal states have the same future.

    Attributes:
        at: Location of the agent.
        held: Object in the agent's hands, or -1.
        opened: Open receptacles (mask).
        clean, hot, cool, toggled, sliced: Objects in that state (masks).
        contents: Objects in each receptacle (masks).
        located: Objects at each location (masks); counts for slicing and for what lies beside a receptacle.
        taken: Objects that were taken out of each receptacle and not put back (masks).
    """

    at: int
    held: int
    opened: int
    clean: int
    hot: int
    cool: int
    toggled: int
    sliced: int
    contents: tuple[int, ...]
    located: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def sets(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The fields that hold one mask per place."""
        return self.contents, self.located, self.taken


class House:
    """The tables of one game.

    Args:
        problem: Facts and goal.
        dialect: The wording.

    Raises:
        TaskError: The facts do not make a house.
    """

    def __init__(self, problem: Problem, dialect: Dialect) -> None:
        self.dialect = dialect
        self.goal: Goal = problem.goal
        self.names = names_of(problem.ids)
        self._number(problem.facts)
        self._type(problem.facts)
        self.initial = self._initial_state(problem.facts)

    def _number(self, facts: Facts) -> None:
        """Number objects, receptacles and locations in the order of their ids."""
        receptacle_at = pairs(facts, "receptacleatlocation")
        receptacles = {r for r, _ in receptacle_at} | {r for r, _ in pairs(facts, "receptacletype")}
        inside = pairs(facts, "inreceptacle")
        receptacles |= {r for _, r in inside}
        at = pairs(facts, "atlocation")
        object_at = pairs(facts, "objectatlocation")
        objects = {o for o, _ in (*inside, *object_at, *pairs(facts, "objecttype"))}
        objects |= {o for _, o in pairs(facts, "holds")}
        locations = {place for _, place in (*receptacle_at, *at, *object_at)}
        if len(at) != 1:
            raise TaskError(f"The game must start with one agent at one location, not {len(at)}")
        if len({r for r, _ in receptacle_at}) != len(set(receptacle_at)):
            raise TaskError("A receptacle of the game is at two locations")
        self.objects = tuple(sorted(objects))
        self.receptacles = tuple(sorted(receptacles))
        self.locations = tuple(sorted(locations))
        self._object = {name: number for number, name in enumerate(self.objects)}
        self._receptacle = {name: number for number, name in enumerate(self.receptacles)}
        self._location = {name: number for number, name in enumerate(self.locations)}
        self.object_names = tuple(self.names[name] for name in self.objects)
        self.receptacle_names = tuple(self.names[name] for name in self.receptacles)
        self.location_names = tuple(self.names[name] for name in self.locations)
        where = [-1] * len(receptacles)
        here: list[list[int]] = [[] for _ in self.locations]
        for name, place in sorted(set(receptacle_at)):
            where[self._receptacle[name]] = self._location[place]
            here[self._location[place]].append(self._receptacle[name])
        self.where = tuple(where)
        self.here = tuple(tuple(numbers) for numbers in here)
        self.here_masks = tuple(sum(1 << number for number in numbers) for numbers in here)

    def _type(self, facts: Facts) -> None:
        """What kinds of things there are, and what can be done with them."""
        kinds: dict[str, int] = {}
        for name, kind in pairs(facts, "objecttype"):
            kinds[kind] = kinds.get(kind, 0) | 1 << self._object[name]
        self.kinds: Mapping[str, int] = kinds
        places: dict[str, int] = {}
        for name, kind in pairs(facts, "receptacletype"):
            places[kind] = places.get(kind, 0) | 1 << self._receptacle[name]
        self.place_kinds: Mapping[str, int] = places
        self.accepts = self._acceptance(facts)
        self.flags = {flag: self._mask(facts, flag) for flag in FLAGS}
        self.openable = sum({1 << self._receptacle[r] for (r,) in singles(facts, "openable") if r in self._receptacle})
        treats = {"clean": self.dialect.sinks, **_APPLIANCES}
        self.treats = {verb: _union(places, kinds_) for verb, kinds_ in treats.items()}
        self.treatable = {verb: self.flags[f"{verb}able"] for verb in treats}
        self.knives = _union(kinds, _KNIVES)
        inner = [0] * len(self.objects)
        for thing, outer in pairs(facts, "inreceptacleobject"):
            if thing in self._object and outer in self._object:
                inner[self._object[outer]] |= 1 << self._object[thing]
        self.inner = tuple(inner)

    def _acceptance(self, facts: Facts) -> tuple[int, ...]:
        """The objects that may be put into each receptacle (masks)."""
        by_kind = dict.fromkeys(self.place_kinds, 0)
        for place_kind, kind in pairs(facts, "cancontain"):
            if place_kind in by_kind:
                by_kind[place_kind] |= self.kinds.get(kind, 0)
        accepts = [0] * len(self.receptacles)
        for place_kind, mask in self.place_kinds.items():
            for number in bits(mask):
                accepts[number] |= by_kind[place_kind]
        return tuple(accepts)

    def _initial_state(self, facts: Facts) -> State:
        contents = [0] * len(self.receptacles)
        for thing, place in pairs(facts, "inreceptacle"):
            contents[self._receptacle[place]] |= 1 << self._object[thing]
        located = [0] * len(self.locations)
        for thing, place in pairs(facts, "objectatlocation"):
            located[self._location[place]] |= 1 << self._object[thing]
        held = {thing for _, thing in pairs(facts, "holds")}
        if len(held) > 1:
            raise TaskError(f"The agent starts with {len(held)} things in hand, and can hold one")
        return State(
            at=self._location[pairs(facts, "atlocation")[0][1]],
            held=self._object[held.pop()] if held else -1,
            opened=sum({1 << self._receptacle[r] for (r,) in singles(facts, "opened") if r in self._receptacle}),
            clean=self._mask(facts, "isclean"),
            hot=self._mask(facts, "ishot"),
            cool=self._mask(facts, "iscool"),
            toggled=self._mask(facts, "istoggled"),
            sliced=self._mask(facts, "issliced"),
            contents=tuple(contents),
            located=tuple(located),
            taken=(0,) * len(self.receptacles),
        )

    def _mask(self, facts: Facts, predicate: str) -> int:
        return sum({1 << self._object[name] for (name,) in singles(facts, predicate) if name in self._object})

    def things_in(self, state: State, place: int) -> list[int]:
        """The objects in or on a receptacle."""
        return bits(state.contents[place])

    def translate(self, command: str) -> str:
        """A command in which things may stand by their raw ids, with the names the game shows instead."""
        words = command.split()
        return " ".join(self.names.get(word.lower(), word).strip() for word in words)


def _union(masks: Mapping[str, int], kinds: Iterable[str]) -> int:
    union = 0
    for kind in kinds:
        union |= masks.get(kind, 0)
    return union


def bits(mask: int) -> list[int]:
    """The numbers of the bits that are set, from the lowest."""
    numbers = []
    while mask:
        low = mask & -mask
        numbers.append(low.bit_length() - 1)
        mask ^= low
    return numbers


def pairs(facts: Facts, name: str) -> tuple[tuple[str, str], ...]:
    """The facts of a predicate with two arguments.

    Raises:
        TaskError: One of them has another number of arguments.
    """
    found = facts.get(name, ())
    if not set(map(len, found)) <= {2}:
        raise TaskError(f"The fact ({name} …) takes two arguments")
    return cast("tuple[tuple[str, str], ...]", found)


def singles(facts: Facts, name: str) -> tuple[tuple[str], ...]:
    """The facts of a predicate with one argument.

    Raises:
        TaskError: One of them has another number of arguments.
    """
    found = facts.get(name, ())
    if not set(map(len, found)) <= {1}:
        raise TaskError(f"The fact ({name} …) takes one argument")
    return cast("tuple[tuple[str], ...]", found)


def names_of(ids: Iterable[str]) -> dict[str, str]:
    """The names the game shows for raw ids: per base name, the first id in order gets the highest number."""
    ids = sorted(ids)
    bases: dict[str, str | None] = {}
    for name in ids:
        base, bar, _ = name.partition("_bar_")
        bases[name] = (base + "basin" if "basin" in name else base) if bar else None
    left = Counter(base for base in bases.values() if base is not None)
    names = {}
    for name in ids:
        base_name = bases[name]
        if base_name is None:
            names[name] = f"{name} "
        else:
            names[name] = f"{base_name} {left[base_name]}"
            left[base_name] -= 1
    return names
