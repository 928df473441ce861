"""The oracle of the shop: from any page, the shortest way to a purchase that scores 1.0.

It knows the goal and the shelves, but walks like a customer: it searches with words of the request, opens only what a
page lists, and goes back from what does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop import pages, prompts
from cmat_gym.envs.webshop.backend import MAX_QUERY, RESULTS_PER_PAGE, Session, WebShopBackend
from cmat_gym.envs.webshop.nouns import Tagger, nouns
from cmat_gym.envs.webshop.records import Goal, Product
from cmat_gym.envs.webshop.scorer import score_webshop

__all__ = ["Plan", "WebShopExpert"]


class Plan(NamedTuple):
    """How many actions remain until the purchase, and the first of them: its kind, its argument, and the reason."""

    cost: float
    kind: str
    argument: str
    thought: str


class _Target(NamedTuple):
    """A product worth buying among the results of a query: on which page, and clicks from there to the purchase."""

    product: Product
    page: int
    clicks: int

    def cost(self, page: int) -> int:
        """Actions from another page of the same results."""
        return abs(self.page - page) + self.clicks


class WebShopExpert:
    """Solves one goal in one shop. It keeps no state of the visit: every answer is a function of the session.

    Where several products satisfy the goal, it takes the one that is nearest. Where the goal's own product cannot
    reach a score of 1.0 (real goals with options nobody offers), it still goes for it, and `cost_to_go` is infinite.

    Args:
        goal: What the customer wants.
        backend: The shop; only read.
        tagger: What the scores it counts on take for nouns.
    """

    def __init__(self, goal: Goal, backend: WebShopBackend, tagger: Tagger = nouns) -> None:
        self.goal = goal
        self.backend = backend
        self.tagger = tagger
        self._wishes: dict[str, dict[str, str] | None] = {}  # asin -> options to choose; None: not worth buying
        self._targets: dict[str, list[_Target]] = {}  # query -> what is worth buying among its results

    # Answers ----------------------------------------------------------------------------------------------------------

    def next_action(self, session: Session) -> tuple[str, str]:
        """Kind and argument of the first action of the shortest plan.

        Raises:
            UsageError: The purchase is made.
        """
        plan = self.plan(session)
        return plan.kind, plan.argument

    def thought(self, session: Session) -> str:
        """One short sentence on why the next action is right.

        Raises:
            UsageError: The purchase is made.
        """
        return self.plan(session).thought

    def cost_to_go(self, session: Session) -> float:
        """Number of actions from here to a purchase that scores 1.0; infinity where there is none."""
        if session.purchased:
            return 0.0 if self._satisfies(*self.backend.purchase(session)) else math.inf
        return self.plan(session).cost if self._solvable else math.inf

    def plan(self, session: Session) -> Plan:
        """The shortest plan from a session: on from this page, or with a new search, if that is shorter.

        Raises:
            UsageError: The purchase is made.
        """
        match session.page:
            case "done":
                raise UsageError("The purchase is made: there is nothing left to do")
            case "search":
                return self._search
            case "results":
                return self._on_results(session)
            case "item":
                return self._on_item(session)
            case _:
                return self._back(self._on_item(session._replace(page="item")), prompts.THINK_SEEN)

    # Plans by page ----------------------------------------------------------------------------------------------------

    @cached_property
    def _search(self) -> Plan:
        """The query with the nearest good product; of equals the first, in the order a customer would try them."""
        thought = prompts.THINK_SEARCH.format(query=self.goal.query)
        best = Plan(math.inf, "search", self.goal.query, thought)
        for query in self._queries():
            nearest = self._nearest(query, page=1)
            if nearest is not None and 1 + nearest.cost(1) < best.cost:
                best = Plan(1 + nearest.cost(1), "search", query, thought)
                if nearest.page == 1:
                    break
        return best

    def _on_results(self, session: Session) -> Plan:
        """Open the nearest good product, or turn pages towards it."""
        here = session.number
        nearest = self._nearest(session.query, here)
        if nearest is None or nearest.cost(here) > self._search.cost:
            return self._search._replace(thought=prompts.THINK_SEARCH_AGAIN.format(query=self.goal.query))
        product = nearest.product
        if nearest.page == here:
            thought = prompts.THINK_OPEN.format(asin=product.asin, price=product.price_tag)
            return Plan(nearest.clicks, "click", product.asin.lower(), thought)
        if nearest.page > here:
            return Plan(nearest.cost(here), "click", pages.NEXT_PAGE, prompts.THINK_NEXT)
        return Plan(nearest.cost(here), "click", pages.PREV_PAGE, prompts.THINK_PREVIOUS)

    def _on_item(self, session: Session) -> Plan:
        """Choose what is not chosen yet and buy; go back from a product that is not worth buying."""
        product, chosen = self.backend.purchase(session)
        wishes = self._wishes_for(product)
        if wishes is None:
            results = session._replace(page="results", asin="", options=())
            return self._back(self._on_results(results), self._objection(product))
        missing = [(name, value) for name, value in wishes.items() if chosen.get(name) != value]
        if not missing:
            return Plan(1, "click", pages.BUY_NOW, prompts.THINK_BUY)
        name, value = missing[0]
        return Plan(len(missing) + 1, "click", value, prompts.THINK_OPTION.format(name=name, value=value))

    def _back(self, before: Plan, thought: str) -> Plan:
        """Go to the page before this one, where the plan is `before`."""
        if 1 + before.cost > self._search.cost:
            return self._search._replace(thought=thought)
        return Plan(1 + before.cost, "click", pages.PREV_PAGE, thought)

    # What is worth buying ---------------------------------------------------------------------------------------------

    def _queries(self) -> Iterator[str]:
        """Searches from the most human to the surest; the last ones name the product itself."""
        goal = self.goal
        attributes = " ".join(goal.attributes)
        values = " ".join(goal.options.values() if isinstance(goal.options, dict) else goal.options)
        queries = [f"{attributes} {goal.query}", f"{attributes} {goal.query} {values}", goal.query, goal.name]
        if (product := self._own_product) is not None:
            queries.append(product.search_text)
        for query in queries:
            yield " ".join(query.lower().replace("[", " ").replace("]", " ").split())[:MAX_QUERY]

    def _nearest(self, query: str, page: int) -> _Target | None:
        """Of the products worth buying among the results of a query, the one nearest to a page of them."""
        if query not in self._targets:
            products = [self.backend.products[position] for position in self.backend.hits(query)]
            self._targets[query] = [
                _Target(product, rank // RESULTS_PER_PAGE + 1, len(wishes) + 2)  # open, choose, buy
                for rank, product in enumerate(products)
                if (wishes := self._wishes_for(product)) is not None
            ]
        return min(self._targets[query], key=lambda target: target.cost(page), default=None)

    def _wishes_for(self, product: Product) -> dict[str, str] | None:
        """Options to choose, in page order, so that the purchase scores 1.0; None where it cannot.

        The goal's own product is worth buying in any case.
        """
        asin = product.asin
        if asin not in self._wishes:
            own = asin == self.goal.asin
            # A quick look first, as most products are of another kind or too dear.
            if own or (product.query == self.goal.query and product.price <= self.goal.price_upper):
                wishes = self._chosen(product)
                self._wishes[asin] = wishes if own or self._satisfies(product, wishes) else None
            else:
                self._wishes[asin] = None
        return self._wishes[asin]

    def _chosen(self, product: Product) -> dict[str, str]:
        """The options of a product that the request asks for, as far as it has them and they can be clicked."""
        session = Session("item", asin=product.asin)
        for name, values in product.options.items():
            value = self._asked(product, name, values, dict(session.options))
            if value is not None:
                after = self.backend.step(session, "click", value).session
                # A value that stands under two options is stored under the last one: there the click would not help.
                session = after if dict(after.options).get(name) == value else session
        return dict(session.options)

    def _asked(self, product: Product, name: str, values: tuple[str, ...], chosen: dict[str, str]) -> str | None:
        if isinstance(self.goal.options, dict):
            value = self.goal.options.get(name)
            return value if value in values else None
        # People name no options, only values, and the score matches them loosely: take the value that raises it most.
        best = max(values, key=lambda value: self._worth(product, {**chosen, name: value}))
        return best if self._worth(product, {**chosen, name: best}) > self._worth(product, chosen) else None

    def _worth(self, product: Product, options: dict[str, str]) -> float:
        return score_webshop(self.goal, product, options, self.tagger).value

    def _satisfies(self, product: Product, options: dict[str, str]) -> bool:
        return self._worth(product, options) == 1.0

    @cached_property
    def _own_product(self) -> Product | None:
        position = self.backend.products.position(self.goal.asin)
        return None if position is None else self.backend.products[position]

    @cached_property
    def _solvable(self) -> bool:
        """Whether the goal's own product, bought with the right options, scores 1.0."""
        product = self._own_product
        return product is not None and self._satisfies(product, self._chosen(product))

    def _objection(self, product: Product) -> str:
        """What is wrong with a product that is not worth buying, as far as it can be said in a few words."""
        goal = self.goal
        if product.query != goal.query:
            return prompts.THINK_OTHER_KIND.format(query=product.query, wanted=goal.query)
        if product.price > goal.price_upper:
            return prompts.THINK_TOO_DEAR.format(price=product.price_tag, cap=goal.price_upper)
        for name, value in goal.options.items() if isinstance(goal.options, dict) else ():
            if value not in product.options.get(name, ()):
                return prompts.THINK_NO_OPTION.format(name=name, value=value)
        for attribute in goal.attributes:
            if attribute not in product.attributes:
                return prompts.THINK_NO_ATTRIBUTE.format(attribute=attribute)
        return prompts.THINK_NO_FIT
