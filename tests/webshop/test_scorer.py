"""The reward by hand, the word measure and the nouns of titles."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.errors import MissingExtraError, UnknownNameError
from cmat_gym.envs.webshop.fuzzy import token_set_ratio
from cmat_gym.envs.webshop.nouns import make_tagger, nouns
from cmat_gym.envs.webshop.records import Goal, Product
from cmat_gym.envs.webshop.scorer import COLOURS, first_colour, score_webshop

# The word measure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("easy clean", "easy clean", 100),
        ("easy to clean", "clean EASY", 100),
        ("x-large", "large", 100),
        ("navy_blue", "blue", 100),
        ("", "", 0),
        ("", "red", 0),
        ("日本", "日本", 100),
        ("naïve", "nave", 100),  # U+0080 to U+00FF are dropped
        ("abc", "abd", 67),  # 2 edits in 6 letters
        ("large", "larger", 91),  # 1 edit in 11 letters
        ("small", "medium", 18),  # one letter in common: 9 edits in 11
        ("red one", "red two", 71),  # `red one`, `red two`: 4 edits in 14
        ("red shoes", "red", 100),
        ("red shoe for men", "red shoes for men", 97),
        ("('size', '8')", "('size', '9')", 83),
    ],
)
def test_token_set_ratio(first: str, second: str, expected: int) -> None:
    assert token_set_ratio(first, second) == expected


@given(st.text(alphabet="ab c-1é", max_size=12), st.text(alphabet="ab c-1é", max_size=12))
def test_token_set_ratio_is_a_measure(first: str, second: str) -> None:
    ratio = token_set_ratio(first, second)
    assert 0 <= ratio <= 100
    assert ratio == token_set_ratio(second, first)
    assert ratio == token_set_ratio(" ".join(reversed(first.upper().split())), second)


@given(st.text(alphabet="abc", min_size=1, max_size=10), st.text(alphabet="abc", min_size=1, max_size=10))
def test_single_words_compare_by_their_common_subsequence(first: str, second: str) -> None:
    rows = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            rows[i][j] = rows[i - 1][j - 1] + 1 if a == b else max(rows[i - 1][j], rows[i][j - 1])
    assert token_set_ratio(first, second) == round(200 * rows[-1][-1] / (len(first) + len(second)))


# Nouns ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Tern Desk Lamp", ("tern", "desk", "lamp")),
        ("Women's Shoes for the Gym, Size 8", ("women", "shoes", "gym", "size")),
        ("T-Shirt with a soft lining", ("t", "shirt", "lining")),
        ("Soft Shirt, carefully padded and washable", ("soft", "shirt")),
        ("2 Pack 40mm Rings Rings", ("pack", "rings", "rings")),
        ("", ()),
    ],
)
def test_nouns(title: str, expected: tuple[str, ...]) -> None:
    assert nouns(title) == expected


def test_taggers_by_name() -> None:
    assert make_tagger("builtin") is nouns
    with pytest.raises(UnknownNameError, match="builtin, spacy"):
        make_tagger("nltk")


@pytest.mark.skipif(importlib.util.find_spec("spacy") is not None, reason="spaCy is installed")
def test_spacy_is_optional() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'cmat-gym\[spacy\]'"):
        make_tagger("spacy")


# The reward ----------------------------------------------------------------------------------------------------------


def product(**fields: object) -> Product:
    defaults = {
        "asin": "B1", "title": "Tern Desk Lamp", "description": "Bright and warm.", "features": ("Easy Clean", "Tall"),
        "price": 25.0, "price_tag": "$25.0", "options": {}, "attributes": ("energy efficient",), "query": "desk lamps",
        "category": "garden", "product_category": "Home › Lamps › Desk Lamps",
    }  # fmt: skip
    return Product(**{**defaults, **fields})  # type: ignore[arg-type]


def goal(**fields: object) -> Goal:
    defaults = {
        "asin": "B1", "instruction": "find me a lamp", "attributes": ("easy clean", "efficient energy"),
        "options": {"color": "blue", "size": "small"}, "price_upper": 30.0, "query": "desk lamps",
        "name": "Tern Desk Lamp", "product_category": "Home › Lamps › Desk Lamps",
    }  # fmt: skip
    return Goal(**{**defaults, **fields})  # type: ignore[arg-type]


RIGHT = {"color": "blue", "size": "small"}


def test_the_right_purchase() -> None:
    score = score_webshop(goal(), product(), RIGHT)
    assert score == (1.0, 2, 2, 2, 2, True, 1.0, 1.0)
    assert score.success


@pytest.mark.parametrize(
    ("bought", "chosen", "value"),
    [
        (product(), {}, 3 / 5),
        (product(), {"color": "sky blue", "size": "large"}, 4 / 5),  # `sky blue` counts as `blue`
        (product(), {"color": "blue"}, 4 / 5),
        (product(price=30.0), RIGHT, 1.0),
        (product(price=30.01), RIGHT, 4 / 5),
        (product(attributes=()), RIGHT, 4 / 5),  # `easy clean` still stands in the features
        (product(attributes=(), features=("Easy", "Clean")), RIGHT, 4 / 5),  # and joined by a blank
        (product(attributes=(), features=()), RIGHT, 3 / 5),
        (product(attributes=(), features=(), description="EASY CLEAN"), RIGHT, 4 / 5),
    ],
)
def test_parts_of_the_sum(bought: Product, chosen: dict[str, str], value: float) -> None:
    assert score_webshop(goal(), bought, chosen).value == pytest.approx(value)


OTHER = {"query": "rugs", "product_category": "Home › Rugs"}  # shares one part of the path


@pytest.mark.parametrize(
    ("name", "title", "fields", "factor"),
    [
        ("Tern Desk Lamp", "Kite Wool Rug", {}, 0.0),  # nothing shared: 0, whatever the query
        ("Tern Desk Lamp", "Tern Wool Rug", OTHER, 1.0),  # 1 of 3 nouns
        ("Alpha Beta Gamma Delta Lamp", "Wool Lamp", OTHER, 0.5),  # 1 of 5 is not above 0.2
        ("Alpha Beta Gamma Delta Lamp", "Wool Lamp", {}, 1.0),  # but the query is the same
        ("Alpha Beta Gamma Delta Lamp", "Wool Lamp", {"query": "rugs"}, 1.0),  # or the path
        ("A1 B1 C1 D1 E1 F1 G1 H1 I1 J1 Lamp", "Wool Lamp", {}, 0.1),  # 1 of 11
        ("Lamp Lamp Lamp Lamp Lamp Lamp", "Wool Lamp", OTHER, 0.5),  # repeats count below the line only
        ("for the", "Wool Lamp", OTHER, 0.5),  # no nouns: 0.2
    ],
)
def test_type_factor(name: str, title: str, fields: dict[str, str], factor: float) -> None:
    score = score_webshop(goal(name=name), product(title=title, **fields), RIGHT)
    assert score.type_factor == factor
    assert score.value == pytest.approx(factor)


@pytest.mark.parametrize(
    ("wanted", "chosen", "matched"),
    [
        ({"color": "blue"}, {"color": "navy blue"}, 1),  # the chosen text is reduced to `blue`
        ({"color": "navy blue"}, {"color": "navy blue"}, 1),  # the pair is not, but `blue` is among its words
        ({"fit": "tapered"}, {"fit": "tapered"}, 0),  # reduced to `red`, which is no word of the pair
        ({"color": "sky 8"}, {"color": "sky 8"}, 1),
        ({"size": "8"}, {"size": "9"}, 0),
        ({"size": "8"}, {"width": "8"}, 1),
        (("navy blue",), {"color": "blue sky"}, 1),  # human goals: both reduced
        (("8 wide",), {"size": "8 wide"}, 1),
        (("red", "blue"), {"color": "red"}, 1),
    ],
)
def test_options(wanted: dict[str, str] | tuple[str, ...], chosen: dict[str, str], matched: int) -> None:
    assert score_webshop(goal(options=wanted), product(), chosen).options == matched


def test_colours() -> None:
    assert len(COLOURS) == 102
    assert list(COLOURS) == sorted(COLOURS)
    assert first_colour("bored of stripes") == "red"
    assert first_colour("28 inch") == "28 inch"
    assert first_colour("white and black") == "black"
