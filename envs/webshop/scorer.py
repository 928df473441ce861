"""The reward of a purchase, from 0 to 1, as the WebShop paper defines it and its code computes it.

    reward = type factor · (attributes matched + options matched + price kept) / (|attributes| + |options| + 1)

Source: S. Yao et al., "WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents", 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cmat_gym.envs.webshop.fuzzy import token_set_ratio
from cmat_gym.envs.webshop.nouns import Tagger, nouns
from cmat_gym.envs.webshop.records import Goal, Product

__all__ = ["WebShopScore", "first_colour", "score_webshop"]

COLOURS = tuple((Path(__file__).parent / "data" / "colours.txt").read_text(encoding="utf-8").split())
ALIKE = 85  # a token-set ratio above this is a match


class WebShopScore(NamedTuple):
    """The reward of a purchase and what it is made of."""

    value: float
    attributes: int
    attributes_wanted: int
    options: int
    options_wanted: int
    price: bool
    type_factor: float
    title_score: float

    @property
    def success(self) -> bool:
        """Whether everything that was asked for was bought: the paper's success."""
        return self.value == 1.0


NOTHING_BOUGHT = WebShopScore(0.0, 0, 0, 0, 0, False, 0.0, 0.0)


def score_webshop(goal: Goal, product: Product, chosen: Mapping[str, str], tagger: Tagger = nouns) -> WebShopScore:
    """Score buying `product` with the `chosen` options (name -> value).

    Args:
        goal: What was asked for.
        product: What was bought; its `price` (not the price tag) is compared with the goal's cap.
        chosen: The options chosen, by name.
        tagger: Gives the nouns of a title, with repeats.
    """
    attributes = sum(_has_attribute(product, wanted) for wanted in goal.attributes)
    options = _matched_options(goal.options, chosen)
    price = product.price <= goal.price_upper
    title_score = _title_score(goal.name, product.title, tagger)
    type_factor = _type_factor(goal, product, title_score)
    wanted = len(goal.attributes) + len(goal.options) + 1
    value = type_factor * ((attributes + options + price) / wanted)
    return WebShopScore(
        value, attributes, len(goal.attributes), options, len(goal.options), price, type_factor, title_score
    )


def _has_attribute(product: Product, wanted: str) -> bool:
    """Among the product's attributes, more or less; else to the letter in its texts."""
    if any(token_set_ratio(attribute, wanted) > ALIKE for attribute in product.attributes):
        return True
    texts = (product.title, " ".join(product.features), product.description)
    return any(wanted in text.lower() for text in texts)


def _matched_options(wanted: Mapping[str, str] | tuple[str, ...], chosen: Mapping[str, str]) -> int:
    """How many wanted options some chosen value is like."""
    values = [first_colour(value) for value in chosen.values()]
    if isinstance(wanted, Mapping):
        texts = [_pair_text(name, value) for name, value in wanted.items()]
    else:
        texts = [first_colour(value) for value in wanted]
    return sum(any(token_set_ratio(value, text) > ALIKE for value in values) for text in texts)


@lru_cache(maxsize=4096)
def first_colour(text: str) -> str:
    """The first colour of the list that occurs in the text (also inside a word), else the text itself."""
    return next((colour for colour in COLOURS if colour in text), text)


def _pair_text(name: str, value: str) -> str:
    """What a wanted option of a synthetic goal is compared as.

    The original compares the (name, value) pair: a colour is "in" a pair only if it equals one of the two, and any
    other pair is compared by its printed form, so the name's words count too.
    """
    return next((colour for colour in COLOURS if colour in (name, value)), str((name, value)))


def _title_score(wanted: str, bought: str, tagger: Tagger) -> float:
    """The share of the wanted title's nouns that the bought title has too."""
    wanted_nouns = tagger(wanted)
    return len(set(wanted_nouns) & set(tagger(bought))) / len(wanted_nouns) if wanted_nouns else 0.2


def _type_factor(goal: Goal, product: Product, title_score: float) -> float:
    """Whether the right kind of thing was bought. Titles without a shared noun score 0 whatever the categories say."""
    if title_score == 0.0:
        return 0.0
    if title_score < 0.1:
        return 0.1
    shared = _path(goal.product_category) & _path(product.product_category)
    return 1.0 if product.query == goal.query or len(shared) >= 2 or title_score > 0.2 else 0.5


def _path(category: str) -> set[str]:
    return {part.strip() for part in category.split("›")}
