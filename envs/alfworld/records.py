"""What a household game is made of: its facts, its goal, and the wording it is played in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["DIALECTS", "TASK_TYPES", "Dialect", "Goal", "Problem"]

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)


class Dialect(NamedTuple):
    """In which points the published versions of the game differ.

    Attributes:
        place: How things are put down: `move` (`move x to y`) or `put` (`put x in/on y`).
        arrive_at_location: Whether arriving names the numbered location instead of the receptacle.
        help: Whether the command `help` exists.
        sinks: Receptacle types that clean.
    """

    place: str
    arrive_at_location: bool
    help: bool
    sinks: tuple[str, ...]

    @property
    def name(self) -> str:
        """`move` or `put` for the two published versions, with a star for a mixture of them."""
        return self.place if DIALECTS[self.place] == self else f"{self.place}*"

    def to_json(self) -> dict[str, Any]:
        """The dialect as a JSON-able dict."""
        return {**self._asdict(), "sinks": list(self.sinks)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Dialect:
        """The inverse of `to_json`."""
        return cls(**{**data, "sinks": tuple(data["sinks"])})


DIALECTS: Mapping[str, Dialect] = {
    "move": Dialect("move", False, True, ("sinktype", "sinkbasintype")),
    "put": Dialect("put", True, False, ("sinkbasintype",)),
}
"""`move`: the game files of 2024 and later. `put`: AgentBench's own logic files, and ALFWorld's before."""


class Goal(NamedTuple):
    """What must hold at the end; one of six forms.

    Attributes:
        task_type: One of `TASK_TYPES`.
        object_type: Type of the wanted thing.
        receptacle_type: Type of the place it goes to; of the lamp for `look_at_obj_in_light`.
        needs: Lasting properties the goal asks of the thing as well (`cleanable`, …).
    """

    task_type: str
    object_type: str
    receptacle_type: str
    needs: frozenset[str] = frozenset()

    @property
    def number(self) -> int:
        """How many things must be in one place."""
        return 2 if self.task_type == "pick_two_obj_and_place" else 1

    @property
    def treatment(self) -> str:
        """`clean`, `heat`, `cool`, or the empty string."""
        verb = self.task_type.split("_")[1]
        return verb if verb in ("clean", "heat", "cool") else ""


class Problem(NamedTuple):
    """A parsed problem: initial facts by predicate, all ids that occur in them (sorted), and the goal."""

    facts: Mapping[str, tuple[tuple[str, ...], ...]]
    ids: tuple[str, ...]
    goal: Goal
