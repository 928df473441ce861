"""The oracle of the shop: from any page, the shortest way to a purchase that scores 1.0.

It knows the goal and the shelves, but walks like a customer: it searches only where there is a search box, with words
of the request, and opens only what a page lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop import pages
from cmat_gym.envs.webshop.backend import RESULTS_PER_PAGE, Session, WebShopBackend
from cmat_gym.envs.webshop.records import Goal, Product
from cmat_gym.envs.webshop.scorer import score_webshop

__all__ = ["Plan", "WebShopExpert"]


class Plan(NamedTuple):
    """What to do now, why, and how many actions (this one included) remain until the purchase."""

    cost: float
    action: str
    thought: str


class _Target(NamedTuple):
    """A product of a list of results that is worth buying, and the clicks from the list to the purchase."""

    cost: int
    page: int
    product: Product


class WebShopExpert:
    """Solves one goal in one shop. It keeps no state of the visit: every answer is a function of the session.

    Where several products satisfy the goal, it takes the one that is nearest. Where the goal's own product cannot
    reach a score of 1.0 (real goals with options nobody offers), it still goes for it, and `cost_to_go` is infinite.

    Args:
        backend: The shop; only read.
        goal: What the customer wants.
    """

    def __init__(self, backend: WebShopBackend, goal: Goal) -> None:
        self.backend = backend
        self.goal = goal
        self._wishes: dict[str, dict[str, str] | None] = {}  # asin -> options to choose; None: not worth buying
        self._targets: dict[str, list[_Target]] = {}  # query -> products worth buying among its results

    # Answers ----------------------------------------------------------------------------------------------------------

    def action(self, session: Session) -> str:
        """The next action of the shortest plan.

        Raises:
            UsageError: The purchase is made.
        """
        return self.plan(session).action

    def thought(self, session: Session) -> str:
        """One short sentence on why the next action is right."""
        return self.plan(session).thought

    def cost_to_go(self, session: Session) -> float:
        """Number of actions from here to a purchase that scores 1.0; infinity where there is none."""
        if session.purchased:
            product, options = self.backend.purchase(session)
            return 0.0 if score_webshop(self.goal, product, options).value == 1.0 else math.inf
        return self.plan(session).cost if self._solvable else math.inf

    def plan(self, session: Session) -> Plan:
        """The shortest plan from a session.

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
                return self._on_sub_page(session)

    # Plans by page ----------------------------------------------------------------------------------------------------

    @cached_property
    def _search(self) -> Plan:
        """The first query, in the order a customer would try them, with a good product on its first page."""
        best = Plan(math.inf, "", "")
        for query in self._queries():
            cost = 1 + min((target.cost + target.page - 1 for target in self._good(query)), default=math.inf)
            if cost < best.cost:
                best = Plan(cost, f"search[{query}]", f"I search for {self.goal.query} with the words of the request.")
            if best.cost <= 1 + self._shortest_purchase:
                break
        return best

    def _on_results(self, session: Session) -> Plan:
        """Open the nearest good product, turn pages towards it, or start over if that is shorter."""
        here = session.number
        nearest = min(self._good(session.query), key=lambda target: target.cost + abs(target.page - here), default=None)
        if nearest is None or nearest.cost + abs(nearest.page - here) > 1 + self._search.cost:
            return Plan(1 + self._search.cost, f"click[{pages.BACK_TO_SEARCH}]", "Better words will find it sooner.")
        cost = nearest.cost + abs(nearest.page - here)
        if nearest.page == here:
            thought = f"{nearest.product.asin} at {nearest.product.price_tag} looks right."
            return Plan(cost, f"click[{nearest.product.asin.lower()}]", thought)
        if nearest.page > here:
            return Plan(cost, f"click[{pages.NEXT_PAGE}]", "Nothing here fits, so I look at the next page.")
        return Plan(cost, f"click[{pages.PREV_PAGE}]", "The better ones were on an earlier page.")

    def _on_item(self, session: Session) -> Plan:
        """Choose what is not chosen yet and buy; or leave a product that is not worth buying."""
        product, chosen = self.backend.purchase(session)
        wishes = self._wishes_for(product)
        if wishes is None:
            before = session._replace(page="results", asin="", options=())
            return self._leave(self._on_results(before), self._objection(product))
        missing = [(name, value) for name, value in wishes.items() if chosen.get(name) != value]
        if missing:
            name, value = missing[0]
            return Plan(len(missing) + 1, f"click[{value}]", f"The request says {name} {value}.")
        return Plan(1, f"click[{pages.BUY_NOW}]", "Everything fits the request, so I buy it.")

    def _on_sub_page(self, session: Session) -> Plan:
        return self._leave(self._on_item(session._replace(page="item")), "I have read enough here.")

    def _leave(self, before: Plan, thought: str) -> Plan:
        """Go to the previous page, whose plan is `before`, or straight to the search box if that is shorter."""
        if before.cost <= self._search.cost:
            return Plan(1 + before.cost, f"click[{pages.PREV_PAGE}]", thought)
        return Plan(1 + self._search.cost, f"click[{pages.BACK_TO_SEARCH}]", thought)

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
            yield " ".join(query.lower().replace("[", " ").replace("]", " ").split())

    def _good(self, query: str) -> list[_Target]:
        """Products worth buying among the results of a query."""
        if query not in self._targets:
            targets = []
            for rank, position in enumerate(self.backend.hits(query)):
                product = self.backend.products[position]
                wishes = self._wishes_for(product)
                if wishes is not None:
                    targets.append(_Target(len(wishes) + 2, rank // RESULTS_PER_PAGE + 1, product))
            self._targets[query] = targets
        return self._targets[query]

    def _wishes_for(self, product: Product) -> dict[str, str] | None:
        """Options to choose, in page order, so that the purchase scores 1.0; None where it cannot.

        The goal's own product is worth buying in any case.
        """
        asin = product.asin
        if asin not in self._wishes:
            own = asin == self.goal.asin
            # Only products of the same kind and price class are scored: the others are never needed, and it is quick.
            likely = own or (product.query == self.goal.query and product.price <= self.goal.price_upper)
            wishes = self._chosen(product) if likely else {}
            self._wishes[asin] = wishes if own or (likely and self._satisfies(product, wishes)) else None
        return self._wishes[asin]
