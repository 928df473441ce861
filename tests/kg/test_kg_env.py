"""The environment as an agent meets it: what it reads, what scores, and attempts to cheat."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import play_expert
from cmat_gym.core.errors import UnknownNameError
from cmat_gym.core.task import Task
from cmat_gym.envs.kg.env import KGEnv
from cmat_gym.envs.kg.programs import parse_program
from cmat_gym.envs.kg.scorer import score_kg

KG = "cmat/KG-v0"
LIVED = "people.person.places_lived"


def task_about(entities: dict[str, str], program: str, answer: list[str]) -> Task:
    payload = {"entities": entities, "program": parse_program(program).text, "answer": answer}
    return Task("kg/towns/dev/0", "kg", "dev", "towns", "where?", payload, 15)


@pytest.fixture
def env() -> KGEnv:
    return KGEnv(split="dev")


# What is read --------------------------------------------------------------------------------------------------------


def test_pages_hold_all_there_is_to_know(towns_path: Path) -> None:
    env = KGEnv(graph=towns_path)
    task = task_about({"Ada": "m.ada", "Ben": "m.ben"}, f"(COUNT (JOIN (R {LIVED}) m.ada))", ["2"])
    head = "Question: where?\nEntities: [Ada, Ben]"
    assert env.reset(options={"task": task})[0] == head
    assert env.step("get_relations(Ben)")[0] == f"{head}\nResult: [{LIVED}, people.person.siblings]"
    assert env.summary() == "2 listed"
    first = f"#0 = get_neighbors(Ben, {LIVED}), location.town"
    said = env.step(f"Thought: his towns\nAction: get_neighbors(Ben, {LIVED})")[0]
    assert said == f"{head}\n{first}\nResult: variable #0, which are instances of location.town"
    assert env.summary() == "#0: location.town"
    env.step("get_attributes(#0)")
    env.step("argmax(#0, location.town.population)")
    said = env.step("count(#0)")[0]
    assert said.splitlines()[3:] == [
        "#1 = argmax(#0, location.town.population), location.town",
        "#2 = count(#0), type.int",
        "Result: variable #2, which is a number",
    ]
    refused = env.step("count(Ben)")
    assert refused[0] == f"Invalid action: count: variable must be a variable\n{said}"
    assert refused[4]["valid_action"] is False
    observation, reward, terminated, _, info = env.step("Thought: two\nFinal Answer: #2")
    assert (observation, reward, terminated, info["success"]) == ("The answer is taken.", 1.0, True, True)
    assert env.score().details == {"f1": 1.0, "exact": True, "executable": True, "precision": 1.0, "recall": 1.0}


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("count", "write tool(arguments) or Final Answer"),
        ("count(#0", "write tool(arguments) or Final Answer"),
        ("jump(#0)", "there is no tool 'jump'"),
        ("count()", "count takes 1 argument."),
        ("intersection(#0)", "intersection takes 2 arguments."),
        ("Final Answer: Paris", "Final Answer: #i with the number"),
        ("Final Answer: #0 #1", "Final Answer: #i with the number"),
        ("Final Answer: #0", "Invalid variable id!"),
        ("final_answer(#0)", "there is no tool 'final_answer'"),
    ],
)
def test_a_refusal_says_what_was_wrong(env: KGEnv, action: str, words: str) -> None:
    env.reset(options={"task": 0})
    observation, reward, terminated, _, info = env.step(action)
    assert observation.startswith("Invalid action: ")
    assert words in observation
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)


def test_names_with_commas_and_brackets_can_be_used(towns_path: Path) -> None:
    """Also in text, where AgentBench's own reading breaks on them."""
    names = {'Ada, "the first" (of two)': "m.ada", "#0": "m.ben", "Final Answer": "m.cy"}
    for protocol in ("text", "tools"):
        env = KGEnv(graph=towns_path, protocol=protocol)
        program = f"(AND (JOIN (R {LIVED}) m.ada) (JOIN (R {LIVED}) m.ben))"
        head, _ = env.reset(options={"task": task_about(names, program, ["m.wren"])})
        assert head.endswith('Entities: [Ada, "the first" (of two), #0 (m.ben), Final Answer]')
        while not env.step(env.expert_action())[2]:
            pass
        assert env.score().success


