"""Tasks of the builtin shop, made the way WebShop makes its synthetic goals.

A goal is a product of the catalogue, some of its attributes, a value for some of its options and a price cap, put into
words. Splits never meet: one content hash gives every product to a split, another one every request (type, attributes
and options, whatever the cap and the wording), and a split has the goals for which both hashes name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from cmat_gym.core.errors import TaskError, UnknownNameError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.webshop.catalogue import Catalogue, Dice, build_catalogue, phrases
from cmat_gym.envs.webshop.records import Goal, Product

__all__ = ["MAX_TURNS", "BuiltinShopTasks", "goal_from_payload", "goal_payload", "product_split", "request_split"]

MAX_TURNS = 15
SIZES = {"train": 2**31, "dev": 500, "test": 500}
SMALLEST_CATALOGUE = 500  # with fewer products, the dev and test panels run out of different requests
DRAWS_PER_PRODUCT = 20  # a quarter of the requests is for the test split, so nearly all products yield one by then


# Splits by content ---------------------------------------------------------------------------------------------------


def _bucket(content: object, count: int) -> int:
    return int(content_hash(content)[:8], 16) % count


def product_split(product: Product) -> str:
    """The only split in which a product is a goal: of ten, eight are for training, one for dev, one for test.

    Identical articles share a split, whatever their asins.
    """
    content = [product.title, product.features, product.price_tag, product.options, product.attributes]
    return ("dev", "test", *["train"] * 8)[_bucket(content, 10)]


def request_split(query: str, attributes: Iterable[str], options: Mapping[str, str]) -> str:
    """The only split in which anybody asks for these things, with whatever cap and in whatever words.

    Half of the requests are for training; smaller shares for dev and test would leave their few products too few.
    """
    return ("dev", "test", "train", "train")[_bucket([query, sorted(attributes), options], 4)]


# Goals ---------------------------------------------------------------------------------------------------------------


class _Wish(NamedTuple):
    attributes: list[str]
    options: dict[str, str]


def _draw_wish(product: Product, dice: Dice) -> _Wish:
    """Attributes and option values a customer of `product` might name.

    Seven wishes of ten can be checked on the results page; the others name an attribute that only the features list.
    """
    title = product.title.lower()
    shown = [attribute for attribute in product.attributes if attribute in title]
    hidden = [attribute for attribute in product.attributes if attribute not in title]
    attributes = dice.sample(shown, dice.integer(1, len(shown)))
    if dice.chance(0.3):
        attributes = [*attributes[:1], *dice.sample(hidden, dice.integer(1, min(2, len(hidden))))]
    names = [name for name in product.options if dice.chance(0.95)]
    return _Wish(attributes, {name: dice.pick(product.options[name]) for name in names})


def _draw_cap(price: float, dice: Dice) -> int:
    """The larger of two different draws from the next four multiples of ten above the price."""
    first = int(price) // 10 + 1
    return 10 * max(dice.sample(range(first, first + 4), 2))


def _instruction(query: str, wish: _Wish, cap: int, dice: Dice) -> str:
    words = phrases()
    if dice.chance(0.5):
        options = "with " + ", and ".join(f"{name}: {value}" for name, value in wish.options.items())
    else:
        natural = (words.natural_options.get(name, f"with {{value}} {name}") for name in wish.options)
        options = ", ".join(
            part.format(value=value) for part, value in zip(natural, wish.options.values(), strict=True)
        )
    want = dice.pick(words.wants).format(attributes=" and ".join(wish.attributes), query=query)
    price = dice.pick(words.prices).format(cap=cap)
    return dice.pick(words.requests).format(want=f"{want} {options}" if wish.options else want, price=price)


def _draw_goal(catalogue: Catalogue, split: str, index: int) -> Goal:
    """Draw products until one is of this split, then wishes until one is."""
    dice = Dice(catalogue.seed, 3, list(SIZES).index(split), index)
    while True:
        product = catalogue[dice.integer(0, len(catalogue) - 1)]
        if product_split(product) != split:
            continue
        for _ in range(DRAWS_PER_PRODUCT):
            wish = _draw_wish(product, dice)
            if request_split(product.query, *wish) == split:
                cap = _draw_cap(product.price, dice)
                return Goal(
                    asin=product.asin,
                    instruction=_instruction(product.query, wish, cap, dice),
                    attributes=tuple(wish.attributes),
                    options=wish.options,
                    price_upper=float(cap),
                    query=product.query,
                    name=product.title,
                    product_category=product.product_category,
                    category=product.category,
                )


@lru_cache(maxsize=16)
def _panel(seed: int, size: int, split: str) -> tuple[Goal, ...]:
    """The goals of a fixed panel: the first ones drawn whose requests differ."""
    catalogue = build_catalogue(seed, size)
    panel: dict[str, Goal] = {}
    for index in count():
        goal = _draw_goal(catalogue, split, index)
        panel.setdefault(content_hash([goal.query, sorted(goal.attributes), goal.options]), goal)
        if len(panel) == SIZES[split]:
            break
    return tuple(panel.values())


# Payloads ------------------------------------------------------------------------------------------------------------


def goal_payload(goal: Goal) -> dict[str, Any]:
    """A goal as a JSON-able dict."""
    options = dict(goal.options) if isinstance(goal.options, dict) else list(goal.options)
    return {
        "asin": goal.asin,
        "instruction": goal.instruction,
        "attributes": list(goal.attributes),
        "options": options,
        "price_upper": goal.price_upper,
        "query": goal.query,
        "name": goal.name,
        "product_category": goal.product_category,
        "category": goal.category,
        "weight": goal.weight,
    }


def goal_from_payload(payload: Mapping[str, Any]) -> Goal:
    """The inverse of `goal_payload`."""
    options = payload["options"]
    return Goal(
        **{
            **payload,
            "attributes": tuple(payload["attributes"]),
            "options": dict(options) if isinstance(options, Mapping) else tuple(options),
        }
    )


# The source ----------------------------------------------------------------------------------------------------------


class BuiltinShopTasks(TaskSource):
    """Procedural shopping tasks: a practically endless `train` split, and panels of 500 for `dev` and `test`.

    Task `i` of a split is a pure function of (seed, size, split, i).

    Args:
        seed: Of the catalogue and of the goals.
        size: Products in the catalogue, 500 to 1,000,000.

    Raises:
        UsageError, TaskError: The seed or the size is out of range.
    """

    domain = "webshop"

    def __init__(self, seed: int = 0, size: int = 1000) -> None:
        if size < SMALLEST_CATALOGUE:
            raise TaskError(f"Builtin shop tasks need a catalogue of {SMALLEST_CATALOGUE} products or more, got {size}")
        self.seed = seed
        self.size = size
        # The default catalogue has the short name; every other one must not share its task ids.
        self.name = "builtin-v0" if (seed, size) == (0, 1000) else f"builtin-v0-seed{seed}-size{size}"

    @property
    def catalogue(self) -> Catalogue:
        """The products, shared by all sources of this process with the same seed and size."""
        return build_catalogue(self.seed, self.size)

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def goal(self, split: str, index: int) -> Goal:
        """The goal at `index` of `split`.

        Raises:
            UnknownNameError: There is no such split; the message lists them.
        """
        if split not in SIZES:
            raise UnknownNameError("split of the builtin shop", split, SIZES)
        if split == "train":
            return _draw_goal(self.catalogue, split, index)
        return _panel(self.seed, self.size, split)[index]

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`; its payload says which catalogue it is about, and the whole goal."""
        goal = self.goal(split, index)
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=goal.instruction,
            payload={"catalogue": {"seed": self.seed, "size": self.size}, "goal": goal_payload(goal)},
            max_turns=MAX_TURNS,
        )
