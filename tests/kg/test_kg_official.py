"""AgentBench's own files: layouts, splits, errors, and the real gold chains to the last call."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.envs.kg.official import OfficialKGTasks, open_official, program_of_chain, read_move
from cmat_gym.envs.kg.ontology import read_agentbench_ontology
from cmat_gym.envs.kg.programs import parse_program
from cmat_gym.envs.kg.tasks import open_tasks
from cmat_gym.envs.kg.tools import SIGNATURES, type_of

ROW: dict[str, Any] = {
    "question": "which towns did both ada and ben live in?",
    "qid": "1_cmat",
    "source": "cmat",
    "entities": {"Ada": "m.ada", "Ben": "m.ben"},
    "s_expression": "(AND (JOIN (R people.person.places_lived) m.ada) (JOIN (R people.person.places_lived) m.ben))",
    "actions": [
        "get_relations(m.ada)",
        "get_neighbors(m.ada,people.person.places_lived)",
        "get_relations(m.ben)",
        "get_neighbors(m.ben,people.person.places_lived)",
        "intersection(#0,#1)",
    ],
    "answer": [{"answer_type": "Entity", "answer_argument": "m.wren", "entity_name": "Wren"}],
}
ROLES = """\
people.person people.person.places_lived location.town
location.town location.town.area type.floatpeople.person people.person.siblings people.person
"""
VOCABULARY = {
    "relations": ["people.person.places_lived", "people.person.siblings", "no.role.here"],
    "attributes": ["location.town.area"],
    "classes": [],
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the names of an AgentBench checkout; another domain has a `dev.json` too."""
    data = tmp_path / "data" / "knowledgegraph"
    data.mkdir(parents=True)
    (tmp_path / "data" / "os").mkdir()
    (tmp_path / "data" / "os" / "dev.json").write_text("[]")
    (data / "dev.json").write_text(json.dumps([ROW]))
    (data / "std.json").write_text(json.dumps([{**ROW, "qid": "3_cmat"}]))
    (data / "kg_rl_all.json").write_text(json.dumps([ROW, {**ROW, "qid": "2_cmat"}]))
    ontology = tmp_path / "src" / "ontology"
    ontology.mkdir(parents=True)
    (ontology / "vocab.json").write_text(json.dumps(VOCABULARY))
    (ontology / "fb_roles").write_text(ROLES)
    (ontology / "reverse_properties").write_text("people.person.siblings\tpeople.person.siblings\n")
    return tmp_path


def test_a_checkout(checkout: Path) -> None:
    tasks = open_official(checkout)
    assert tasks.sizes() == {"train": 1, "dev": 1, "test": 1}
    assert tasks.dropped == ("1_cmat",)
    assert tasks.official
    task = tasks.make("dev", 0)
    assert task.instruction == ROW["question"]
    assert task.payload["entities"] == {"Ada": "m.ada", "Ben": "m.ben"}
    assert task.payload["answer"] == ["m.wren"]
    assert parse_program(task.payload["program"]) == parse_program(ROW["s_expression"])
    assert tasks.find(task.id) == task
    assert open_tasks(checkout) is tasks
    assert open_tasks(checkout / "data" / "knowledgegraph" / "dev.json").sizes() == {"dev": 1}


def test_the_ontology_beside_the_questions(checkout: Path) -> None:
    """Relations without a role are not offered; the line break that the published file lacks is put back."""
    ontology = open_official(checkout).ontology
    assert set(ontology.relations) == {"people.person.places_lived", "people.person.siblings"}
    assert ontology.attributes["location.town.area"].range == "type.float"
    assert ontology.relations["people.person.siblings"].reverse == "people.person.siblings"


def test_without_freebase_it_says_what_is_missing(checkout: Path) -> None:
    with pytest.raises(UsageError, match=r"about Freebase, which is not here.*endpoint=.*graph=.*open_tasks"):
        gym.make("cmat/KG-v0", source=checkout)


