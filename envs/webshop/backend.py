"""The simulated shop: an immutable site that any number of customers visit at once.

`WebShopBackend` holds what all visits share (products, search index, finished pieces of pages); a `Session` is all
there is to know about one visit: seven small fields, immutable, equal if and only if the visits go on alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, cast

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop import pages
from cmat_gym.envs.webshop.records import Product
from cmat_gym.envs.webshop.search import SearchIndex

__all__ = ["Page", "Products", "Session", "Shelf", "Step", "WebShopBackend", "parse_action"]

Page: TypeAlias = Literal["search", "results", "item", "description", "features", "reviews", "done"]

RESULTS_PER_PAGE = 10
MAX_RESULTS = 50
MAX_QUERY = 4096  # characters; what a query holds beyond it does not count
CACHED_PIECES = 4096  # of each kind of page piece; more than the original shop's products, little for a million


class Products(Protocol):
    """The products of a shop by position; they may be made on demand."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, position: int, /) -> Product:
        """The product at a position."""

    def position(self, asin: str) -> int | None:
        """Where the product with this asin stands; None where there is none."""


class Shelf(tuple[Product, ...]):
    """Products held in memory."""

    _positions: dict[str, int]

    def __new__(cls, products: tuple[Product, ...] | list[Product]) -> Shelf:
        """Take the products in index order."""
        shelf = super().__new__(cls, products)
        shelf._positions = {product.asin: position for position, product in enumerate(shelf)}
        return shelf

    def position(self, asin: str) -> int | None:
        """Where the product with this asin stands; None where there is none."""
        return self._positions.get(asin)


