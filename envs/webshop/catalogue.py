"""The shelves of the builtin shop: up to a million seeded products in our own words.

Products come in families. The members of a family share a type and most of their features, and each differs from the
first in one respect: an attribute, the values of an option, an option that is missing, or the price. So the first hit
of a good search is often the wrong article, and the pages tell why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop.records import Product

__all__ = ["MAX_PRODUCTS", "Catalogue", "Dice", "Phrases", "ProductType", "build_catalogue", "phrases", "product_types"]

MAX_PRODUCTS = 1_000_000  # one for each asin `B000000` ... `B999999`
MAX_TITLE_WORDS = 8
CENTS = (0.0, 0.0, 0.5, 0.95, 0.99)
CACHED_FAMILIES = 4096  # about 20,000 products; smaller catalogues stay in memory once built

T = TypeVar("T")
Options = dict[str, tuple[str, ...]]


# The vocabulary ------------------------------------------------------------------------------------------------------


class ProductType(NamedTuple):
    """A kind of product: what shoppers type, and what its products may be made of."""

    query: str
    category: str
    product_category: str
    price: tuple[float, float]
    materials: tuple[str, ...]
    uses: tuple[str, ...]
    attributes: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]  # option name, all its possible values


class Phrases(NamedTuple):
    """The sentence patterns of product pages and requests, and the parts brands are made of."""

    brand_stems: tuple[str, ...]
    brand_endings: tuple[str, ...]
    tones: tuple[str, ...]
    titles: tuple[str, ...]
    descriptions: tuple[str, ...]
    bullets: tuple[str, ...]
    requests: tuple[str, ...]
    wants: tuple[str, ...]
    prices: tuple[str, ...]
    natural_options: Mapping[str, str]


def _read(name: str) -> str:
    return (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")


@cache
def phrases() -> Phrases:
    """The sentence patterns, from `data/phrases.json`."""
    table = json.loads(_read("phrases.json"))
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Phrases(**fields)


@cache
def product_types() -> tuple[ProductType, ...]:
    """All product types, from `data/types.json` and `data/options.json`."""
    pools = {key: (pool["name"], tuple(pool["values"])) for key, pool in json.loads(_read("options.json")).items()}
    return tuple(
        ProductType(
            query=entry["query"],
            category=department["category"],
            product_category=" › ".join([department["path"], entry["query"].title()]),
            price=(entry["price"][0], entry["price"][1]),
            materials=tuple(entry["materials"]),
            uses=tuple(department["uses"]),
            attributes=tuple(entry["attributes"]),
            options=tuple(pools[key] for key in entry["options"]),
        )
        for department in json.loads(_read("types.json"))
        for entry in department["types"]
    )


# Chance --------------------------------------------------------------------------------------------------------------


class Dice:
    """Cheap draws from a seeded generator, which is read in blocks: a scalar draw from numpy costs ten times more."""

    def __init__(self, *entropy: int) -> None:
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self.uniform: Callable[[], float] = _blocks(generator).__next__

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer with low <= n <= high."""
        return low + int(self.uniform() * (high - low + 1))

    def between(self, low: float, high: float) -> float:
        """A number with low <= x < high."""
        return low + self.uniform() * (high - low)

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[int(self.uniform() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items in random order."""
        pool = list(items)
        return [pool.pop(int(self.uniform() * len(pool))) for _ in range(count)]

    def subset(self, items: Sequence[T], count: int) -> tuple[T, ...]:
        """`count` different items in their own order."""
        return tuple(items[i] for i in sorted(self.sample(range(len(items)), count)))


def _blocks(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(64).tolist()


# Families ------------------------------------------------------------------------------------------------------------


class _Design(NamedTuple):
    """What a product is, before it gets a brand and words."""

    attributes: tuple[str, ...]
    options: Options
    price: float


def _first_design(kind: ProductType, dice: Dice) -> _Design:
    low, high = kind.price
    options = {
        name: dice.subset(values, dice.integer(2, min(5, len(values) - 1)))
        for name, values in kind.options
        if dice.chance(0.9)
    }
    return _Design(
        tuple(dice.sample(kind.attributes, dice.integer(3, 4))), options, dice.between(low, (low + high) / 2)
    )


def _other_attribute(kind: ProductType, design: _Design, dice: Dice) -> _Design:
    """A sibling that lacks the first attribute, the one every title shows."""
    others = [attribute for attribute in kind.attributes if attribute not in design.attributes]
    return design._replace(attributes=(dice.pick(others), *design.attributes[1:]))


def _dearer(kind: ProductType, design: _Design, dice: Dice) -> _Design:
    """A sibling above the cap of most requests for the first: caps lie 10 to 40 dollars over the price."""
    return design._replace(price=design.price * 1.2 + dice.between(24, 54))


def _other_values(kind: ProductType, design: _Design, dice: Dice) -> _Design:
    """A sibling that offers other values of each option, as far as there are any."""
    options = dict(design.options)
    for name, values in kind.options:
        if name in options:
            rest = [value for value in values if value not in options[name]]
            kept = dice.sample(options[name], max(0, 2 - len(rest)))
            offered = {*dice.sample(rest, min(len(rest), dice.integer(2, 4))), *kept}
            options[name] = tuple(value for value in values if value in offered)
    return design._replace(options=options)


def _fewer_options(kind: ProductType, design: _Design, dice: Dice) -> _Design:
    """A sibling that comes in one version only in some respect; without options, one more that lacks an attribute."""
    if not design.options:
        return _other_attribute(kind, design, dice)
    dropped = dice.pick(list(design.options))
    return design._replace(options={name: values for name, values in design.options.items() if name != dropped})


_CHANGES = (_other_attribute, _dearer, _other_values, _other_values, _fewer_options)
FAMILY_SIZE = 1 + len(_CHANGES)


def _design_family(kind: ProductType, dice: Dice) -> list[_Design]:
    first = _first_design(kind, dice)
    designs = [first, *(change(kind, first, dice) for change in _CHANGES)]
    return dice.sample(designs, len(designs))


# Words ---------------------------------------------------------------------------------------------------------------


def _title(kind: ProductType, brand: str, material: str, attributes: tuple[str, ...], dice: Dice) -> str:
    """Type, brand, material and the first attribute; often the second one too, where there is room."""
    pattern = dice.pick(phrases().titles)
    room = MAX_TITLE_WORDS - len(pattern.split()) + 2 - len(kind.query.split())  # the attributes' and the type's place
    both = sum(len(attribute.split()) for attribute in attributes[:2]) <= room and dice.chance(0.6)
    shown = ", ".join(attributes[: 1 + both])
    text = pattern.format(brand=brand, material=material, query=kind.query, attributes=shown)
    return " ".join(word.capitalize() if word != "by" else word for word in text.split())


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _price_tag(price: float, dice: Dice) -> tuple[float, str]:
    """The price in dollars and cents, and its tag; some tags show a range no wider than ten dollars."""
    low = int(price) + dice.pick(CENTS)
    if not dice.chance(0.1):
        return low, f"${low}"
    high = low + dice.integer(2, 9)
    return round(dice.between(low, high), 2), f"${low} to ${round(high, 2)}"


def _write(kind: ProductType, design: _Design, asin: str, dice: Dice) -> Product:
    words = phrases()
    brand = (dice.pick(words.brand_stems) + dice.pick(words.brand_endings)).capitalize()
    material = dice.pick(kind.materials)
    title = _title(kind, brand, material, design.attributes, dice)
    use, other_use = dice.sample(kind.uses, 2)
    description = _sentence(
        dice.pick(words.descriptions).format(
            brand=brand, material=material, query=kind.query, tone=dice.pick(words.tones), use=use, other_use=other_use
        )
    )
    features = tuple(
        _sentence(dice.pick(words.bullets).format(attribute=attribute, use=dice.pick(kind.uses)))
        for attribute in dice.sample(design.attributes, len(design.attributes))
    )
    price, price_tag = _price_tag(design.price * dice.between(0.93, 1.07), dice)
    offered = ", and ".join(f"{name}: {', '.join(values)}" for name, values in design.options.items())
    return Product(
        asin=asin,
        title=title,
        description=description,
        features=features,
        price=price,
        price_tag=price_tag,
        options=design.options,
        attributes=design.attributes,
        query=kind.query,
        category=kind.category,
        product_category=kind.product_category,
        search_text=f"{title} {description} {features[0]} {offered}".lower(),  # the fields the original indexes
    )


# The catalogue -------------------------------------------------------------------------------------------------------


class _Asins:
    """A seeded one-to-one map between positions and `B000000` ... `B999999` (a Feistel network on two 3-digit halves).

    Asins look random, never collide, and lead back to their position without a table of a million entries.
    """

    def __init__(self, seed: int) -> None:
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 0))))
        self._rounds: list[list[int]] = generator.integers(0, 1000, size=(4, 1000)).tolist()

    def encode(self, position: int) -> str:
        left, right = divmod(position, 1000)
        for table in self._rounds:
            left, right = right, (left + table[right]) % 1000
        return f"B{left:03d}{right:03d}"

    def decode(self, asin: str) -> int:
        left, right = int(asin[1:4]), int(asin[4:7])
        for table in reversed(self._rounds):
            left, right = (right - table[left]) % 1000, left
        return left * 1000 + right


class Catalogue(Sequence[Product]):
    """The products of one seed, made when they are asked for.

    A product depends on the seed and its position only, so the first thousand products of every size are the same.
    Families that were built stay in a bounded cache; pickling sends seed and size alone.
    """

    def __init__(self, seed: int, size: int) -> None:
        if seed < 0 or not 1 <= size <= MAX_PRODUCTS:
            raise UsageError(
                f"A catalogue needs a seed >= 0 and 1 to {MAX_PRODUCTS} products, got seed {seed}, size {size}"
            )
        self.seed = seed
        self.size = size
        self._asins = _Asins(seed)
        types = product_types()
        self._types = Dice(seed, 1).sample(types, len(types))  # so every type gets its share of families
        self._family = lru_cache(CACHED_FAMILIES)(self._build_family)

    def _build_family(self, family: int) -> list[Product]:
        kind = self._types[family % len(self._types)]
        dice = Dice(self.seed, 2, family)
        encode, first = self._asins.encode, family * FAMILY_SIZE
        # The last family of a million products may reach past the asins; its surplus members are never asked for.
        return [
            _write(kind, design, encode((first + member) % MAX_PRODUCTS), dice)
            for member, design in enumerate(_design_family(kind, dice))
        ]

    def __len__(self) -> int:
        """Number of products."""
        return self.size

    @overload
    def __getitem__(self, index: int) -> Product: ...
    @overload
    def __getitem__(self, index: slice) -> list[Product]: ...
    def __getitem__(self, index: int | slice) -> Product | list[Product]:
        """The product at a position, or the list of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.size))]
        position = index + self.size if index < 0 else index
        if not 0 <= position < self.size:
            raise IndexError(f"Product {index} is outside a catalogue of {self.size}")
        family, member = divmod(position, FAMILY_SIZE)
        return self._family(family)[member]

    def position(self, asin: str) -> int | None:
        """Where the product with this asin stands; None where there is none."""
        if len(asin) != 7 or asin[0] != "B" or not (asin.isascii() and asin[1:].isdigit()):
            return None
        position = self._asins.decode(asin)
        return position if position < self.size else None

    def __reduce__(self) -> tuple[Callable[[int, int], Catalogue], tuple[int, int]]:
        """Pickle as the call that makes it, so that a process holds one copy."""
        return build_catalogue, (self.seed, self.size)


@lru_cache(maxsize=8)
def build_catalogue(seed: int = 0, size: int = 1000) -> Catalogue:
    """The catalogue of a seed; one copy per process, shared by all environments.

    Args:
        seed: Any integer >= 0.
        size: Number of products, up to 1,000,000. Products are built on first use, about 0.03 ms each.

    Raises:
        UsageError: Seed or size out of range.
    """
    return Catalogue(seed, size)
