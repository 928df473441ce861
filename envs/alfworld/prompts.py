"""Every string of the household that an agent reads.

The sentences of the game itself are the original's, to the byte, in both of its versions (see `Dialect`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# The game's own sentences ---------------------------------------------------------------------------------------------

WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
OPENING = f"{WELCOME}\n\n{{room}}\n\n{{task}}"
TASK = "Your task is to: "
ROOM = "You are in the middle of a room. Looking quickly around you, you see {things}."
LOOK = "You are facing the {places}. Next to it, you see {floor}."
ARRIVE = "You arrive at {place}. {view}"
OPEN = "You open the {place}. {view}"
CLOSE = "You close the {place}."
VIEW_OPEN = "The {place} is open. In it, you see {things}."
VIEW_CLOSED = "The {place} is closed."
VIEW_ON = "On the {place}, you see {things}."
TAKE = "You pick up the {thing} from the {place}."
PLACE = {"move": "You move the {thing} to the {place}.", "put": "You put the {thing} in/on the {place}."}
TREAT = "You {verb} the {thing} using the {place}."
USE = "You turn on the {thing}."
SLICE = "You sliced the {thing} with the {knife}."
CARRYING = "You are carrying: a {thing}."
EMPTY_HANDED = "You are not carrying anything."
CONTAINER = "This is a normal {thing}. In it, you see {things}."
STATE = "This is a {state} {thing}."
TURNED_ON = "This {thing} is on."
NOTHING_SPECIAL = "There's nothing special about {thing}."
NOTHING_HAPPENS = "Nothing happens."
HELP = """\
Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def listing(names: Sequence[str], article: str = "a ") -> str:
    """Things in a row, the way the game lists them: with a comma before the `and`, also between two."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return f"{article}{names[0]}"
    return article + f", {article}".join(names[:-1]) + f", and {article}{names[-1]}"


# Around the game ------------------------------------------------------------------------------------------------------

AVAILABLE = "AVAILABLE ACTIONS: "


def with_commands(observation: str, commands: Iterable[str]) -> str:
    """An observation with the commands that are possible now."""
    return f"{observation}\n{AVAILABLE}{', '.join(commands)}"


_TASK = """\
You are in a room of a house and do a chore: find a thing, perhaps clean, heat, cool or light it, and bring it to its \
place. Things stand on or lie in numbered places (`shelf 2`). You carry one thing at a time, see what is at a place \
when you are there, and must open what is closed. Clean at a sinkbasin, heat with a microwave, cool with a fridge, \
light with a lamp that you use while you hold the thing. The task ends when the goal is reached; you have a limited \
number of turns.
Commands: go to (place); open (place); close (place); take (thing) from (place); {place}; \
clean, heat or cool (thing) with (place); use (lamp); slice (thing) with (knife); examine (place or thing); look; \
inventory."""
_PLACE = {"move": "move (thing) to (place)", "put": "put (thing) in/on (place)"}
_EITHER = "move (thing) to (place), or in some games put (thing) in/on (place)"

_TEXT_FORM = """\
Answer with one command, spelled as above with names and numbers from the text. You may think first, on a line that \
starts with 'Thought:'; the command then follows on a line that starts with 'Action:'."""
_TOOLS_FORM = """\
Answer with one function call, as a JSON object {"name": "take_action", "arguments": {"action": a command}}."""


def system_prompt(protocol: str, place: str | None) -> str:
    """The rules, in a protocol; `place` names the version of the game where it is known."""
    form = _TOOLS_FORM if protocol == "tools" else _TEXT_FORM
    return f"{_TASK.format(place=_PLACE[place] if place else _EITHER)}\n{form}"


TAKE_ACTION_TOOL = "Carry out one command in the house."
TAKE_ACTION_ACTION = "The command, such as: go to shelf 1"

# Why a command is refused. Nothing here tells more than the agent could see.
UNKNOWN_COMMAND = "'{action}' is no command of this house."
NO_ACTION = "no command was given."
NOT_HERE = "'{action}' needs you to be at the {place}."
ALREADY_HERE = "you are at the {place} already."
IS_CLOSED = "the {place} is closed."
IS_OPEN = "the {place} is open already."
CANNOT_OPEN = "the {place} cannot be opened or closed."
HANDS_FULL = "you are carrying a {thing} already."
NOT_HELD = "you are not carrying a {thing}."
NO_SUCH_THING = "there is no {name} to be seen here."
NO_SUCH_PLACE = "there is no {name} in this room."
DOES_NOT_BELONG = "a {thing} cannot be put there."
NOT_POSSIBLE = "'{action}' is not possible here and now."
OTHER_GRAMMAR = {
    "move": "in this house things are put down with: move (thing) to (place).",
    "put": "in this house things are put down with: put (thing) in/on (place).",
}


def shorten(text: str) -> str:
    """An agent's own words, cut to what fits a line."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:60]}…"


