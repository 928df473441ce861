"""A shop: search with filters, result pages, product pages, a cart and a checkout that checks its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, next_id, paged
from cmat_gym.envs.mind2web.sites.words import money, person, street, words

__all__ = ["Shop"]

PAGE = 6
SHIPPING = ("standard", "express", "pickup")


class Item(NamedTuple):
    """An article; its name is unique in the shop."""

    name: str
    cents: int
    rating: int
    text: str


class Shop(Site):
    """Household goods."""

    kind = "shop"
    menu = (("Catalog", "/search"), ("Cart", "/cart"), ("Orders", "/orders"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('brands'))} Store"
        goods = dice.sample(words("goods"), 7)
        names = [
            f"{c} {m} {g}"
            for g in goods
            for c, m in zip(dice.sample(words("colours"), 4), dice.sample(words("materials"), 4), strict=True)
        ]
        self.items = [
            Item(
                name, dice.integer(5, 90) * 100 + dice.pick((0, 50, 99)), dice.integer(2, 5), dice.pick(words("brands"))
            )
            for name in dice.sample(names, 26)
        ]

    def start(self) -> Db:
        return {"cart": {}, "orders": {}}

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Home", _search({}) + html.heading("Popular today") + self._list(range(3)))
            case ["search"]:
                return self._results(query)
            case ["item", number] if number.isdigit() and int(number) < len(self.items):
                return self._item(int(number))
            case ["cart"]:
                return self._cart(db)
            case ["checkout"]:
                return View("Checkout", _checkout(query))
            case ["orders"]:
                rows = [
                    (f"#{n}", html.escape(f"{o['name']}, {o['shipping']}, {o['address']}"))
                    for n, o in db["orders"].items()
                ]
                return View("Orders", html.heading("Your orders") + html.table(("Order", "Details"), rows))
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        match path:
            case ["cart", "add", number]:
                name = self.items[int(number)].name
                db["cart"][name] = db["cart"].get(name, 0) + int(form["quantity"])
                db["_note"] = f"{name} is in your cart."
                return "/cart"
            case ["cart", "remove"]:
                db["cart"].pop(form["item"], None)
                return "/cart"
            case _:
                return self._order(db, form)

    def _order(self, db: Db, form: Form) -> str:
        given = {key: form.get(key, "").strip() for key in ("name", "address", "shipping")}
        missing = next((key for key in ("name", "address", "shipping") if not given[key]), None)
        if missing or not db["cart"]:
            db["_note"] = f"Please fill in: {missing}." if missing else "Your cart is empty."
            return html.query("/checkout", **given)
        db["orders"][next_id(db["orders"])] = {**given, "items": db["cart"]}
        db["cart"] = {}
        db["_note"] = "Thank you for your order."
        return "/orders"

    def _list(self, numbers: range | list[int]) -> str:
        rows = [
            (html.link(self.items[n].name, f"/item/{n}"), money(self.items[n].cents), f"{self.items[n].rating} stars")
            for n in numbers
        ]
        return html.table(("Article", "Price", "Rating"), rows)

    def _results(self, query: Form) -> View:
        terms = query.get("q", "").lower().split()
        cap = query.get("max", "")
        limit = int(cap) * 100 if cap.isascii() and cap.isdigit() and len(cap) < 9 else None
        found = [
            n
            for n, item in enumerate(self.items)
            if all(term in item.name.split() for term in terms) and (limit is None or item.cents <= limit)
        ]
        if query.get("sort") == "price":
            found.sort(key=lambda n: self.items[n].cents)
        kept = {key: query.get(key, "") for key in ("q", "max", "sort")}
        shown, turn = paged([str(n) for n in found], "/search", query.get("page", ""), PAGE, **kept)
        return View("Catalog", _search(query) + turn + self._list([int(n) for n in shown]))

    def _item(self, number: int) -> View:
        item = self.items[number]
        buy = html.form(
            f"/cart/add/{number}",
            html.select("Quantity", "quantity", [str(n) for n in range(1, 6)], "1"),
            button="Add to cart",
        )
        return View(
            item.name,
            html.heading(item.name)
            + html.para(f"Price {money(item.cents)}, rated {item.rating} of 5. Made by {item.text}.")
            + buy,
        )

    def _cart(self, db: Db) -> View:
        rows = [
            (
                html.escape(name),
                str(count),
                html.form("/cart/remove", html.hidden("item", name), button=f"Remove {name}"),
            )
            for name, count in db["cart"].items()
        ]
        go = html.para("Your cart is empty.") if not rows else html.link("Go to checkout", "/checkout")
        return View("Cart", html.heading("Cart") + html.table(("Article", "Quantity", ""), rows) + go)


def _search(query: Form) -> str:
    sorts = [("", "relevance"), ("price", "lowest price")]
    return html.form(
        "/search",
        html.field("Search", "q", query.get("q", "")),
        html.field("Maximum price", "max", query.get("max", "")),
        html.select("Sort by", "sort", sorts, query.get("sort", "")),
        button="Search",
        method="get",
    )


def _checkout(query: Form) -> str:
    return html.heading("Checkout") + html.form(
        "/order",
        html.field("Name", "name", query.get("name", "")),
        html.field("Address", "address", query.get("address", "")),
        html.radios("Shipping", "shipping", SHIPPING, query.get("shipping", "")),
        button="Place order",
    )


class FindPrice(Errand[Shop]):
    """Look a price up."""

    level = 1
    wordings = ("How much does the '{item}' cost?", "Tell me the price of the '{item}'.")

    def draw(self, site: Shop, dice: Dice) -> Params:
        number = dice.integer(0, len(site.items) - 1)
        return {"item": site.items[number].name, "number": number}

    def goal(self, site: Shop, params: Params) -> Goal:
        return Goal(answer=money(site.items[params["number"]].cents))

    def plan(self, site: Shop, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/item/{params['number']}"
        return [Submit("/search", {"q": params["item"]}), Follow(page), Read(page)]


class FillCart(Errand[Shop]):
    """Put some of an article into the cart."""

    level = 2
    wordings = (
        "Put {count} of the '{item}' into the cart.",
        "Add '{item}' to my cart, quantity {count}. Do not order yet.",
    )

    def draw(self, site: Shop, dice: Dice) -> Params:
        number = dice.integer(0, len(site.items) - 1)
        return {"item": site.items[number].name, "number": number, "count": dice.integer(1, 5)}

    def goal(self, site: Shop, params: Params) -> Goal:
        return Goal({f"cart/{params['item']}": params["count"]})

    def plan(self, site: Shop, db: Db, params: Params) -> Sequence[Stage]:
        if db["cart"]:
            return [Follow("/cart"), Submit("/cart/remove")]
        return _add(params)


class Buy(Errand[Shop]):
    """Order an article."""

    level = 3
    wordings = (
        "Order {count} of the '{item}' for '{name}', '{address}', with {shipping} shipping.",
        "Buy '{item}', quantity {count}. Ship it ({shipping}) to '{name}' at '{address}'.",
    )

    def draw(self, site: Shop, dice: Dice) -> Params:
        number = dice.integer(0, len(site.items) - 1)
        return {
            "item": site.items[number].name,
            "number": number,
            "count": dice.integer(1, 3),
            "name": person(dice),
            "address": street(dice),
            "shipping": dice.pick(SHIPPING),
        }

    def goal(self, site: Shop, params: Params) -> Goal:
        return Goal(
            {f"orders/1/{key}": params[key] for key in ("name", "address", "shipping")}
            | {f"orders/1/items/{params['item']}": params["count"]}
        )

    def plan(self, site: Shop, db: Db, params: Params) -> Sequence[Stage]:
        if db["cart"] == {params["item"]: params["count"]}:
            fields = {key: params[key] for key in ("name", "address", "shipping")}
            return [Follow("/cart"), Follow("/checkout"), Submit("/order", fields)]
        if db["cart"]:
            return [Follow("/cart"), Submit("/cart/remove")]
        return _add(params)


def _add(params: Params) -> list[Stage]:
    number = params["number"]
    add = Submit(f"/cart/add/{number}", {"quantity": str(params["count"])})
    return [Submit("/search", {"q": params["item"]}), Turn("/search"), Follow(f"/item/{number}"), add]


Shop.errands = {"find-price": FindPrice(), "fill-cart": FillCart(), "buy": Buy()}
