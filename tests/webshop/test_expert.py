"""The shop's expert: buys the right article from anywhere, in exactly the number of actions it announces."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop.backend import Session, WebShopBackend
from cmat_gym.envs.webshop.catalogue import Dice, product_types
from cmat_gym.envs.webshop.expert import WebShopExpert
from cmat_gym.envs.webshop.generator import MAX_TURNS, BuiltinShopTasks
from cmat_gym.envs.webshop.records import Goal, Product
from cmat_gym.envs.webshop.scorer import score_webshop
from cmat_gym.envs.webshop.search import SearchIndex
from cmat_gym.envs.webshop.tasks import open_shop

COUNTS = {"train": 2000, "dev": 500, "test": 500}


@pytest.fixture(scope="module")
def tasks() -> BuiltinShopTasks:
    return BuiltinShopTasks()


@pytest.fixture(scope="module")
def shop() -> WebShopBackend:
    return open_shop().backend


def buy(shop: WebShopBackend, expert: WebShopExpert, session: Session) -> tuple[Session, int]:
    """Follow the expert to the purchase, and check that every single action brings it one action nearer."""
    steps = 0
    while not session.purchased:
        cost = expert.cost_to_go(session)
        kind, argument = expert.next_action(session)
        assert kind == "search" or argument in shop.clickables(session)
        session, valid = shop.step(session, kind, argument)
        assert valid
        assert expert.cost_to_go(session) == cost - 1
        steps += 1
        assert steps <= 100
    return session, steps


def wander(shop: WebShopBackend, dice: Dice) -> Session:
    """Up to 25 random searches and clicks, anything but a purchase."""
    session = Session()
    for _ in range(dice.integer(1, 25)):
        clickables = [name for name in shop.clickables(session) if name not in ("search", "buy now")]
        if not clickables or dice.chance(0.1):
            session = shop.step(session, "search", dice.pick(product_types()).query).session
        elif "next >" in clickables and dice.chance(0.4):
            session = shop.step(session, "click", "next >").session
        else:
            session = shop.step(session, "click", dice.pick(clickables)).session
    return session


def score(shop: WebShopBackend, goal: Goal, session: Session) -> float:
    return score_webshop(goal, *shop.purchase(session)).value


@pytest.mark.parametrize("split", COUNTS)
def test_solves_every_task_as_announced(shop: WebShopBackend, tasks: BuiltinShopTasks, split: str) -> None:
    lengths = []
    for index in range(COUNTS[split]):
        goal = tasks.goal(split, index)
        expert = WebShopExpert(goal, shop)
        announced = expert.cost_to_go(Session())
        session, steps = buy(shop, expert, Session())
        assert score(shop, goal, session) == 1.0, goal
        assert steps == announced
        lengths.append(steps)
    print(f"{split}: median plan {median(lengths)}, longest {max(lengths)}")
    assert median(lengths) == 5  # search, open, choose two options, buy
    assert max(lengths) <= MAX_TURNS - 5


def test_solves_from_anywhere_as_announced(shop: WebShopBackend, tasks: BuiltinShopTasks) -> None:
    for seed in range(600):
        goal = tasks.goal("train", seed)
        start = wander(shop, Dice(seed, 77))
        expert = WebShopExpert(goal, shop)
        announced = expert.cost_to_go(start)
        session, steps = buy(shop, expert, start)
        assert score(shop, goal, session) == 1.0, (goal, start)
        assert steps == announced, (goal, start)


def test_wandering_reaches_every_kind_of_page(shop: WebShopBackend) -> None:
    """Or the test above would prove less than it says."""
    sessions = [wander(shop, Dice(seed, 77)) for seed in range(600)]
    assert {session.page for session in sessions} == {"search", "results", "item", "description", "features", "reviews"}
    assert sum(session.number >= 3 for session in sessions) > 20
    assert sum(bool(session.options) for session in sessions) > 20


def test_no_shorter_way_exists(shop: WebShopBackend, tasks: BuiltinShopTasks) -> None:
    """Clicks never lead to a state that is more than one action nearer; the expert's own searches neither."""
    for seed in range(150):
        expert = WebShopExpert(tasks.goal("train", seed), shop)
        session = wander(shop, Dice(seed, 78))
        cost = expert.cost_to_go(session)
        actions = [("click", name) for name in shop.clickables(session)]
        actions.append(expert.next_action(Session()))
        for action in actions:
            after, _ = shop.step(session, *action)
            assert expert.cost_to_go(after) >= cost - 1


def test_thoughts_are_short_and_say_why(shop: WebShopBackend, tasks: BuiltinShopTasks) -> None:
    thoughts = set()
    for seed in range(300):
        session, expert = wander(shop, Dice(seed, 79)), WebShopExpert(tasks.goal("train", seed), shop)
        while not session.purchased:
            thoughts.add(expert.thought(session))
            session, _ = shop.step(session, *expert.next_action(session))
    assert all(1 <= len(thought.split()) <= 14 and thought[-1] == "." for thought in thoughts)
    for start in ("I search for", "These are", "The request says", "Everything fits", "I have read"):
        assert any(thought.startswith(start) for thought in thoughts), start


