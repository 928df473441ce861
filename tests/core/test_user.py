"""The User: its words reach the agent, questions are answered, and nothing of the solution slips out."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
from toy_worlds import PickEnv

from cmat_gym.core.env import restore, snapshot
from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Task
from cmat_gym.core.testing import CounterEnv
from cmat_gym.core.user import PolicyUser, TemplateUser, UserInstruction, gives_away, keeps_facts, read_question
from cmat_gym.policies.scripted import FunctionPolicy

COUNTER_ID = "cmat-test/Counter-v0"
TASK = Task(
    "os/x/train/000001",
    "os",
    "train",
    "x",
    "What is the group id of Laura in '/etc/group'? Use 2 lines.",
    {"answer": "2004", "files": [{"content": "laura:x:1007"}], "gold": "red wool", "flag": True, "lines": 2},
    5,
)


def says(text: str) -> PolicyUser:
    return PolicyUser(FunctionPolicy(lambda observation, info: text))


def test_the_template_stands_in_the_place_of_the_instruction() -> None:
    """Fails when later pages, or pages that do not repeat the task, show the plain instruction or none."""
    env = UserInstruction(gym.make(COUNTER_ID), TemplateUser("Please: {instruction} Thanks!"))
    page, _ = env.reset(seed=0, options={"task": 0})
    assert page == "Observation: Please: Bring the counter to -5. Thanks! It shows 0."
    page = env.step("up")[0]
    assert page.startswith("Task: Please: Bring the counter to -5. Thanks!\n")
    bare = UserInstruction(gym.make(COUNTER_ID, memory=None), TemplateUser("Please: {instruction}"))
    assert bare.reset(seed=0, options={"task": 0})[0].startswith("Please: Bring")


def test_a_page_that_does_not_say_the_task_gets_the_users_words_once() -> None:
    """Fails when the words are left out, or put into themselves."""
    env = UserInstruction(PickEnv(), TemplateUser("Please: {instruction}"))
    assert env.reset(seed=0, options={"task": 0})[0] == "Task: Please: Pick.\nPick one"


def test_questions_are_answered_without_a_turn_and_within_bounds() -> None:
    """Fails when a question costs a turn, moves the world, or is answered more often than allowed."""
    env = UserInstruction(CounterEnv(), TemplateUser(reply="You ask {question} I said: {instruction}"), max_questions=1)
    page, info = env.reset(seed=0, options={"task": 0})
    assert page.startswith("You may ask the user up to 1 times: ask[your question]\n")
    key = info["state_key"]
    page, reward, terminated, truncated, info = env.step("Thought: unsure\nAction: ask[How far?]")
    assert "You asked: How far?\nThe user says: You ask How far? I said: Bring the counter to -5.\n" in page
    assert (reward, terminated, truncated, info["turn"], info["state_key"]) == (0.0, False, False, 0, key)
    assert (info["question"], info["executed"]) == ("How far?", False)
    page, *_, info = env.step("ask[Again?]")
    assert (info["valid_action"], info["turn"]) == (False, 1)
    assert "question" not in info
    env.reset(seed=0)
    assert env.step("ask[Again?]")[4]["question"] == "Again?"


@pytest.mark.parametrize(
    ("action", "question"),
    [
        ("ask[Which one?]", "Which one?"),
        ('{"name": "ask_user", "arguments": {"question": "Which?"}}', "Which?"),
        ('<tool_call>{"name": "ask_user", "arguments": {"question": "Which?"}}</tool_call>', "Which?"),
        ("ask[]", None),
        ("task[x]", None),
        ("search[ask]", None),
        ('{"name": "ask_user", "arguments": {"question": 3}}', None),
        ('{"name": "search", "arguments": {"question": "x"}}', None),
        ("[1]", None),
        ("Thought: only", None),
    ],
)
def test_what_is_a_question(action: str, question: str | None) -> None:
    assert read_question(action) == question


def test_a_language_model_rewords_and_is_not_told_the_payload() -> None:
    """Fails when the solution is in what the model reads, or when the same task opens differently the second time."""
    seen: list[str] = []

    def speak(observation: str, info: Any) -> str:
        seen.append(f"{observation} {info}")
        return f"In '/etc/group', which group id does Laura have? 2 lines, please.{' ' * len(seen)}"

    user = PolicyUser(FunctionPolicy(speak))
    assert (
        user.instruct(TASK)
        == user.instruct(TASK)
        == ("In '/etc/group', which group id does Laura have? 2 lines, please.")
    )
    user.answer(TASK, "Whose group?")
    assert len(seen) == 2
    assert not any(secret in text for text in seen for secret in ("2004", "1007", "red wool"))
    assert "Whose group?" in seen[1]


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("Laura's group id, from /etc/group, in 2 lines", True),
        ("Laura's group id, from /etc/group", False),  # the number is lost
        ("The group id from /etc/group, in 2 lines", False),  # the name is lost
        ("Laura's group id in 2 lines", False),  # the path is lost
        ("Laura's group id 2004, from /etc/group, in 2 lines", False),  # the solution
        ("Laura's group id, from /etc/group, in 2 lines of RED wool", False),
        ("", False),
    ],
)
def test_a_rewording_that_loses_or_tells_too_much_is_held_back(text: str, fine: bool) -> None:
    """Fails when facts may be lost, or when values of the payload may be said."""
    user = says(text)
    assert user.instruct(TASK) == (text if fine else TASK.instruction)
    assert user.held_back == (not fine)


@pytest.mark.parametrize(
    ("question", "answer", "fine"),
    [
        ("What is it?", "It is 2004.", False),
        ("What is it?", "Look for the 1007 one.", False),  # a number out of a longer text
        ("What is it?", "I do not know.", True),
        ("Is it 2004?", "I do not know whether it is 2004.", True),  # the agent's own guess
        ("Which lines?", "2 lines, as I said.", True),
        ("Which colour?", "red", True),
        ("Which colour?", "Red Wool!", False),
    ],
)
def test_answers_do_not_leak_the_gold(question: str, answer: str, fine: bool) -> None:
    """Fails when any value of the payload is said that the instruction does not have."""
    assert says(answer).answer(TASK, question) == (answer if fine else f"All I can say is this: {TASK.instruction}")


def test_expert_answers_of_the_worlds_are_secrets() -> None:
    """Fails when a world's true answer passes as harmless."""
    for env_id, key in (("cmat/KG-v0", "answer"), ("cmat/DB-v0", "answer")):
        env = gym.make(env_id, memory=None)
        found = 0
        for index in range(30):
            env.reset(seed=0, options={"task": index})
            task = env.get_wrapper_attr("task")
            gold = task.payload.get(key)
            values = gold if isinstance(gold, list) else []
            for value in (v for v in values if isinstance(v, str) and v and v.lower() not in task.instruction.lower()):
                found += 1
                assert gives_away(f"I think it is {value}, really.", task), (task.id, value)
        assert found or env_id == "cmat/DB-v0"
        env.close()


