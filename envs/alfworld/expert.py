"""The oracle of the household: from any state, a shortest way to the goal.

A plan is a few errands (put away what is in the hands, fetch, treat, deliver), and an errand is at most three actions:
go there, open it, do it. Every place is one action from every other, so the length of a plan depends only on which
errands share a location and which doors are open; trying the errands that can differ in that finds an optimum without
a search. tests/alfworld proves it against the Bellman equation, over all actions of random states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.alfworld import prompts
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, State, bits
from cmat_gym.envs.alfworld.scorer import Wish, goal_holds

__all__ = ["ALFWorldExpert", "Errand", "Plan"]

Source = tuple[int, int]  # a wanted thing, and a receptacle it can be taken from


class Errand(NamedTuple):
    """One thing to do at one place: `drop`, `take`, `place`, `clean`, `heat`, `cool`, `use`, or just to `be` there."""

    kind: str
    thing: int
    place: int

    @property
    def needs_access(self) -> bool:
        """Whether the place must be open."""
        return self.kind in ("drop", "take", "place")


class Plan(NamedTuple):
    """The commands from here to the goal, and the errand the first of them belongs to."""

    commands: tuple[str, ...]
    errand: Errand | None

    @property
    def cost(self) -> float:
        """How many actions are left."""
        return len(self.commands)


class ALFWorldExpert:
    """Solves one game. It keeps no state of the episode: every answer is a function of the state asked about."""

    def __init__(self, game: ALFWorldBackend, wish: Wish | None = None) -> None:
        self.game = game
        self.wish = wish or Wish.of(game)
        self._order = sorted(range(len(game.receptacles)), key=lambda place: _natural(game.receptacle_names[place]))
        self._last: tuple[State, Plan | None] | None = None

    # Answers ----------------------------------------------------------------------------------------------------------

    def plan(self, state: State) -> Plan | None:
        """A shortest plan, empty at the goal; None where the goal cannot be reached."""
        if self._last is None or self._last[0] != state:
            self._last = (state, self._find_plan(state))
        return self._last[1]

    def next_command(self, state: State) -> str:
        """The first command of a shortest plan; `look` where there is none.

        Raises:
            UsageError: The goal is reached.
        """
        plan = self.plan(state)
        if plan is None:
            return "look"
        if not plan.commands:
            raise UsageError("The goal is reached: there is nothing left to do")
        return plan.commands[0]

    def cost_to_go(self, state: State) -> float:
        """Number of actions from here to the goal; infinity where it cannot be reached."""
        plan = self.plan(state)
        return math.inf if plan is None else plan.cost

    def thought(self, state: State) -> str:
        """One short sentence on why the next command is right.

        Raises:
            UsageError: The goal is reached.
        """
        verb = self.next_command(state).partition(" ")[0]
        plan = self.plan(state)
        if plan is None or plan.errand is None:
            return prompts.THINK_STUCK
        kind, thing, place = plan.errand
        words = {"thing": self.game.object_names[thing].partition(" ")[0], "place": self.game.receptacle_names[place]}
        if verb == "open":
            return prompts.THINK_OPEN.format(**words)
        going = verb == "go"
        if kind in prompts.THINK_TREAT:
            return (prompts.THINK_GO_TREAT if going else prompts.THINK_TREAT)[kind].format(**words)
        go, act = {
            "drop": (prompts.THINK_GO_PUT_AWAY, prompts.THINK_PUT_AWAY),
            "take": (prompts.THINK_FETCH, prompts.THINK_TAKE),
            "place": (prompts.THINK_BRING, prompts.THINK_PLACE),
            "use": (prompts.THINK_LAMP, prompts.THINK_USE),
            "be": (prompts.THINK_LAMP, prompts.THINK_USE),
        }[kind]
        return (go if going else act).format(**words)

    # Choosing ---------------------------------------------------------------------------------------------------------

    def _find_plan(self, state: State) -> Plan | None:
        if goal_holds(self.wish, self.game, state):
            return Plan((), None)
        best: tuple[Errand, ...] | None = None
        shortest = math.inf
        for errands in self._candidates(state):
            length = self._length(state, errands)
            if length < shortest:
                best, shortest = errands, length
        return None if best is None else self._write(state, best)

    def _length(self, state: State, errands: tuple[Errand, ...]) -> int:
        """How many actions the errands take."""
        where, at, opened, length = self.game.where, state.at, state.opened, 0
        for errand in errands:
            place = errand.place
            if where[place] != at:
                at = where[place]
                length += 1
            if errand.needs_access and self.game.openable >> place & 1 and not opened >> place & 1:
                opened |= 1 << place
                length += 1
            length += errand.kind != "be"
        return length

    def _candidates(self, state: State) -> Iterator[tuple[Errand, ...]]:
        """Series of errands that reach the goal, one of the shortest among them."""
        held = state.held
        sources = self._sources(state)
        if held >= 0 and self.wish.things >> held & 1:
            yield from self._from_hand(state, held, sources)
        for thing, place in sources:
            if thing != held:
                fetch = Errand("take", thing, place)
                for rest in self._after_taking(state, thing, place, sources):
                    if held < 0:
                        yield (fetch, *rest)
                    else:
                        later = [errand.place for errand in (fetch, *rest)]
                        for spot in self._spots(state, held, later):
                            yield (Errand("drop", held, spot), fetch, *rest)

    def _sources(self, state: State) -> list[Source]:
        """Wanted things that can be taken, and where, in the order of the names of the places."""
        wanted = self.wish.things & self.game.flags["pickupable"]
        found = []
        for place in self._order:
            if (here := state.contents[place] & wanted) and self.game.where[place] >= 0:
                found += [(thing, place) for thing in reversed(bits(here))]  # the lowest number first
        return found

    def _from_hand(self, state: State, thing: int, sources: list[Source]) -> Iterator[tuple[Errand, ...]]:
        """On from holding a wanted thing."""
        if self.wish.number == 2:
            for place in self._targets(state, thing, sources):
                deliver = Errand("place", thing, place)
                if self._there(state, place):
                    yield (deliver,)
                else:
                    for other, source in sources:
                        if other != thing:
                            yield (deliver, Errand("take", other, source), Errand("place", other, place))
            return
        yield from self._finish(state, thing, -1, sources)

    def _after_taking(
        self, state: State, thing: int, source: int, sources: list[Source]
    ) -> Iterator[tuple[Errand, ...]]:
        """On from having taken a wanted thing out of a receptacle."""
        if self.wish.number == 1:
            yield from self._finish(state, thing, source, sources)
            return
        for place in self._targets(state, thing, sources):
            if state.contents[place] >> thing & 1:
                continue  # it counts there already
            deliver = Errand("place", thing, place)
            if self._there(state, place):
                yield (deliver,)
                continue
            for other, where in sources:
                if other != thing:
                    yield (deliver, Errand("take", other, where), Errand("place", other, place))

    def _finish(self, state: State, thing: int, source: int, sources: list[Source]) -> Iterator[tuple[Errand, ...]]:
        """On from having the one thing in hand: light it, or treat it if need be and deliver it."""
        wish, game = self.wish, self.game
        if wish.lamps:
            for place in self._order:
                for lamp in bits(state.contents[place] & wish.lamps):
                    if game.where[place] >= 0 and lamp != thing:
                        kind = "be" if state.toggled >> lamp & 1 else "use"
                        yield (Errand(kind, thing if kind == "be" else lamp, place),)
            return
        untreated = wish.treatment and not wish.treated(state) >> thing & 1
        # A thing can be in two receptacles at once in some published games: then it need not be delivered.
        delivered = any(state.contents[place] >> thing & 1 for place in wish.places if place != source)
        if not untreated:
            for place in self._targets(state, thing, sources):
                if place != source:
                    yield (Errand("place", thing, place),)
            return
        if not game.treatable[wish.treatment] >> thing & 1:
            return
        for appliance in bits(game.treats[wish.treatment]):
            if game.where[appliance] < 0:
                continue
            treat = Errand(wish.treatment, thing, appliance)
            if delivered:
                yield (treat,)
                continue
            for place in self._targets(state, thing, sources):
                yield (treat, Errand("place", thing, place))

    def _there(self, state: State, place: int) -> int:
        """How many of the wanted things a place has."""
        return (state.contents[place] & self.wish.things).bit_count()

    def _targets(self, state: State, thing: int, sources: list[Source]) -> Iterator[int]:
        """Places to deliver to. Of those that differ in nothing that counts, only the first."""
        game, wish = self.game, self.wish
        near = {state.at, *(game.where[source] for _, source in sources)}
        if wish.treatment:
            near |= {game.where[appliance] for appliance in bits(game.treats[wish.treatment])}
        seen: set[tuple[bool, bool]] = set()
        places = set(wish.places)
        for place in self._order:
            if place not in places or game.where[place] < 0 or not game.accepts[place] >> thing & 1:
                continue
            if game.where[place] not in near and not self._there(state, place):
                closed = bool(game.openable & ~state.opened & 1 << place)
                takes_held = state.held < 0 or bool(game.accepts[place] >> state.held & 1)
                if (closed, takes_held) in seen:
                    continue
                seen.add((closed, takes_held))
            yield place

    def _spots(self, state: State, held: int, later: Iterable[int]) -> Iterator[int]:
        """Places to put away what is in the hands: nearest first, then the ones that later errands go to anyway."""
        game = self.game
        locations = [state.at, *(game.where[place] for place in later)]
        spots: dict[int, None] = {}
        for location in locations:
            for place in game.here[location]:
                if game.accepts[place] >> held & 1:
                    spots[place] = None
        elsewhere = [place for place in self._order if game.where[place] >= 0 and game.accepts[place] >> held & 1]
        closed = game.openable & ~state.opened
        for spot in (next((p for p in elsewhere if not closed >> p & 1), None), next(iter(elsewhere), None)):
            if spot is not None:
                spots[spot] = None
        yield from spots

    # Writing ----------------------------------------------------------------------------------------------------------

    def _write(self, state: State, errands: tuple[Errand, ...]) -> Plan:
        """The errands as commands."""
        game, at, opened = self.game, state.at, state.opened
        commands: list[str] = []
        first: Errand | None = None
        for errand in errands:
            kind, thing, place = errand
            name, thing_name = game.receptacle_names[place], game.object_names[thing]
            if game.where[place] != at:
                at = game.where[place]
                commands.append(f"go to {name}")
            if errand.needs_access and game.openable >> place & 1 and not opened >> place & 1:
                opened |= 1 << place
                commands.append(f"open {name}")
            if kind == "take":
                commands.append(f"take {thing_name} from {name}")
            elif kind in ("drop", "place"):
                preposition = "to" if game.dialect.place == "move" else "in/on"
                commands.append(f"{game.dialect.place} {thing_name} {preposition} {name}")
            elif kind == "use":
                commands.append(f"use {thing_name}")
            elif kind != "be":
                commands.append(f"{kind} {thing_name} with {name}")
            first = first or (errand if commands else None)
        return Plan(tuple(commands), first)


def _natural(name: str) -> tuple[str, int]:
    """`drawer 2` before `drawer 10`."""
    base, _, number = name.rpartition(" ")
    return base, int(number) if number.isascii() and number.isdigit() else 0