class Session(NamedTuple):
    """Where one customer is. `options` are the chosen (name, value) pairs, sorted."""

    page: Page = "search"
    query: str = ""
    number: int = 1
    asin: str = ""
    options: tuple[tuple[str, str], ...] = ()
    visited: frozenset[str] = frozenset()

    @property
    def purchased(self) -> bool:
        """Whether the visit is over."""
        return self.page == "done"

    def to_json(self) -> dict[str, Any]:
        """The session as a JSON-able dict with one canonical form."""
        return {**self._asdict(), "options": [list(pair) for pair in self.options], "visited": sorted(self.visited)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Session:
        """The inverse of `to_json`."""
        options = tuple((name, value) for name, value in data["options"])
        return cls(**{**data, "options": options, "visited": frozenset(data["visited"])})


class Step(NamedTuple):
    """Where an action led, and whether it did anything."""

    session: Session
    valid: bool


class WebShopBackend:
    """The shop. Immutable after construction, apart from caches; share one between all environments of a process.

    Args:
        products: The products, in the order of the search index.
        index: The search index over them.

    Raises:
        UsageError: If the index was built over another number of products.
    """

    def __init__(self, products: Products, index: SearchIndex) -> None:
        if len(products) != len(index):
            raise UsageError(f"A search index over {len(index)} texts does not fit a shop of {len(products)} products")
        self.products = products
        self.index = index
        self._make_caches()

    def _make_caches(self) -> None:
        self.hits = lru_cache(1024)(self._hits)
        self._result_text = lru_cache(CACHED_PIECES)(self._write_result)
        self._item_text = lru_cache(CACHED_PIECES)(self._write_item)
        self._choices = lru_cache(CACHED_PIECES)(self._list_choices)

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: products and index, no caches."""
        return {"products": self.products, "index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the caches."""
        self.__dict__.update(state)
        self._make_caches()

    # Acting -----------------------------------------------------------------------------------------------------------

    def step(self, session: Session, kind: str, argument: str) -> Step:
        """Carry out one action: `search` with a query on any page, or `click` with one of the page's clickables.

        Anything else changes nothing.
        """
        argument = argument.lower()
        if session.purchased:
            return Step(session, False)
        if kind == "search" and argument:
            return Step(Session("results", argument[:MAX_QUERY], visited=session.visited), True)
        if kind == "click" and argument != "search" and argument in self.clickables(session):
            return Step(self._click(session, argument), True)
        return Step(session, False)

    def _click(self, session: Session, name: str) -> Session:
        """Follow a button, link or value that stands on the page. Buttons win over values of the same name."""
        page = session.page
        if name == pages.BACK_TO_SEARCH:
            return Session()
        if page == "results":
            if name == pages.NEXT_PAGE:
                return session._replace(number=session.number + 1)
            if name == pages.PREV_PAGE:
                return session._replace(number=session.number - 1)
            asin = next(asin for asin in self._page_asins(session) if asin.lower() == name)
            return session._replace(page="item", asin=asin, visited=session.visited | {asin})
        if page != "item":  # a sub-page, where only `< prev` is left
            return session._replace(page="item")
        if name == pages.PREV_PAGE:
            return session._replace(page="results", asin="", options=())
        if name == pages.BUY_NOW:
            return session._replace(page="done")
        if name in pages.SUB_PAGES:
            return session._replace(page=cast(Page, name))
        option = self._choices(self._position(session.asin))[name]
        return session._replace(options=tuple(sorted({**dict(session.options), option: name}.items())))

    def clickables(self, session: Session) -> tuple[str, ...]:
        """Everything a click may name on this page, lower case, in the order of the original."""
        if session.page == "search":
            return ("search",)
        if session.page == "results":
            back = (pages.PREV_PAGE, pages.NEXT_PAGE) if session.number > 1 else (pages.NEXT_PAGE,)
            return (pages.BACK_TO_SEARCH, *back, *(asin.lower() for asin in self._page_asins(session)))
        if session.page == "item":
            return tuple(self._choices(self._position(session.asin)))
        return () if session.purchased else (pages.BACK_TO_SEARCH, pages.PREV_PAGE)

    def _list_choices(self, position: int) -> dict[str, str]:
        """The clickables of an item page; a value leads to the (last) option that has it, a button to nothing."""
        choices = dict.fromkeys((pages.BACK_TO_SEARCH, pages.PREV_PAGE, *pages.SUB_PAGES, pages.BUY_NOW), "")
        for option, values in self.products[position].options.items():
            choices.update(dict.fromkeys(values, option))
        return choices

    def purchase(self, session: Session) -> tuple[Product, dict[str, str]]:
        """The article in the customer's hands, with the chosen options.

        Raises:
            UsageError: If the customer has not opened an article.
        """
        if not session.asin:
            raise UsageError(f"No article was chosen on page {session.page!r}: a purchase needs an opened item")
        return self.products[self._position(session.asin)], dict(session.options)

    # Showing ----------------------------------------------------------------------------------------------------------

    def render(self, session: Session, instruction: str, mode: pages.Mode = "text", reward: float = 0.0) -> str:
        """The page as the customer sees it; `reward` is printed on the last page."""
        if mode == "text":
            return self._plain(session, instruction, reward)
        clicked: frozenset[str] = frozenset()
        if session.page == "results":
            clicked = session.visited
        elif session.page == "item" and session.options:
            chosen = json.dumps(dict(session.options))  # as in the original: a value escaped in JSON is never found
            values = (value for _, value in session.options)
            clicked = frozenset(value for value in values if f'"{value}"' in chosen)
        return pages.rich(self._nodes(session, instruction, reward), clicked)

    def _plain(self, session: Session, instruction: str, reward: float) -> str:
        """Mode `text`, where results and items are the same for everyone and come from the cache."""
        if session.page == "results":
            hits = self.hits(session.query)
            head = pages.plain(pages.results_head(instruction, session.number, len(hits)))
            return pages.SEPARATOR.join([head, *map(self._result_text, self._on_page(session))])
        if session.page == "item":
            head = pages.plain([pages.Node("Instruction:"), pages.Node(instruction)])
            return head + pages.SEPARATOR + self._item_text(self._position(session.asin))
        return pages.plain(self._nodes(session, instruction, reward))

    def _nodes(self, session: Session, instruction: str, reward: float) -> list[pages.Node]:
        if session.page == "search":
            return pages.search_nodes(instruction)
        if session.page == "results":
            nodes = pages.results_head(instruction, session.number, len(self.hits(session.query)))
            for position in self._on_page(session):
                nodes += pages.result_nodes(self.products[position])
            return nodes
        if session.page == "done":
            return pages.done_nodes(session.asin, json.dumps(dict(session.options)), reward)
        product = self.products[self._position(session.asin)]
        body = pages.item_nodes(product) if session.page == "item" else pages.sub_page_nodes(product, session.page)
        return [pages.Node("Instruction:"), pages.Node(instruction), *body]

    def _write_result(self, position: int) -> str:
        return pages.plain(pages.result_nodes(self.products[position]))

    def _write_item(self, position: int) -> str:
        return pages.plain(pages.item_nodes(self.products[position]))

    # Looking up -------------------------------------------------------------------------------------------------------

    def _hits(self, query: str) -> tuple[int, ...]:
        return tuple(self.index.search(query, MAX_RESULTS))

    def _on_page(self, session: Session) -> tuple[int, ...]:
        """Positions of the products on a page of results."""
        start = (session.number - 1) * RESULTS_PER_PAGE
        return self.hits(session.query)[start : start + RESULTS_PER_PAGE]

    def _page_asins(self, session: Session) -> list[str]:
        return [self.products[position].asin for position in self._on_page(session)]

    def _position(self, asin: str) -> int:
        position = self.products.position(asin)
        if position is None:
            raise UsageError(f"No product {asin!r} in this shop of {len(self.products)}: the session is another shop's")
        return position


def parse_action(text: str) -> tuple[str, str] | None:
    """Split `name[argument]` the way the original does, or None if the text has no such form.

    The argument starts at the last bracket that has any argument behind it, and ends at the last closing one; only the
    first line counts. Found by searching from the end, because a regular expression takes quadratic time on `[[[[…`.
    """
    line = text.partition("\n")[0]
    end = line.rfind("]")
    start = line.rfind("[", 1, max(end - 1, 1))
    return (line[:start], line[start + 1 : end]) if start > 0 else None
