"""Why a command is not possible, told from what the agent can see, so that a mistake teaches without giving away."""

from __future__ import annotations

import re

from cmat_gym.envs.alfworld import prompts
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, State

__all__ = ["explain"]

_FORMS = (
    re.compile(r"(?P<verb>go) to (?P<place>.+)"),
    re.compile(r"(?P<verb>open|close) (?P<place>.+)"),
    re.compile(r"(?P<verb>take) (?P<thing>.+) from (?P<place>.+)"),
    re.compile(r"(?P<verb>move) (?P<thing>.+) to (?P<place>.+)"),
    re.compile(r"(?P<verb>put) (?P<thing>.+) in/on (?P<place>.+)"),
    re.compile(r"(?P<verb>clean|heat|cool) (?P<thing>.+) with (?P<place>.+)"),
    re.compile(r"(?P<verb>use|examine|slice) (?P<thing>.+)"),
)


def explain(game: ALFWorldBackend, state: State, action: str) -> str:
    """One sentence on why `action`, which is not possible in `state`, is not."""
    shown = prompts.shorten(action)
    if not shown:
        return prompts.NO_ACTION
    found = next((match for form in _FORMS if (match := form.fullmatch(action))), None)
    if found is None:
        return prompts.UNKNOWN_COMMAND.format(action=shown)
    verb, words = found["verb"], found.groupdict()
    if verb in ("move", "put") and verb != game.dialect.place:
        return prompts.OTHER_GRAMMAR[game.dialect.place]
    thing, name = words.get("thing", ""), words.get("place", "")
    if not name:
        return _about_thing(game, state, verb, thing, shown)
    return _about_place(game, state, verb, thing, name, shown)


def _about_thing(game: ALFWorldBackend, state: State, verb: str, thing: str, shown: str) -> str:
    if verb == "examine" and thing in game.receptacle_names:
        return prompts.NOT_HERE.format(action=shown, place=thing)
    if verb == "examine":
        return prompts.NOT_HELD.format(thing=prompts.shorten(thing))
    return prompts.NOT_POSSIBLE.format(action=shown)


def _about_place(game: ALFWorldBackend, state: State, verb: str, thing: str, name: str, shown: str) -> str:
    short, item = prompts.shorten(name), prompts.shorten(thing)
    if name not in game.receptacle_names:
        return prompts.NO_SUCH_PLACE.format(name=short)
    place = game.receptacle_names.index(name)
    if verb == "go":
        return prompts.ALREADY_HERE.format(place=short)
    if game.where[place] != state.at:
        return prompts.NOT_HERE.format(action=shown, place=short)
    openable, opened = game.openable >> place & 1, state.opened >> place & 1
    if verb in ("open", "close"):
        if not openable:
            return prompts.CANNOT_OPEN.format(place=short)
        return (prompts.IS_OPEN if opened else prompts.IS_CLOSED).format(place=short)
    if verb == "take":
        if state.held >= 0:
            return prompts.HANDS_FULL.format(thing=game.object_names[state.held])
        if openable and not opened:
            return prompts.IS_CLOSED.format(place=short)
        here = {game.object_names[number] for number in game.things_in(state, place)}
        return prompts.NOT_POSSIBLE.format(action=shown) if thing in here else prompts.NO_SUCH_THING.format(name=item)
    if state.held < 0 or game.object_names[state.held] != thing:
        return prompts.NOT_HELD.format(thing=item)
    if verb != game.dialect.place:
        return prompts.NOT_POSSIBLE.format(action=shown)
    if openable and not opened:
        return prompts.IS_CLOSED.format(place=short)
    return prompts.DOES_NOT_BELONG.format(thing=item)
