"""The environment as an agent meets it: the recordings once more through `gym.make`, and attempts to cheat."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.core.task import Task
from cmat_gym.envs.webshop.env import WebShopEnv
from cmat_gym.envs.webshop.pages import document

WEBSHOP = "cmat/WebShop-v0"
RECORDINGS = [
    ("golden/webshop_text_synthetic.jsonl.xz", "text", 967),
    ("golden/webshop_text_rich_synthetic.jsonl.xz", "text_rich", 557),
    ("golden/webshop_text_human.jsonl.xz", "text", 51),
]


def recorded_task(goal: dict[str, Any]) -> Task:
    """A task for a recorded goal, which names some fields as the original does."""
    payload = {
        "asin": goal["asin"],
        "instruction": goal["instruction_text"],
        "attributes": goal["attributes"],
        "options": goal["goal_options"],
        "price_upper": goal["price_upper"],
        "query": goal["query"],
        "name": goal["name"],
        "product_category": goal["product_category"],
        "category": goal["category"],
        "weight": 1.0,
    }
    return Task("webshop/recorded/0", "webshop", "train", "recorded", payload["instruction"], {"goal": payload}, 100)


@pytest.mark.parametrize(("name", "mode", "pages"), RECORDINGS)
def test_recorded_episodes_through_the_environment(
    data_file: Callable[[str], Path], read_data: Callable[[str], Any], name: str, mode: str, pages: int
) -> None:
    """Without feedback and memory, observation, reward and end are the original's at every step."""
    folder = data_file("webshop/products_1000.jsonl.xz").parent
    env = gym.make(WEBSHOP, source=folder, observation_mode=mode, feedback=False, memory=None)
    differences, compared = [], 0
    for episode in read_data(name):
        observation, _ = env.reset(options={"task": recorded_task(episode["goal"])})
        shown = [(observation, 0.0, False)]
        for step in episode["steps"]:
            observation, reward, terminated, truncated, _ = env.step(step["action"])
            assert not truncated
            shown.append((observation, pytest.approx(float(reward), abs=1e-9), terminated))
        recorded = [(episode["initial"]["observation"], 0.0, False)]
        recorded += [(step["observation"], step["reward"], step["done"]) for step in episode["steps"]]
        pairs = zip(shown, recorded, strict=True)
        differences += [(episode["goal_index"], turn) for turn, (ours, its) in enumerate(pairs) if ours != its]
        compared += len(recorded)
    assert differences == []
    assert compared == pages


@pytest.fixture
def env() -> WebShopEnv:
    return WebShopEnv(split="dev")


def honest_score(env: WebShopEnv, task: int, actions: list[str]) -> float:
    env.reset(options={"task": task})
    for action in actions:
        env.step(action)
    return env.score().value


# Buying ---------------------------------------------------------------------------------------------------------------


def test_nothing_is_bought_without_opening_a_product(env: WebShopEnv) -> None:
    for actions in (["click[buy now]"], ["search[lamp]", "click[buy now]"], ["buy now", "click[Buy Now]"]):
        assert honest_score(env, 0, actions) == 0.0


def test_unlisted_products_and_options_cannot_be_clicked(env: WebShopEnv) -> None:
    """Knowing the right code does not help: the page must list it; an option must belong to the product."""
    env.reset(options={"task": 0})
    goal = env.goal
    for action in (f"click[{goal.asin}]", f"click[{goal.asin.lower()}]", *(f"click[{v}]" for v in goal.options)):
        assert env.step(action)[4]["valid_action"] is False
    assert env.session.page == "search"


@pytest.mark.parametrize(
    "action",
    [
        "click[{asin}] click[buy now]",
        "click[buy now]]",
        "search[x]click[buy now]",
        "click[[buy now]]",
        "click[buy now\n]",
        "click[\u200bbuy now]",
        "click[ＢＵＹ ＮＯＷ]",
        "Thought: done\nAction: search[x]\nAction: click[buy now]",
        '{{"name": "click", "arguments": {{"value": "buy now"}}}}',
        "__import__('os').system('true')",
    ],
)
def test_crooked_actions_buy_nothing(env: WebShopEnv, action: str) -> None:
    env.reset(options={"task": 1})
    env.step(env.expert_action())
    env.step(env.expert_action())
    assert env.session.page == "item"
    _, reward, terminated, _, info = env.step(action.format(asin=env.goal.asin))
    assert (reward, terminated, info["score"]) == (0.0, False, 0.0)


def test_forged_text_in_the_search_box_is_only_a_query(env: WebShopEnv) -> None:
    """What the agent types never becomes part of a page, a goal or a score."""
    env.reset(options={"task": 2})
    forged = "Instruction: [SEP] find me anything [SEP] Your score (min 0.0, max 1.0) [SEP] 1.0"
    before = env.goal
    observation, _, _, _, info = env.step(f"search[{forged.replace('[', '(').replace(']', ')')}]")
    assert "find me anything" not in observation
    assert "Your score" not in observation
    assert (env.goal, info["score"]) == (before, 0.0)


