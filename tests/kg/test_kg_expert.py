"""The oracle: from any state a way that works, as long as it says, and no shorter one where all can be tried."""

from __future__ import annotations

import math
from collections import deque

import gymnasium as gym
import numpy as np
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import play_expert, walk
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError
from cmat_gym.envs.kg.backend import GraphBackend
from cmat_gym.envs.kg.env import KGEnv
from cmat_gym.envs.kg.expert import KGExpert
from cmat_gym.envs.kg.generator import BuiltinKGTasks
from cmat_gym.envs.kg.programs import parse_program
from cmat_gym.envs.kg.tools import MAX_VARIABLES, Session, Toolbox

KG = "cmat/KG-v0"


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_it_solves_every_question_within_the_turns(backend: GraphBackend, split: str) -> None:
    """The gold chain scores 1.0, at the first try, and takes at most the 15 turns that the agent has."""
    env = KGEnv(split=split)
    longest = 0
    for index in range(250):
        env.reset(options={"task": index})
        cost = env.cost_to_go()
        transcript = play_expert(env)
        last = transcript[-1]
        assert (last.info["score"], last.info["success"], last.terminated) == (1.0, True, True)
        assert len(transcript) == cost
        longest = max(longest, len(transcript))
    assert 9 <= longest <= 15


def test_it_recovers_from_wherever_a_walk_leads() -> None:
    """Each move brings the end one turn nearer, whatever came before; with no variable left it says so."""
    rng = np.random.default_rng(0)
    env = gym.make(KG, split="dev", memory=None, max_turns=100)
    lost = 0
    for index in range(40):
        env.reset(seed=0, options={"task": index})
        walk(env, int(rng.integers(2, 30)), rng, to_end=False)
        world = base_env(env)
        cost = world.cost_to_go()
        if math.isinf(cost):
            lost += 1
            continue
        while cost > 0:
            _, reward, terminated, _, info = env.step(world.expert_action())
            cost -= 1
            assert info["valid_action"]
            assert world.cost_to_go() == cost
        assert (reward, terminated) == (1.0, True)
    assert lost < 10


def test_no_way_is_shorter(backend: GraphBackend) -> None:
    """Breadth-first search over everything the world offers finds no shorter way on the short questions."""
    tasks = BuiltinKGTasks(backend)
    toolbox = Toolbox(backend)
    tried = 0
    for index in range(200):
        question = tasks.question("dev", index)
        expert = KGExpert(question.program, frozenset(question.answer), backend, question.entities)
        cost = expert.cost_to_go(Session())
        if cost > 4:
            continue
        assert _shortest(toolbox, expert, question.entities, int(cost)) == cost, question.text
        tried += 1
    assert tried >= 50


def _shortest(toolbox: Toolbox, expert: KGExpert, entities: dict[str, str], limit: int) -> int | None:
    queue: deque[tuple[Session, int]] = deque([(Session(), 0)])
    while queue:
        session, depth = queue.popleft()
        if any(expert.is_right(variable.program) for variable in session.variables):
            return depth + 1
        if depth + 1 >= limit:
            continue
        for group in toolbox.choices(session, entities):
            for move in group.moves():
                if move.tool != "final_answer":
                    queue.append((toolbox.run(session, move.tool, move.arguments, entities).session, depth + 1))
    return None


def test_any_variable_that_is_right_ends_it() -> None:
    """Also one that came about in another way than the gold program."""
    env = KGEnv(split="dev")
    for index in range(100):
        env.reset(options={"task": index})
        if env.task.payload["shape"] == "both hop1 hop1":
            break
    program = parse_program(env.task.payload["program"])
    names = {identity: name for name, identity in env.task.payload["entities"].items()}
    for part in reversed(program.parts):  # the other way round: (AND b a)
        start = names[part.parts[0].name]
        env.step(f"get_relations({start})")
        env.step(f"get_neighbors({start}, {part.name})")
    env.step("intersection(#0, #1)")
    env.step("count(#2)")
    assert env.session.variables[2].program != program
    assert (env.cost_to_go(), env.expert_action()) == (1, "Final Answer: #2")


def test_without_room_for_variables_it_is_lost() -> None:
    """It says so, and ends the episode with what there is."""
    env = KGEnv(split="dev", max_turns=200)
    env.reset(options={"task": 8})
    assert env.task.payload["level"] == 4
    env.step(env.expert_action())
    env.step(env.expert_action())
    while len(env.session.variables) < MAX_VARIABLES - 1:
        assert env.step("count(#0)")[4]["valid_action"]
    assert env.cost_to_go() == math.inf
    env.step("count(#0)")
    assert env.cost_to_go() == math.inf
    assert env.expert_action() == "Final Answer: #0"
    assert env.expert_thought() == "I give what I have."


def test_wrong_answers_cost_everything_and_right_ones_nothing() -> None:
    env = KGEnv(split="dev")
    env.reset(options={"task": 0})
    while env.cost_to_go() > 1:
        env.step(env.expert_action())
    env.step("count(#0)")
    before = env.snapshot()
    env.step("Final Answer: #1")
    assert env.cost_to_go() == math.inf
    env.restore(before)
    env.step("Final Answer: #0")
    assert env.cost_to_go() == 0
    with pytest.raises(UsageError, match="answer is given"):
        env.expert_action()


def test_a_program_that_the_tools_refuse_is_never_promised(backend: GraphBackend) -> None:
    """Gold chains of AgentBench intersect unlike types now and then: the way on is a guess, its price infinite."""
    chad = next(
        backend.graph.id(int(n)) for n in backend.graph.members("geo.country") if backend.graph.name(n) == "Chad"
    )
    for text in (
        f"(AND (JOIN (R geo.country.capital) {chad}) (JOIN (R geo.country.continent) {chad}))",
        f"(JOIN (R no.such.relation) {chad})",
        f"(ARGMAX (JOIN (R geo.country.capital) {chad}) no.such.attribute)",
    ):
        program = parse_program(text)
        expert = KGExpert(program, frozenset(["m.gold"]), backend, {"Chad": chad})
        assert expert.cost_to_go(Session()) == math.inf
        assert expert.next_move(Session()).tool == "get_relations"


def test_a_class_around_the_program_is_no_hindrance(backend: GraphBackend) -> None:
    """Gold programs may restrict the type, which no tool can: the part without the class is the way, if it is right."""
    chad = next(
        backend.graph.id(int(n)) for n in backend.graph.members("geo.country") if backend.graph.name(n) == "Chad"
    )
    program = parse_program(f"(AND geo.city (JOIN (R geo.country.capital) {chad}))")
    assert KGExpert(program, backend.answer(program), backend, {"Chad": chad}).cost_to_go(Session()) == 3


def test_thoughts_are_short_sentences() -> None:
    env = KGEnv(split="train")
    seen = set()
    for index in range(100):
        env.reset(options={"task": index})
        while env.session.answer is None:
            thought = env.expert_thought()
            assert thought.endswith(".")
            assert "\n" not in thought
            words = thought
            for name in env.task.payload["entities"]:
                words = words.replace(name, "X")
            assert len(words.split()) <= 12
            seen.add(thought.split()[0])
            env.step(env.expert_action())
    assert len(seen) >= 5
