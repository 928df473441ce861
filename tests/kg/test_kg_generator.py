"""The builtin questions: fair, well-worded, reproducible, and split by program, by entity and by content."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import pytest

from cmat_gym.core.errors import TaskError, UnknownNameError
from cmat_gym.envs.kg.backend import GraphBackend, open_backend
from cmat_gym.envs.kg.files import SHIPPED, read_graph
from cmat_gym.envs.kg.generator import CURRICULUM, LEVELS, BuiltinKGTasks, Question
from cmat_gym.envs.kg.packing import GraphData
from cmat_gym.envs.kg.programs import Program, canonical
from cmat_gym.envs.kg.wording import Wording

SIZES = {"train": 400, "dev": 500, "test": 500}


@pytest.fixture(scope="module")
def tasks(backend: GraphBackend) -> BuiltinKGTasks:
    return BuiltinKGTasks(backend)


@pytest.fixture(scope="module")
def questions(tasks: BuiltinKGTasks) -> dict[str, list[Question]]:
    return {split: [tasks.question(split, index) for index in range(size)] for split, size in SIZES.items()}


# The answers, by other means -----------------------------------------------------------------------------------------


class Naive:
    """Executes programs with dictionaries and sets, straight from the text of the graph file."""

    def __init__(self, data: GraphData) -> None:
        self.ahead: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.relations: dict[str, set[str]] = defaultdict(set)
        for subject, relation, target in data.facts:
            self.ahead[subject, relation].add(target)
            self.relations[subject].add(relation)
        self.values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for subject, attribute, value in data.values:
            self.values[subject, attribute].append(value)

    def answer(self, program: Program) -> set[str]:
        if program.op == "COUNT":
            return {str(len(self.members(program.parts[0])))}
        return self.members(program)

    def members(self, program: Program) -> set[str]:
        named = set(re.findall(r" (m\.\w+)\)", program.text))
        return self.reached(program) - named

    def reached(self, program: Program) -> set[str]:
        if program.op == "ENTITY":
            return {program.name}
        if program.op == "FORWARD":
            return set().union(*(self.ahead[start, program.name] for start in self.reached(program.parts[0])))
        if program.op == "AND":
            return self.reached(program.parts[0]) & self.reached(program.parts[1])
        return {max(self.ranked(program))[1]}

    def ranked(self, program: Program) -> list[tuple[float, str]]:
        """The members with their values, the greatest the best; every member must have exactly one."""
        sign = 1 if program.op == "ARGMAX" else -1
        rows = []
        for member in self.members(program.parts[0]):
            (value,) = self.values[member, program.name]
            rows.append((sign * value, member))
        return rows


@pytest.fixture(scope="module")
def naive() -> Naive:
    return Naive(read_graph(SHIPPED))


def test_every_answer_is_right_and_the_only_one(questions: dict[str, list[Question]], naive: Naive) -> None:
    """Executed by other code: the answer is the same, not empty, not too long, and of a superlative without a rival."""
    for question in (question for split in questions.values() for question in split):
        program = question.program
        assert set(question.answer) == naive.answer(program), question
        assert 1 <= len(question.answer) <= 20
        if program.op in ("ARGMAX", "ARGMIN"):
            values = sorted(value for value, _ in naive.ranked(program))
            assert len(values) >= 2
            assert values[-1] > values[-2], question.text
        if program.op == "COUNT":
            assert int(question.answer[0]) >= 2


def test_every_step_offers_others_and_every_condition_counts(
    questions: dict[str, list[Question]], naive: Naive
) -> None:
    for question in (question for split in questions.values() for question in split):
        inner = question.program.parts[0] if question.program.op in ("COUNT", "ARGMAX", "ARGMIN") else question.program
        whole = naive.members(inner)
        for node in inner.walk():
            if node.op == "FORWARD":
                offered = set().union(*(naive.relations[start] for start in naive.members(node.parts[0])))
                assert len(offered) >= 2, question
                assert node is inner or naive.members(node) != whole, question
            if node.op == "AND":
                assert all(len(naive.members(part)) > len(naive.members(node)) for part in node.parts), question


def test_what_the_question_names_is_left_out_in_words_too(questions: dict[str, list[Question]], naive: Naive) -> None:
    told = 0
    for question in (question for split in questions.values() for question in split):
        program = question.program
        inner = program.parts[0] if program.op in ("COUNT", "ARGMAX", "ARGMIN") else program
        held = {name for name, identity in question.entities.items() if identity in naive.reached(inner)}
        assert all(f"Leave out {name}" in question.text or f"and {name}." in question.text for name in held)
        assert ("Leave out" in question.text) == bool(held)
        told += bool(held)
    assert told > 5


# Words ---------------------------------------------------------------------------------------------------------------


def test_wording_names_every_entity_and_no_id(questions: dict[str, list[Question]]) -> None:
    texts = [question for split in questions.values() for question in split]
    for question in texts:
        assert all(name in question.text for name in question.entities)
        words = question.text
        for name in question.entities:
            words = words.replace(name, "")
        assert not re.search(r"\b[mg]\.\w|[{}_]|\bgeo\b", words), question.text
        assert question.text[0].isupper()
        assert question.text[-1] in "?."
        assert len(question.text) < 400
        assert not any(set(name) & set(',()#[]|"') for name in question.entities)
    openings = Counter(" ".join(question.text.split()[:2]) for question in texts)
    assert len(openings) > 30
    assert openings.most_common(1)[0][1] < len(texts) / 4


def test_no_two_relations_between_the_same_types_share_a_phrase(backend: GraphBackend) -> None:
    """Else one question would have two programs. Every relation also has a phrase that can be nested."""
    roles = backend.ontology.relations
    said = {name: Wording._predicate(name) for name in roles}
    for one, other in combinations(roles, 2):
        if roles[one][:2] == roles[other][:2]:
            assert not {*said[one].many, *said[one].one} & {*said[other].many, *said[other].one}, (one, other)
    for name, predicate in said.items():
        assert len(predicate.many) == len(predicate.one)
        assert any(phrase.endswith("{x}") for phrase in predicate.many), name
        assert any(phrase.endswith("{x}") for phrase in predicate.one), name
        assert "stand under" not in predicate.many[0], f"{name} has no phrase"
    for attribute in backend.ontology.attributes:
        words = Wording._comparative(attribute)
        assert not set(words.ARGMAX) & set(words.ARGMIN)
        assert words.more != words.less


def test_a_unique_relation_is_unique(backend: GraphBackend) -> None:
    """`the country that …` is said only where there is one."""
    graph = backend.graph
    for relation in graph.relations:
        if Wording._predicate(relation).unique:
            for node in graph.subjects(relation)[:3000]:
                assert len(graph.forward(relation, graph.node(int(node)))) == 1, (relation, graph.id(int(node)))


# Splits --------------------------------------------------------------------------------------------------------------


def test_splits_share_no_entity_no_program_and_no_question(questions: dict[str, list[Question]]) -> None:
    """Not by index but by content: ids, names, programs, and the words of the question."""
    for one, other in combinations(questions.values(), 2):
        for content in (
            lambda question: set(question.entities.values()),
            lambda question: {name.casefold() for name in question.entities},
            lambda question: {canonical(question.program)},
            lambda question: {question.text.casefold()},
        ):
            parts = [set().union(*map(content, split)) for split in (one, other)]
            assert not parts[0] & parts[1]


def test_panels_have_no_program_twice(questions: dict[str, list[Question]]) -> None:
    for split in ("dev", "test"):
        assert len({canonical(question.program) for question in questions[split]}) == 500
    assert len({canonical(question.program) for question in questions["train"]}) > 360


def test_levels_rise_with_the_index_and_cover_every_shape(questions: dict[str, list[Question]]) -> None:
    for split in questions.values():
        assert [question.level for question in split[:10]] == list(CURRICULUM)
        assert all(question.shape in LEVELS[question.level] for question in split)
        assert {question.shape for question in split} == {shape for shapes in LEVELS.values() for shape in shapes}
        hops = [[q.hops for q in split if q.level == level] for level in (1, 3, 5)]
        means = [sum(each) / len(each) for each in hops]
        assert means == sorted(means)
        assert max(max(each) for each in hops) == 4
        used = {node.name for question in split for node in question.program.walk() if node.op == "FORWARD"}
        assert len(used) >= 45


def test_tasks_are_pure_functions_of_the_index(tasks: BuiltinKGTasks, backend: GraphBackend) -> None:
    forward = [tasks.make("train", index) for index in range(30)]
    again = BuiltinKGTasks(GraphBackend(backend.graph))
    assert [again.make("train", index) for index in reversed(range(30))] == forward[::-1]
    last = tasks.split("train")[2**31 - 1]
    assert last.id == "kg/builtin-v0/train/2147483647"
    assert last == tasks.find(last.id)
    other = BuiltinKGTasks(backend, seed=1)
    assert other.name == "builtin-v0-seed1"
    assert [other.make("train", index).instruction for index in range(5)] != [t.instruction for t in forward[:5]]


FINGERPRINT = """
from cmat_gym.envs.kg.tasks import open_tasks
tasks = open_tasks()
print([tasks.split(name).manifest(40) for name in tasks.sizes()])
"""


def test_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "271828")
    }
    assert len(outputs) == 1
    assert outputs.pop().count("sha256=") == 3


def test_default_tasks_are_the_published_ones(tasks: BuiltinKGTasks) -> None:
    """Equal ids mean equal content for ever: a change that alters these hashes needs a new name, `builtin-v1`."""
    published = json.loads((files("cmat_gym.envs.kg") / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert {split: tasks.split(split).manifest(1000)._asdict() for split in tasks.sizes()} == published


def test_pickling_sends_no_graph(tasks: BuiltinKGTasks) -> None:
    assert len(pickle.dumps(tasks)) < 500
    assert pickle.loads(pickle.dumps(tasks)).make("dev", 3) == tasks.make("dev", 3)


# Other graphs --------------------------------------------------------------------------------------------------------


def test_questions_about_fb15k237(data_file: Callable[[str], Path]) -> None:
    """Real facts without numbers: hops, intersections and counts, with entities by name, under a name of their own."""
    tasks = BuiltinKGTasks(open_backend(data_file("kg/fb15k237.tar.xz")), shipped=False)
    assert re.fullmatch(r"builtin-v0-graph[0-9a-f]{8}", tasks.name)
    seen = [tasks.question("train", index) for index in range(60)]
    assert {question.level for question in seen} == {1, 2, 3, 4, 5}
    assert all(tasks.backend.answer(question.program) == frozenset(question.answer) for question in seen)
    assert not any("superlative" in question.shape or "comparison" in question.shape for question in seen)


def test_unknown_splits_and_tiny_graphs_are_named(tasks: BuiltinKGTasks, towns: GraphBackend) -> None:
    with pytest.raises(UnknownNameError, match="validation"):
        tasks.question("validation", 0)
    with pytest.raises(TaskError, match="too small"):
        BuiltinKGTasks(towns, shipped=False).question("test", 9)
