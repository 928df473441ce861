"""The simulated house: what can be done in a state, what it leads to, and what the agent reads.

Knows no gym and no reward. States are immutable (game.py), so going back is keeping one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cmat_gym.envs.alfworld import prompts
from cmat_gym.envs.alfworld.game import House, State, bits
from cmat_gym.envs.alfworld.pddl import parse_problem
from cmat_gym.envs.alfworld.records import Dialect, Problem

__all__ = ["ALFWorldBackend", "Action", "Situation", "State", "Step", "bits", "open_game"]

CACHED_SITUATIONS = 512  # per game; a long episode in a big kitchen meets fewer
CACHED_GAMES = 64


class Action(NamedTuple):
    """A command that is possible: a verb, and the things and places it is about by number."""

    verb: str
    thing: int = -1
    place: int = -1


class Situation(NamedTuple):
    """What can be done now: the commands in the original's order, and what each of them means."""

    commands: tuple[str, ...]
    actions: Mapping[str, Action]


class Step(NamedTuple):
    """Where a command led, and what the agent reads."""

    state: State
    observation: str


class ALFWorldBackend(House):
    """One game. Immutable after construction, apart from a cache; share it between all environments of a process.

    Args:
        problem: Facts and goal.
        dialect: The wording.

    Raises:
        TaskError: The facts do not make a house.
    """

    def __init__(self, problem: Problem, dialect: Dialect) -> None:
        super().__init__(problem, dialect)
        self._situations: dict[tuple[int, ...], Situation] = {}
        ways = ((f"go to {name}", Action("go", place=place)) for place, name in enumerate(self.receptacle_names))
        self._ways = tuple(sorted(way for way in ways if self.where[way[1].place] >= 0))

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: all but the cache."""
        return {**self.__dict__, "_situations": {}}

    # Acting -----------------------------------------------------------------------------------------------------------

    def situation(self, state: State) -> Situation:
        """What can be done in a state. Remembered by what it depends on: the place, what is in it, and the hands."""
        at, held, contents = state.at, state.held, state.contents
        here = self.here[at]
        sliceable = state.located[at] if held >= 0 and self.knives >> held & 1 else 0
        key = (at, held, state.opened & self.here_masks[at], sliceable, *[contents[place] for place in here])
        situation = self._situations.get(key)
        if situation is None:
            if len(self._situations) >= CACHED_SITUATIONS:
                self._situations.clear()
            situation = self._situations[key] = self._list_actions(state, here, sliceable)
        return situation

    def act(self, state: State, command: str) -> Step | None:
        """Carry out a command; None, and nothing happens, where it is not possible."""
        action = self.situation(state).actions.get(command)
        return None if action is None else self.apply(state, action)

    def apply(self, state: State, action: Action) -> Step:
        """Carry out an action that the situation lists."""
        verb, thing, place = action
        names, places = self.object_names, self.receptacle_names
        match verb:
            case "go":
                after = state._replace(at=self.where[place])
                goal = self.location_names[after.at] if self.dialect.arrive_at_location else places[place]
                return Step(after, prompts.ARRIVE.format(place=goal, view=self.view(after, place)))
            case "take":
                return Step(
                    self._take(state, thing, place), prompts.TAKE.format(thing=names[thing], place=places[place])
                )
            case "place":
                sentence = prompts.PLACE[self.dialect.place]
                return Step(self._place(state, thing, place), sentence.format(thing=names[thing], place=places[place]))
            case "open":
                after = state._replace(opened=state.opened | 1 << place)
                return Step(after, prompts.OPEN.format(place=places[place], view=self.view(after, place)))
            case "close":
                after = state._replace(opened=state.opened & ~(1 << place))
                return Step(after, prompts.CLOSE.format(place=places[place]))
            case "clean" | "heat" | "cool":
                text = prompts.TREAT.format(verb=verb, thing=names[thing], place=places[place])
                return Step(_treat(state, verb, 1 << thing), text)
            case "use":
                after = state._replace(toggled=state.toggled | 1 << thing)
                return Step(after, prompts.USE.format(thing=names[thing]))
            case "slice":
                text = prompts.SLICE.format(thing=names[thing], knife=names[state.held])
                return Step(state._replace(sliced=state.sliced | 1 << thing), text)
            case "examine":
                return Step(state, self.view(state, place) if place >= 0 else self._examine(state, thing))
            case "look":
                return Step(state, self.look(state))
            case "inventory":
                held = prompts.CARRYING.format(thing=names[state.held]) if state.held >= 0 else prompts.EMPTY_HANDED
                return Step(state, held)
            case _:
                return Step(state, prompts.HELP)

    def _take(self, state: State, thing: int, place: int) -> State:
        mask = 1 << thing
        return state._replace(
            held=thing,
            contents=_set(state.contents, place, state.contents[place] & ~mask),
            located=_set(state.located, state.at, state.located[state.at] & ~mask),
            taken=_set(state.taken, place, state.taken[place] | mask),
        )

    def _place(self, state: State, thing: int, place: int) -> State:
        mask = 1 << thing
        return state._replace(
            held=-1,
            contents=_set(state.contents, place, state.contents[place] | mask),
            located=_set(state.located, state.at, state.located[state.at] | mask),
            taken=_set(state.taken, place, state.taken[place] & ~mask),
        )

    # Listing ----------------------------------------------------------------------------------------------------------

    def _list_actions(self, state: State, here: tuple[int, ...], sliceable: int) -> Situation:
        """All that is possible now. The groups stand in the order of the alphabet, and so do the commands in each."""
        groups: dict[str, dict[str, Action]] = {verb: {} for verb in ("clean", "close", "cool", "examine", "heat")}
        groups |= {verb: {} for verb in ("open", "place", "slice", "take", "use")}
        names, held = self.object_names, state.held
        for place in here:
            name = self.receptacle_names[place]
            groups["examine"][f"examine {name}"] = Action("examine", place=place)
            openable = self.openable >> place & 1
            accessible = not openable or state.opened >> place & 1
            if openable:
                verb = "close" if state.opened >> place & 1 else "open"
                groups[verb][f"{verb} {name}"] = Action(verb, place=place)
            for thing in bits(state.contents[place] & self.flags["toggleable"]):
                groups["use"][f"use {names[thing]}"] = Action("use", thing)
            if held < 0:
                if accessible:
                    for thing in bits(state.contents[place] & self.flags["pickupable"]):
                        groups["take"][f"take {names[thing]} from {name}"] = Action("take", thing, place)
                continue
            if accessible and self.accepts[place] >> held & 1:
                preposition = "to" if self.dialect.place == "move" else "in/on"
                command = f"{self.dialect.place} {names[held]} {preposition} {name}"
                groups["place"][command] = Action("place", held, place)
            for verb in ("clean", "heat", "cool"):
                if self.treats[verb] >> place & 1 and self.treatable[verb] >> held & 1:
                    groups[verb][f"{verb} {names[held]} with {name}"] = Action(verb, held, place)
        if held >= 0:
            groups["examine"][f"examine {names[held]}"] = Action("examine", held)
        for thing in bits(sliceable & self.flags["sliceable"]):
            groups["slice"][f"slice {names[thing]} with {names[held]}"] = Action("slice", thing)
        # `move` sorts before `open`, and `put` after it.
        placing = ("place", "open") if self.dialect.place == "move" else ("open", "place")
        actions = _sorted(groups, "clean", "close", "cool", "examine")
        actions.update(way for way in self._ways if self.where[way[1].place] != state.at)
        actions |= _sorted(groups, "heat")
        if self.dialect.help:
            actions["help"] = Action("help")
        actions |= {"inventory": Action("inventory"), "look": Action("look")}
        actions |= _sorted(groups, *placing, "slice", "take", "use")
        return Situation(tuple(actions), actions)

    # Showing ----------------------------------------------------------------------------------------------------------

    def opening(self, sentence: str) -> str:
        """What the agent reads first; `sentence` says what to do."""
        placed = [name for name, where in zip(self.receptacle_names, self.where, strict=True) if where >= 0]
        # In the one case in which a game starts at a receptacle, the opening shows that one, as `look` does.
        room = (
            self.look(self.initial)
            if self.here[self.initial.at]
            else prompts.ROOM.format(things=prompts.listing(placed))
        )
        return prompts.OPENING.format(room=room, task=sentence)

    def view(self, state: State, place: int) -> str:
        """What is in or on a receptacle, as far as it can be seen."""
        name = self.receptacle_names[place]
        if self.openable >> place & 1 and not state.opened >> place & 1:
            return prompts.VIEW_CLOSED.format(place=name)
        things = prompts.listing([self.object_names[thing] for thing in bits(state.contents[place])])
        sentence = prompts.VIEW_OPEN if self.openable >> place & 1 else prompts.VIEW_ON
        return sentence.format(place=name, things=things)

    def look(self, state: State) -> str:
        """The receptacles here, and what was taken out of them and lies beside them."""
        here = self.here[state.at]
        if not here:
            return prompts.ROOM.format(things="nothing")
        located = state.located[state.at]
        floor = sorted((thing, place) for place in here for thing in bits(located & state.taken[place]))
        return prompts.LOOK.format(
            places=prompts.listing([self.receptacle_names[place] for place in here], article=""),
            floor=prompts.listing([self.object_names[thing] for thing, _ in floor]),
        )

    def _examine(self, state: State, thing: int) -> str:
        name, mask = self.object_names[thing], 1 << thing
        if self.flags["isreceptacleobject"] & mask:
            inner = [self.object_names[number] for number in bits(self.inner[thing])]
            return prompts.CONTAINER.format(thing=name, things=prompts.listing(inner))
        words = _state_words(state, mask)
        if words:
            return prompts.STATE.format(state=words, thing=name)
        if self.flags["toggleable"] & state.toggled & mask:
            return prompts.TURNED_ON.format(thing=name)
        if self.flags["sliceable"] & state.sliced & mask:
            return prompts.STATE.format(state="sliced", thing=name)
        return prompts.NOTHING_SPECIAL.format(thing=name)


def _state_words(state: State, mask: int) -> str:
    """`hot and clean sliced` and the like: the first of the original's list that applies."""
    clean, hot, cool = state.clean & mask, state.hot & mask, state.cool & mask
    warmth = "hot" if hot else "cool" if cool else ""
    if state.sliced & mask and (clean or warmth):
        return f"{warmth} and clean sliced" if clean and warmth else f"{warmth or 'clean'} sliced"
    if clean and warmth:
        return f"{warmth} and clean"
    return "hot" if hot else "clean" if clean else "cold" if cool else ""


def _treat(state: State, verb: str, mask: int) -> State:
    if verb == "clean":
        return state._replace(clean=state.clean | mask)
    if verb == "heat":
        return state._replace(hot=state.hot | mask, cool=state.cool & ~mask)
    return state._replace(cool=state.cool | mask, hot=state.hot & ~mask)


def _sorted(groups: Mapping[str, Mapping[str, Action]], *names: str) -> dict[str, Action]:
    return {command: groups[name][command] for name in names for command in sorted(groups[name])}


def _set(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


@lru_cache(maxsize=CACHED_GAMES)
def open_game(problem: str, dialect: Dialect) -> ALFWorldBackend:
    """The compiled game of a problem; environments that play the same game share it.

    Raises:
        TaskError: The problem cannot be read.
    """
    return ALFWorldBackend(parse_problem(problem), dialect)