def test_with_a_graph_of_its_facts_it_plays(checkout: Path, towns_path: Path) -> None:
    env = gym.make("cmat/KG-v0", source=checkout, graph=towns_path, split="dev", memory=None)
    env.reset(seed=0)
    for action in [*ROW["actions"], "Final Answer: #2"]:
        _, reward, terminated, _, info = env.step(action)
        assert info["valid_action"]
    assert (reward, terminated, info["success"]) == (1.0, True, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: (data / "dev.json").write_text("[{]"), "dev.json is no file of AgentBench"),
        (lambda data: (data / "dev.json").write_text("{}"), "expected a list, got dict"),
        (lambda data: (data / "dev.json").write_text('[{"qid": 1}]'), "KeyError"),
    ],
)
def test_errors_name_the_file(checkout: Path, change: Callable[[Path], object], message: str) -> None:
    change(checkout / "data" / "knowledgegraph")
    with pytest.raises(TaskError, match=message):
        OfficialKGTasks(checkout)


def test_what_is_missing_is_named(tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match=r"expected kg_rl_all\.json, dev\.json, std\.json"):
        OfficialKGTasks(tmp_path / "empty")
    with pytest.raises(TaskError, match=r"vocab\.json, fb_roles"):
        read_agentbench_ontology(tmp_path / "empty")


@pytest.mark.parametrize("action", ["", "jump(#0)", "count(#0", "count(#0,#1)", "intersection(#0)", "count", "#0"])
def test_what_is_no_call_is_named(action: str) -> None:
    with pytest.raises(TaskError):
        read_move(action)


def test_chains_that_cannot_be_are_named() -> None:
    with pytest.raises(TaskError, match="#0 before it is made"):
        program_of_chain(["count(#0)"])
    with pytest.raises(TaskError, match="makes no variable"):
        program_of_chain(["get_relations(m.a)"])


# The real files ------------------------------------------------------------------------------------------------------


def test_the_real_files(data_file: Callable[[str], Path]) -> None:
    """All calls are read, all programs too, and 13 questions are kept out of training."""
    tasks = open_official(data_file("kg/agentbench/dev.json").parent)
    assert tasks.sizes() == {"train": 1201, "dev": 20}
    assert len(tasks.dropped) == 13
    train = json.loads(data_file("kg/agentbench/kg_rl_all.json").read_text(encoding="utf-8"))
    calls = Counter(read_move(action).tool for row in train for action in row["actions"])
    assert calls == {
        "get_relations": 3311,
        "get_neighbors": 3311,
        "intersection": 994,
        "get_attributes": 271,
        "argmax": 206,
        "count": 196,
        "argmin": 65,
    }
    assert calls.total() == 8354
    assert set(calls) <= set(SIGNATURES)
    for split, size in tasks.sizes().items():
        for index in range(size):
            task = tasks.make(split, index)
            parse_program(task.payload["s_expression"])
            assert parse_program(task.payload["program"]).text == task.payload["program"]
            assert task.payload["answer"]


def test_types_along_the_real_chains(data_file: Callable[[str], Path]) -> None:
    """With the published ranges, 926 intersections join equal types and 77 unlike ones, which the tool refuses.

    Eight chains follow a relation that no agent is shown: in five it has no role, in three (with one equal and two
    unlike intersections more) it has one but is not in the vocabulary.
    """
    folder = data_file("kg/agentbench/ontology.tar.xz").parent
    ontology = read_agentbench_ontology(folder)
    assert (len(ontology.relations), len(ontology.attributes)) == (13_100, 3_384)
    rows = [
        row
        for name in ("kg_rl_all.json", "dev.json")
        for row in json.loads((folder / name).read_text(encoding="utf-8"))
    ]
    seen: Counter[str] = Counter()
    for row in rows:
        for number, action in enumerate(row["actions"], 1):
            tool, arguments = read_move(action)
            if tool == "get_neighbors" and arguments[1] not in ontology.relations:
                seen["stopped"] += 1
                break
            if tool == "intersection":
                kinds = {type_of(part, ontology) for part in program_of_chain(row["actions"][:number]).parts}
                seen["equal" if len(kinds) == 1 else "unlike"] += 1
    assert seen == {"equal": 926, "unlike": 77, "stopped": 8}