# What the expert thinks, twelve words at most: the chain of thought of supervised data.
THINK_FETCH = "The {thing} should be at {place}, so I go there."
THINK_OPEN = "The {place} is closed, so I open it."
THINK_TAKE = "Here is the {thing} that I need."
THINK_PUT_AWAY = "I do not need the {thing}, so I put it down."
THINK_GO_PUT_AWAY = "I put the {thing} down at {place} first."
THINK_TREAT = {
    "clean": "The task wants it clean, so I clean it here.",
    "heat": "The task wants it hot, so I heat it here.",
    "cool": "The task wants it cool, so I cool it here.",
}
THINK_GO_TREAT = {
    "clean": "The {thing} must be clean, and {place} can do that.",
    "heat": "The {thing} must be hot, and {place} can do that.",
    "cool": "The {thing} must be cool, and {place} can do that.",
}
THINK_BRING = "The {thing} belongs at {place}."
THINK_PLACE = "This is the place for the {thing}."
THINK_LAMP = "The lamp is at {place}, so I bring it there."
THINK_USE = "I have the thing in hand, so I turn on the lamp."
THINK_STUCK = "I see no way to do this, so I look around."

# AgentBench's evaluation ----------------------------------------------------------------------------------------------

AGENTBENCH_OPENING = "Here is your task. {observation}"
AGENTBENCH_ACTIONS = f"{{observation}} {AVAILABLE}{{commands}}\n"
AGENTBENCH_NO_CALL = "No executable tool calls found. Please call a tool instead"
AGENTBENCH_NO_ACTION = "There is no line 'ACTION: ...', so the episode ends."
AGENTBENCH_REPEATED = "The same answer came three times in a row, so the episode ends."

_AGENTBENCH_RULES = """\
Work in a household to reach a goal. First you are told what is around you and what the goal is; then, turn after \
turn, you choose one of the available actions and are told what came of it. "Nothing happened" means that the action \
was not valid. The same answer three times in a row ends the attempt."""
AGENTBENCH_TEXT_PROMPT = f"""{_AGENTBENCH_RULES}
Answer in this form:
THOUGHT: what you think (may be left out)
ACTION: one of the available actions"""
AGENTBENCH_TOOLS_PROMPT = f"""{_AGENTBENCH_RULES}
Answer by calling take_action with one of the available actions."""

# Task sentences of the builtin houses ---------------------------------------------------------------------------------

TASK_SENTENCES = {
    "pick_and_place_simple": (
        "put a {thing} {on} {place}.",
        "put some {thing} {on} {place}.",
        "find a {thing} and put it {on} {place}.",
    ),
    "pick_two_obj_and_place": ("put two {thing} {on} {place}.", "find two {thing} and put them {on} {place}."),
    "pick_clean_then_place_in_recep": (
        "put a clean {thing} {on} {place}.",
        "clean some {thing} and put it {on} {place}.",
    ),
    "pick_heat_then_place_in_recep": ("put a hot {thing} {on} {place}.", "heat some {thing} and put it {on} {place}."),
    "pick_cool_then_place_in_recep": ("put a cool {thing} {on} {place}.", "cool some {thing} and put it {on} {place}."),
    "look_at_obj_in_light": ("look at {thing} under the {place}.", "examine the {thing} with the {place}."),
}
HINT_EXACT = "The {thing} is {on} {place}."
HINT_BOTH = "One {thing} is {on} {place}, another {other_on} {other_place}."
HINT_KIND = "Look for the {thing} {on} a {place}."
