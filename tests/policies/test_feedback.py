"""Rules for feedback in words: what they find wrong in each world, and that they leave every expert alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError
from cmat_gym.core.protocol import Call, format_tool_call
from cmat_gym.core.roles import Review
from cmat_gym.policies.feedback import RULES, FeedbackWriter, RuleFeedback
from cmat_gym.policies.prompts import with_thought

WORLDS = ("OS", "DB", "KG", "ALFWorld", "WebShop", "Mind2Web")


def complaint(domain: str, action: str, observation: str = "page", turn: int = 5, **info: Any) -> str:
    writer = RuleFeedback()
    assert isinstance(writer, FeedbackWriter)
    [text] = writer.write([observation], [action], [{"task_id": f"{domain}/x", "turn": turn, **info}])
    [review] = writer.review([observation], [action], [{"task_id": f"{domain}/x", "turn": turn, **info}])
    assert review == (Review(False, -1.0, feedback=text) if text else Review())
    return text


@pytest.mark.parametrize(
    ("domain", "bad", "good", "info", "words"),
    [
        ("os", "bash[vim /etc/hosts]", "bash[cat /etc/hosts]", {}, "vim waits for a person"),
        ("os", "bash[ls; sudo less x]", "bash[ls --help; find . -name more]", {}, "less waits"),
        ("os", "bash[rm -rf /]", "bash[rm -rf /tmp/x]", {}, "deletes everything"),
        ("os", "answer[12]", "bash[wc -l x]", {"turn": 0}, "Look first"),
        (
            "db",
            "Operation\n```sql\nDELETE FROM t\n```",
            "Operation\n```sql\nDELETE FROM t WHERE a = 1\n```",
            {},
            "WHERE",
        ),
        ("db", "Operation\n```sql\nupdate `t` set a=1\n```", "Operation\n```sql\nSELECT a FROM t\n```", {}, "WHERE"),
        ("db", "Answer\nFinal Answer: [1]", "Operation\n```sql\nSELECT 1\n```", {"turn": 0}, "Look first"),
        ("kg", "get_neighbors(#0, a.b.c)", "get_neighbors(#0, geo.city.mayor)", {}, "'a.b.c' is not among"),
        ("kg", "Final Answer: #0", "get_relations(x)", {"turn": 0}, "Look first"),
        ("alfworld", "fly to sink 1", "go to sink 1", {"admissible_actions": ["go to sink 1"]}, "Possible now: go to"),
        ("webshop", "click[gold]", "click[red]", {"admissible_actions": ["click[red]"]}, "Possible now: click[red]"),
        ("webshop", "click[buy now]", "click[red]", {"turn": 2}, "Choose the options"),
        ("webshop", f"search[{'word ' * 15}]", "search[red wool shirt]", {}, "key words"),
        ("mind2web", "CLICK [99]", "CLICK [7]", {}, "no element [99]"),
        ("mind2web", "FINISH", "CLICK [7]", {"turn": 0}, "Look first"),
        ("anywhere", "Thought: hm", "Thought: hm\nAction: up", {}, "cannot be read"),
    ],
)
def test_each_rule_names_its_mistake_and_no_other(domain: str, bad: str, good: str, info: Any, words: str) -> None:
    """Fails when a rule never fires, fires for good actions too, or belongs to another world."""
    page = "[7] link geo.city.mayor"
    assert words in complaint(domain, bad, page, **info)
    assert complaint(domain, good, page, **info) == ""
    assert words in complaint(domain, with_thought("I think so.", bad), page, **info) or bad.startswith("Thought")
    if domain != "anywhere":
        assert complaint("anywhere", bad, page, **info) == ""


def test_function_calls_are_read_like_text() -> None:
    """Fails when the rules only know the text protocol."""
    assert "vim" in complaint("os", format_tool_call(Call("bash", {"script": "vim x"})))
    assert "Look first" in complaint("kg", format_tool_call(Call("final_answer", {"variable": "#0"})), turn=0)
    listed = [format_tool_call(Call("click", {"value": "red"}))]
    assert complaint("webshop", '{"arguments": {"value": "red"}, "name": "click"}', admissible_actions=listed) == ""
    assert "Possible now" in complaint(
        "webshop", format_tool_call(Call("click", {"value": "x"})), admissible_actions=listed
    )


def test_a_repetition_is_seen_in_the_memory() -> None:
    """Fails when any earlier action counts, when a repetition that led on does, or when the outcome is not named."""
    page = "Recent turns:\n1. up -> It shows 1.\n2. down -> refused\nObservation: It shows 1."
    assert complaint("counter", "Thought: again\nAction: down", page) == "This was done already, and it led to: refused"
    assert complaint("counter", "up", page) == ""
    assert complaint("counter", "up", "1. up -> It shows 1.") == ""
    assert complaint("counter", "up", "1. up -> It shows 1.\n2. up -> It shows 2.") == ""
    assert "led to: Nothing" in complaint("counter", "look", "1. look -> Nothing.\n2. look -> Nothing.")


def test_rules_of_ones_own() -> None:
    own = RuleFeedback({"counter": [lambda proposal: "too loud" if proposal.body.isupper() else ""]})
    assert own.write(["p", "p"], ["UP", "up"], [{"task_id": "counter/x"}] * 2) == ["too loud", ""]


@pytest.mark.parametrize("protocol", ["text", "tools"])
@pytest.mark.parametrize("world", WORLDS)
def test_no_expert_is_ever_scolded(world: str, protocol: str) -> None:
    """Fails when a rule holds back an action that leads to success: a filter must not make the best policy worse."""
    env = gym.make(f"cmat/{world}-v0", protocol=protocol)
    domain = base_env(env).domain
    assert domain in RULES
    writer = RuleFeedback()
    for task in range(6):
        try:
            observation, info = env.reset(seed=0, options={"task": task})
        except BackendError as error:
            pytest.skip(f"{world} cannot run here: {error}")
        ended = False
        while not ended:
            action = base_env(env).expert_action()
            assert writer.write([observation], [action], [info]) == [""], (task, action)
            observation, _, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
    env.close()