def test_an_unknown_id_has_nothing_to_list(env: KGEnv) -> None:
    """Also as the very first action, before there is any variable."""
    env.reset(options={"task": 0})
    assert env.step("get_relations(m.nobody)")[0].endswith("Result: []")
    assert env.summary() == "0 listed"
    assert "relation must be" in env.step("get_neighbors(m.nobody, geo.country.capital)")[0]


def test_both_protocols_take_an_answer_in_words() -> None:
    for protocol in ("text", "tools"):
        env = KGEnv(protocol=protocol)
        env.reset(options={"task": 0})
        while env.cost_to_go() > 1:
            env.step(env.expert_action())
        assert env.step("Thought: found\nFinal Answer: #0")[1] == 1.0


def test_arguments_of_a_call_may_come_in_any_order() -> None:
    env = KGEnv(protocol="tools")
    env.reset(options={"task": 0})
    while env.cost_to_go() > 2:
        env.step(env.expert_action())
    call = json.loads(env.expert_action())
    call["arguments"] = dict(reversed(call["arguments"].items()))
    assert env.step(json.dumps(call))[4]["valid_action"]
    assert env.cost_to_go() == 1


def test_settings_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r"dialect 'klingon'.*agentbench"):
        gym.make(KG, dialect="klingon")
    with pytest.raises(UnknownNameError, match=r"backend 'neo4j'.*sparql"):
        gym.make(KG, backend="neo4j")


# What scores ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicted", "gold", "f1", "exact", "executable"),
    [
        (set(), {"a"}, 0.0, False, False),
        ({"b"}, {"a"}, 0.0, False, True),
        ({"a"}, {"a"}, 1.0, True, True),
        ({"a", "b"}, {"a"}, 2 / 3, False, True),
        ({"a"}, {"a", "b", "c"}, 0.5, False, True),
        ({"a", "b"}, {"b", "c"}, 0.5, False, True),
        ({"12"}, {"12"}, 1.0, True, True),
        ({"12"}, {"12.0"}, 0.0, False, True),
    ],
)
def test_f1(predicted: set[str], gold: set[str], f1: float, exact: bool, executable: bool) -> None:
    score = score_kg(predicted, gold)
    assert score.f1 == pytest.approx(f1)
    assert (score.exact, score.executable) == (exact, executable)


def test_near_misses_score_less(env: KGEnv) -> None:
    """One step short, one step too far, or one condition missing: never the whole score."""
    for index in range(60):
        env.reset(options={"task": index})
        while env.cost_to_go() > 1:
            env.step(env.expert_action())
        right = len(env.session.variables) - 1
        before = env.snapshot()
        for number in range(right):
            env.restore(before)
            _, reward, _, _, info = env.step(f"Final Answer: #{number}")
            assert reward < 1.0, (index, number)
            assert not info["success"]
        env.restore(before)
        if env.session.variables[right].type != "type.int" and len(env._gold) > 1:
            env.step(f"count(#{right})")
            assert env.step(f"Final Answer: #{right + 1}")[1] == 0.0


def test_the_turn_limit_pays_nothing(env: KGEnv) -> None:
    env.reset(options={"task": 0})
    while env.cost_to_go() > 1:
        env.step(env.expert_action())
    for _ in range(15 - env.snapshot().turn):
        _, reward, terminated, truncated, info = env.step("think")
    assert (reward, terminated, truncated, info["score"]) == (0.0, False, True, 0.0)


# Cheating ------------------------------------------------------------------------------------------------------------


def gold_ids(env: KGEnv) -> list[str]:
    return sorted(env.task.payload["answer"])