def test_wrong_purchases_are_beyond_repair(shop: WebShopBackend, tasks: BuiltinShopTasks) -> None:
    goal = tasks.goal("train", 0)
    expert = WebShopExpert(goal, shop)
    wrong = next(product for product in tasks.catalogue if product.query != goal.query)
    assert expert.cost_to_go(Session("done", asin=wrong.asin)) == math.inf
    right, _ = buy(shop, expert, Session())
    assert expert.cost_to_go(right) == 0
    with pytest.raises(UsageError, match="nothing left to do"):
        expert.next_action(right)


def test_unsolvable_goals_have_infinite_cost_and_still_a_best_effort(shop: WebShopBackend) -> None:
    product = next(product for product in shop.products if "color" in product.options)  # type: ignore[attr-defined]
    goal = Goal(
        asin=product.asin,
        instruction="",
        attributes=product.attributes,
        options={"color": "ultraviolet"},
        price_upper=1_000_000,
        query=product.query,
        name=product.title,
        product_category=product.product_category,
    )
    expert = WebShopExpert(goal, shop)
    session, steps = Session(), 0
    assert expert.cost_to_go(session) == math.inf
    while not session.purchased:
        session, _ = shop.step(session, *expert.next_action(session))
        steps += 1
    assert session.asin == product.asin
    assert steps == 3


def test_goals_of_people_name_values_only(shop: WebShopBackend, tasks: BuiltinShopTasks) -> None:
    for index in range(100):
        goal = tasks.goal("train", index)
        assert isinstance(goal.options, dict)
        human = Goal(
            asin=goal.asin,
            instruction=goal.instruction,
            attributes=goal.attributes,
            options=tuple(goal.options.values()),
            price_upper=goal.price_upper,
            query=goal.query,
            name=goal.name,
            product_category=goal.product_category,
        )
        session, _ = buy(shop, WebShopExpert(human, shop), Session())
        assert score(shop, human, session) == 1.0


# How hard the shop is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", COUNTS)
def test_the_first_hit_is_often_wrong(shop: WebShopBackend, tasks: BuiltinShopTasks, split: str) -> None:
    """Buying the first hit of the expert's own search, with the options that were asked for as far as it has them."""
    right = on_first_page = 0
    for index in range(500):
        goal = tasks.goal(split, index)
        expert = WebShopExpert(goal, shop)
        _, query = expert.next_action(Session())
        first = shop.products[shop.hits(query)[0]]
        assert isinstance(goal.options, dict)
        options = {name: value for name, value in goal.options.items() if value in first.options.get(name, ())}
        right += score_webshop(goal, first, options).value == 1.0
        on_first_page += expert.cost_to_go(Session()) == 3 + len(goal.options)
    print(f"{split}: first hit right {right / 500:.3f}, a right article on the first page {on_first_page / 500:.3f}")
    assert right / 500 < 0.5
    assert on_first_page / 500 > 0.95


def test_options_matter(shop: WebShopBackend, tasks: BuiltinShopTasks) -> None:
    asked = 0
    for index in range(500):
        goal = tasks.goal("test", index)
        product = shop.products[tasks.catalogue.position(goal.asin) or 0]
        assert (score_webshop(goal, product, {}).value < 1.0) == bool(goal.options)
        asked += bool(goal.options)
    assert asked / 500 > 0.8


def test_only_the_value_that_was_asked_for_counts() -> None:
    """The score compares texts loosely, so the vocabulary must keep its values apart."""
    for kind in product_types():
        for name, values in kind.options:
            for wanted in values:
                goal = Goal("B000000", "", (), {name: wanted}, 1e6, kind.query, "lamp", kind.product_category)
                for other_name, others in kind.options:
                    for chosen in others:
                        product = lamp(kind.query, kind.product_category)
                        matched = score_webshop(goal, product, {other_name: chosen}).options
                        assert matched == ((name, wanted) == (other_name, chosen)), (wanted, chosen)


def test_only_the_attribute_that_was_asked_for_counts() -> None:
    for kind in product_types():
        for wanted in kind.attributes:
            goal = Goal("B000000", "", (wanted,), {}, 1e6, kind.query, "lamp", kind.product_category)
            for owned in kind.attributes:
                product = lamp(kind.query, kind.product_category, owned)
                assert score_webshop(goal, product, {}).attributes == (owned == wanted), (wanted, owned)


def lamp(query: str, path: str, *attributes: str) -> Product:
    return Product("B000000", "lamp", "", attributes, 9.0, "$9.0", {}, attributes, query, "home", path)


def test_large_shops_are_solved_too() -> None:
    tasks = BuiltinShopTasks(seed=1, size=20_000)
    shop = WebShopBackend(tasks.catalogue, SearchIndex.build(product.search_text for product in tasks.catalogue))
    lengths = []
    for index in np.linspace(0, 2**31 - 1, 150, dtype=int).tolist():
        goal = tasks.goal("train", index)
        session, steps = buy(shop, WebShopExpert(goal, shop), Session())
        assert score(shop, goal, session) == 1.0
        lengths.append(steps)
    assert max(lengths) <= MAX_TURNS
