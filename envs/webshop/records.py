"""The shop's two records: what is on the shelf, and what the customer wants."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Goal", "Product"]


@dataclass(frozen=True, slots=True)
class Product:
    """One article of the shop, exactly as the pages show it.

    `price` is the number the score compares with the cap, `price_tag` the text a page prints (they differ when the
    shop lists a price range). `search_text` is what the search engine indexes.
    """

    asin: str
    title: str
    description: str
    features: tuple[str, ...]
    price: float
    price_tag: str
    options: dict[str, tuple[str, ...]]  # option name -> values, all lower case, in page order
    attributes: tuple[str, ...]
    query: str
    category: str
    product_category: str  # path joined by " › "
    rating: str = "N.A."
    search_text: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the customer asked for; `options` is name -> value (synthetic) or, for human goals, the bare values."""

    asin: str
    instruction: str
    attributes: tuple[str, ...]
    options: dict[str, str] | tuple[str, ...]
    price_upper: float  # 1,000,000 means no cap
    query: str
    name: str
    product_category: str
    category: str = ""
    weight: float = field(default=1.0, compare=False)
