"""The household's expert: wins everywhere, in exactly the number of actions it announces, and no way is shorter."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator
from statistics import median

import pytest
from alfworld_kitchen import KITCHEN

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, open_game
from cmat_gym.envs.alfworld.expert import ALFWorldExpert
from cmat_gym.envs.alfworld.game import State
from cmat_gym.envs.alfworld.generator import MAX_TURNS, BuiltinHouseTasks
from cmat_gym.envs.alfworld.official import OfficialHouseTasks
from cmat_gym.envs.alfworld.records import DIALECTS, TASK_TYPES, Dialect
from cmat_gym.envs.alfworld.scorer import goal_holds

COUNTS = {"train": 500, "dev": 500, "test": 500}


def builtin(split: str, index: int, grammar: str = "move") -> ALFWorldBackend:
    return open_game(BuiltinHouseTasks().make(split, index).payload["problem"], DIALECTS[grammar])


def wander(game: ALFWorldBackend, expert: ALFWorldExpert, turns: int, rng: random.Random) -> Iterator[State]:
    """The states of a walk that likes to meddle, and now and then follows the expert."""
    state = game.initial
    for _ in range(turns):
        yield state
        commands = game.situation(state).commands
        acting = [c for c in commands if not c.startswith(("go ", "look", "inventory", "help", "examine"))]
        going = [c for c in commands if c.startswith("go ")]
        draw = rng.random()
        if draw < 0.3:
            command = expert.next_command(state)
        else:
            command = rng.choice(acting if acting and draw < 0.72 else going or list(commands))
        step = game.act(state, command)
        assert step is not None
        if goal_holds(expert.wish, game, step.state):
            return
        state = step.state


def check_bellman(game: ALFWorldBackend, turns: int, rng: random.Random) -> tuple[int, int]:
    """cost(s) = 1 + the least cost(s') over all actions, in every state of a walk; returns states, and hopeless ones.

    As a cost of 0 means the goal and nothing else, this is what makes the cost the length of a shortest plan.
    """
    expert = ALFWorldExpert(game)
    states = hopeless = 0
    for state in wander(game, expert, turns, rng):
        cost = expert.cost_to_go(state)
        after = [game.apply(state, action).state for action in game.situation(state).actions.values()]
        assert cost == 1 + min(map(expert.cost_to_go, after)), (expert.plan(state), state)
        states, hopeless = states + 1, hopeless + math.isinf(cost)
    return states, hopeless


@pytest.mark.parametrize("split", COUNTS)
def test_wins_every_builtin_task_as_announced(split: str) -> None:
    lengths = []
    for index in range(COUNTS[split]):
        game = builtin(split, index, "put" if index % 2 else "move")
        expert = ALFWorldExpert(game)
        plan = expert.plan(game.initial)
        assert plan is not None
        state = game.initial
        for number, command in enumerate(plan.commands):
            assert not goal_holds(expert.wish, game, state)
            assert expert.cost_to_go(state) == len(plan.commands) - number
            step = game.act(state, command)
            assert step is not None
            state = step.state
        assert goal_holds(expert.wish, game, state)
        assert expert.cost_to_go(state) == 0
        lengths.append(len(plan.commands))
    assert min(lengths) >= 3
    assert 5 <= median(lengths) <= 7
    assert max(lengths) <= MAX_TURNS / 2


def test_no_way_is_shorter_in_builtin_houses() -> None:
    rng = random.Random(1)
    checked = [check_bellman(builtin("train", index), 20, rng) for index in range(120)]
    assert sum(states for states, _ in checked) > 1500


def test_no_way_is_shorter_in_published_games(published: OfficialHouseTasks) -> None:
    rng = random.Random(2)
    checked = []
    for split, size in published.sizes().items():
        for index in range(0, size, 9):
            payload = published.make(split, index).payload
            game = open_game(payload["problem"], Dialect.from_json(payload["grammar"]))
            checked.append(check_bellman(game, 15, rng))
    assert sum(states for states, _ in checked) > 300


def breadth_first(game: ALFWorldBackend, limit: int = 12_000) -> int | None:
    """The length of a shortest plan, by trying everything that changes the state."""
    expert = ALFWorldExpert(game)
    seen = {game.initial}
    queue = deque([(game.initial, 0)])
    while queue and len(seen) < limit:
        state, depth = queue.popleft()
        if goal_holds(expert.wish, game, state):
            return depth
        for action in game.situation(state).actions.values():
            after = game.apply(state, action).state
            if after not in seen:
                seen.add(after)
                queue.append((after, depth + 1))
    return None


def test_breadth_first_search_finds_nothing_shorter() -> None:
    """An independent proof on the smallest rooms, without any knowledge of errands."""
    proved = set()
    for index in range(300):
        task = BuiltinHouseTasks().make("train", index)
        game = open_game(task.payload["problem"], DIALECTS["move"])
        if len(game.objects) * len(game.receptacles) <= 32:
            length = breadth_first(game)
            if length is not None:
                assert ALFWorldExpert(game).cost_to_go(game.initial) == length, task.instruction
                proved.add((task.payload["task_type"], index))
    assert len(proved) >= 8
    assert {kind for kind, _ in proved} >= set(TASK_TYPES) - {"pick_two_obj_and_place"}


def test_thoughts_are_short_and_come_in_every_kind() -> None:
    thoughts = set()
    rng = random.Random(3)
    for index in range(150):
        game = builtin("train", index)
        expert = ALFWorldExpert(game)
        for state in wander(game, expert, 25, rng):
            thoughts.add(expert.thought(state))
    assert all(1 <= len(thought.split()) <= 12 and thought.endswith(".") for thought in thoughts)
    for part in ("should be at", "is closed, so I open", "Here is the", "put it down", "clean it here", "hot", "cool",
                 "belongs at", "This is the place", "The lamp is at", "turn on the lamp"):  # fmt: skip
        assert any(part in thought for thought in thoughts), part


def test_where_nothing_helps_the_cost_is_infinite() -> None:
    wanted = "(inReceptacle ?o ?r) (objectType ?o {0}) (receptacleType ?r {1})"
    goal = f"(exists (?r - receptacle) (exists (?o - object) (and {wanted})))"
    for thing, place in (("CupType", "FridgeType"), ("PlateType", "FridgeType"), ("AppleType", "SafeType")):
        game = open_game(KITCHEN.replace("{goal}", goal.format(thing, place)), DIALECTS["move"])
        expert = ALFWorldExpert(game)
        assert expert.cost_to_go(game.initial) == math.inf
        assert (expert.next_command(game.initial), expert.thought(game.initial)) == (
            "look",
            "I see no way to do this, so I look around.",
        )


def test_at_the_goal_there_is_nothing_left_to_do() -> None:
    game = builtin("dev", 0)
    expert = ALFWorldExpert(game)
    state = game.initial
    while expert.cost_to_go(state):
        step = game.act(state, expert.next_command(state))
        assert step is not None
        state = step.state
    with pytest.raises(UsageError, match="nothing left to do"):
        expert.next_command(state)