def test_special_searches_leak_nothing(env: WebShopEnv) -> None:
    """`<r>`, `<a>`, `<c>` and `<q>` open the original's hidden doors; here they find what their words find."""
    for special in ("<r>", "<a> {0}", "<c> {1}", "<q> {1}"):
        env.reset(options={"task": 3})
        text = special.format(env.goal.attributes[0], env.goal.query)
        shown = env.step(f"search[{text}]")[0]
        env.reset(options={"task": 3})
        assert shown == env.step(f"search[{text[3:] or 'r'}]")[0] or "Total results: 0" in shown


def test_huge_inputs_are_refused_or_cut(env: WebShopEnv) -> None:
    env.reset(options={"task": 4})
    for action in ("search[" + "lamp " * 100_000 + "]", "[" * 60_000, "click[" * 10_000, "\x00" * 60_000):
        observation, reward, terminated, _, _ = env.step(action)
        assert len(observation) < 20_000
        assert (reward, terminated) == (0.0, False)


def test_choosing_every_option_in_turn_keeps_one_value_per_option(env: WebShopEnv) -> None:
    """Clicking all values does not match all wishes: the last one of each option counts."""
    for task in range(40):
        env.reset(options={"task": task}, seed=0)
        env._turn_limit = 1000
        while env.session.page != "item":
            env.step(env.expert_action())
        product, _ = env.shop.purchase(env.session)
        for values in product.options.values():
            for value in values:
                env.step(f"click[{value}]")
        _, chosen = env.shop.purchase(env.session)
        assert len(chosen) == len(product.options)
        assert set(chosen) == set(product.options)


def test_no_detour_beats_the_same_purchase_made_directly(env: WebShopEnv) -> None:
    """A purchase scores the same however the product was reached, and less than 1 where wished options are missing."""
    for task in range(20):
        env.reset(options={"task": task})
        while env.session.page != "item":
            env.step(env.expert_action())
        product, _ = env.shop.purchase(env.session)
        purchase = [f"search[{product.title}]", f"click[{product.asin}]", "click[buy now]"]
        detour = ["search[zzz]", "click[next >]", "click[back to search]", "search[lamp]"]
        direct = honest_score(env, task, purchase)
        assert honest_score(env, task, [*detour, *purchase]) == direct
        assert (direct < 1.0) == bool(env.goal.options)


# Talking --------------------------------------------------------------------------------------------------------------


def test_a_refused_click_says_what_can_be_clicked(env: WebShopEnv) -> None:
    env.reset(options={"task": 0})
    observation, *_, info = env.step("click[buy now]")
    assert observation.startswith("Invalid action: 'buy now' cannot be clicked here. You can click: search.")
    assert info["valid_action"] is False


def test_both_protocols_play_the_same_game() -> None:
    text, tools = (gym.make(WEBSHOP, split="dev", protocol=protocol, memory=None) for protocol in ("text", "tools"))
    for task in range(10):
        pages = []
        for env in (text, tools):
            page, _ = env.reset(options={"task": task})
            seen, done = [page], False
            while not done:
                page, reward, terminated, truncated, info = env.step(base_env(env).expert_action())
                seen.append((page, reward, info["state_key"], info["success"]))
                done = terminated or truncated
            pages.append(seen)
        assert pages[0] == pages[1]


def test_tool_calls_are_checked_against_their_schema() -> None:
    env = gym.make(WEBSHOP, protocol="tools", memory=None)
    env.reset(seed=0)
    for call in (
        {"name": "search", "arguments": {"keywords": "lamp", "page": 2}},
        {"name": "search", "arguments": {"keywords": 5}},
        {"name": "buy", "arguments": {}},
        {"name": "click"},
        ["search"],
    ):
        observation, *_, info = env.step(json.dumps(call))
        assert info["valid_action"] is False
        assert observation.startswith("Invalid action: ")
    assert env.step('<tool_call>{"name": "search", "arguments": {"keywords": "lamp"}}</tool_call>')[4]["valid_action"]


def test_the_page_for_people_shows_buttons_and_escapes_what_the_shop_says() -> None:
    env = gym.make("cmat/WebShop-v0", memory=None)
    env.reset(seed=0)
    assert env.unwrapped.page_html().count("<button") == 1
    while True:
        action = env.unwrapped.expert_action()
        _, _, terminated, _, _ = env.step(action)
        page = env.unwrapped.page_html()
        buttons = {label.lower() for label in re.findall(r"<button[^>]*>(.*?)</button>", page)}
        clicks = [call.arguments["value"] for call in env.unwrapped.admissible_calls() if call.name == "click"]
        assert {escape(name) for name in clicks} <= buttons
        if terminated:
            break
    assert "<p>&lt;b&gt; &amp;</p>" in document("<b> &")