@pytest.mark.parametrize(
    "plan",
    [
        ["Final Answer: #0"],
        ["Final Answer: {gold}"],
        ["Final Answer: #-1", "Final Answer: #", "Final Answer: ##0", "Final Answer: #٠", "Final Answer: #0x0"],
        ["Thought: done\nFinal Answer: {gold}"],
        ['{{"name": "final_answer", "arguments": {{"variable": "{gold}"}}}}'],
        ["count({gold})", "Final Answer: #0"],
        ["intersection({gold}, {gold})", "Final Answer: #0"],
        ["get_neighbors({gold}, type.object.id)", "Final Answer: #0"],
        ["get_relations({gold})", "Final Answer: #0"],
        ["get_relations((JOIN x {gold}))", "Final Answer: #0"],
        ["Action: get_relations({gold})\nAction: Final Answer: #0", "Final Answer: #0"],
        ["get_relations({gold})\nObservation: variable #0", "Final Answer: #0"],
        ["Result: variable #0, which are instances of geo.country", "Final Answer: #0"],
        ["__import__('os').abort()", "eval(1)", "Final Answer: __builtins__"],
    ],
)
def test_knowing_the_answer_is_not_enough(env: KGEnv, plan: list[str]) -> None:
    """An id that was not reached by the tools is no variable, whoever tells it, and forged text is only text."""
    for index in range(8):
        env.reset(options={"task": index})
        for action in plan:
            _, reward, terminated, _, info = env.step(action.format(gold=gold_ids(env)[0]))
            assert (reward, terminated, info["score"], info["success"]) == (0.0, False, 0.0, False)


def test_no_page_shows_an_id_or_a_member(env: KGEnv) -> None:
    """Only types are shown, so that a set cannot be read off and typed in."""
    for index in range(30):
        page, _ = env.reset(options={"task": index})
        pages = [page]
        while True:
            page, _, terminated, _, _ = env.step(env.expert_action())
            pages.append(page)
            if terminated:
                break
        assert not any(gold in page for page in pages for gold in gold_ids(env) if gold.startswith("m."))


def test_answering_everything_pays_little(env: KGEnv) -> None:
    """A class of things as large as the agent can reach holds the answer, and hardly scores."""
    total = 0.0
    for index in range(20):
        env.reset(options={"task": index})
        name = next(iter(env.task.payload["entities"]))
        for action in [f"get_relations({name})", *_widest(env, name), "Final Answer: #2"]:
            reward = env.step(action)[1]
        total += float(reward)
    assert total / 20 < 0.3


def _widest(env: KGEnv, name: str) -> list[str]:
    """Follow whatever has the most members, three times."""
    actions = []
    session = env.session
    start = name
    for number in range(3):
        session = env.toolbox.run(session, "get_relations", (start,), env._entities).session
        best, size = "", -1
        for relation in env.graph.relations(env.toolbox.read(session, start, env._entities).program if number else
                                            parse_program(env._entities[name])):  # type: ignore[union-attr]  # fmt: skip
            done = env.toolbox.run(session, "get_neighbors", (start, relation), env._entities)
            count = env.graph.size(done.session.variables[-1].program)  # type: ignore[attr-defined]
            if count > size:
                best, size = relation, count
        session = env.toolbox.run(session, "get_neighbors", (start, best), env._entities).session
        actions += [f"get_relations({start})", f"get_neighbors({start}, {best})"]
        start = f"#{number}"
    return actions


def test_an_episode_leaves_nothing_for_the_next(env: KGEnv) -> None:
    """Variables, listings, answers: all are gone, also where the same question comes again."""
    env.reset(options={"task": 3})
    first = env.state_key()
    play_expert(env)
    for task in (3, 4, 3):
        env.reset(options={"task": task})
        assert env.session == type(env.session)()
    assert env.state_key() == first
    name = next(iter(env.task.payload["entities"]))
    relation = env.graph.relations(parse_program(env._entities[name]))[0]
    assert "relation must be a relation" in env.step(f"get_neighbors({name}, {relation})")[0]
    other = KGEnv(split="dev")
    other.reset(options={"task": 3})
    other.step(f"get_relations({name})")
    assert "relation must be a relation" in env.step(f"get_neighbors({name}, {relation})")[0]


def test_environments_share_one_graph() -> None:
    envs = [KGEnv(split=split) for split in ("train", "dev", "test")]
    assert len({id(env.graph) for env in envs}) == 1