def test_facts_are_kept_by_the_instruction_itself() -> None:
    for env_id in ("cmat/OS-v0", "cmat/WebShop-v0"):
        env = gym.make(env_id, memory=None)
        for index in range(20):
            env.reset(seed=0, options={"task": index})
            task = env.get_wrapper_attr("task")
            assert keeps_facts(task.instruction, task)
            assert not gives_away(task.instruction, task)
        env.close()


def test_the_users_words_travel_in_snapshots() -> None:
    """Fails when the count of questions or the wording is lost on the way."""

    def make() -> UserInstruction:
        return UserInstruction(gym.make(COUNTER_ID), TemplateUser("Now: {instruction}"), max_questions=1)

    env, other = make(), make()
    env.reset(seed=0)
    env.step("ask[Really?]")
    state = pickle.loads(pickle.dumps(snapshot(env)))
    expected = env.step("ask[Again?]")[0]
    restore(other, state)
    assert other.step("ask[Again?]")[0] == expected
    assert "Now: Bring" in expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: TemplateUser("no field"), "must contain {instruction}"),
        (lambda: TemplateUser("{instruction} {other}"), "cannot be filled in"),
        (lambda: UserInstruction(CounterEnv(), TemplateUser(), -1), "max_questions must be >= 0, got -1"),
        (lambda: UserInstruction(CounterEnv(), "me"), "A user has the methods"),  # type: ignore[arg-type]
    ],
)
def test_bad_users_are_named(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()
