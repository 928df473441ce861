"""Whether the goal holds: a pure function of the game's goal and a state. There is no partial credit."""

from __future__ import annotations

from typing import NamedTuple

from cmat_gym.core.task import Score
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, State, bits

__all__ = ["Wish", "goal_holds", "score_alfworld"]


class Wish(NamedTuple):
    """A goal in the numbers of one game.

    Attributes:
        things: Objects that are wanted (mask).
        places: Receptacles they may go to; none for looking at something in light.
        lamps: Lamps that may light it (mask); 0 for the other goals.
        number: How many things must be in one place.
        treatment: `clean`, `heat`, `cool` or the empty string.
    """

    things: int
    places: tuple[int, ...]
    lamps: int
    number: int
    treatment: str

    @classmethod
    def of(cls, game: ALFWorldBackend) -> Wish:
        """The wish of a game."""
        goal = game.goal
        things = game.kinds.get(goal.object_type, 0)
        for flag in goal.needs:
            things &= game.flags[flag]
        if goal.task_type == "look_at_obj_in_light":
            lamps = game.kinds.get(goal.receptacle_type, 0) & game.flags["toggleable"]
            return cls(things, (), lamps, 1, "")
        places = tuple(bits(game.place_kinds.get(goal.receptacle_type, 0)))
        return cls(things, places, 0, goal.number, goal.treatment)

    def treated(self, state: State) -> int:
        """The wanted things that are in the wanted state (mask)."""
        match self.treatment:
            case "clean":
                return self.things & state.clean
            case "heat":
                return self.things & state.hot
            case "cool":
                return self.things & state.cool
            case _:
                return self.things


def goal_holds(wish: Wish, game: ALFWorldBackend, state: State) -> bool:
    """Whether a state reaches the goal."""
    if wish.lamps:
        lit = wish.lamps & state.toggled
        if state.held < 0 or not wish.things >> state.held & 1 or not lit:
            return False
        return any(state.contents[place] & lit for place in game.here[state.at])
    ready = wish.treated(state)
    if not ready:
        return False
    contents = state.contents
    if wish.number == 1:
        return any(contents[place] & ready for place in wish.places)
    return any((contents[place] & ready).bit_count() >= wish.number for place in wish.places)


def score_alfworld(wish: Wish, game: ALFWorldBackend, state: State) -> Score:
    """1 where the goal holds, else 0; the details say what was played, for tables by type of task."""
    won = goal_holds(wish, game, state)
    return Score(float(won), won, {"task_type": game.goal.task_type, "grammar": game.dialect.name})
