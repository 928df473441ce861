"""Table reservations: restaurants by cuisine, opening hours, a form that refuses full tables, bookings to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, gone, next_id
from cmat_gym.envs.mind2web.sites.words import clock, day, person, phone, street, words

__all__ = ["Restaurants"]

TIMES = ("18:00", "18:30", "19:00", "19:30", "20:00", "20:30")
SIZES = ("1", "2", "3", "4", "5", "6", "7", "8")


class Restaurant(NamedTuple):
    name: str
    cuisine: str
    opens: str
    largest: int
    phone: str
    address: str


class Restaurants(Site):
    """A dozen restaurants of a city."""

    kind = "restaurants"
    menu = (("Restaurants", "/list"), ("My tables", "/tables"))

    def build(self, dice: Dice) -> None:
        self.brand = dice.pick(("Tavolo", "TableFor", "Bon Appetit", "Dinner Club"))
        firsts, seconds = words("restaurantfirst"), words("restaurantsecond")
        names = dice.sample([f"{first} {second}" for first in firsts for second in seconds], 12)
        self.cuisines = dice.sample(words("cuisines"), 4)
        self.places = [
            Restaurant(
                name,
                self.cuisines[n % 4],
                clock(dice.integer(20, 36) * 30),
                dice.integer(3, 8),
                phone(dice),
                street(dice),
            )
            for n, name in enumerate(names)
        ]
        self.tables = {
            str(n): {
                "place": self.places[k].name,
                "date": day(dice.integer(1, 20)),
                "time": dice.pick(TIMES),
                "party": dice.pick(SIZES[:3]),
                "name": person(dice),
            }
            for n, k in enumerate(dice.sample(range(12), 3), 1)
        }

    def start(self) -> Db:
        return {"tables": {number: dict(table) for number, table in self.tables.items()}}

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                cuisines = html.lines(html.link(name, html.query("/list", cuisine=name)) for name in self.cuisines)
                return View("Home", html.heading("What would you like to eat?") + cuisines)
            case ["list"]:
                cuisine = query.get("cuisine", "")
                rows = [
                    (html.link(p.name, f"/place/{n}"), p.cuisine, p.address)
                    for n, p in enumerate(self.places)
                    if cuisine in ("", p.cuisine)
                ]
                return View(
                    "Restaurants",
                    html.heading(f"{cuisine or 'All'} restaurants")
                    + html.table(("Restaurant", "Cuisine", "Address"), rows),
                )
            case ["place", number, *tab] if number.isdigit() and int(number) < len(self.places):
                return self._place(number, tab, query)
            case ["tables"]:
                tables = [
                    (
                        html.escape(f"{t['place']}, {t['date']} {t['time']}, party of {t['party']}, {t['name']}"),
                        html.link(f"Change {t['place']}", f"/table/{n}"),
                    )
                    for n, t in db["tables"].items()
                ]
                return View("My tables", html.heading("My tables") + html.table(("Table", ""), tables))
            case ["table", number] if number in db["tables"]:
                table = db["tables"][number]
                return View(
                    "Change",
                    html.heading(f"{table['place']}, {table['date']}")
                    + html.form(
                        f"/table/{number}",
                        html.select("Time", "time", TIMES, table["time"]),
                        html.select("Party size", "party", SIZES, table["party"]),
                        button="Save changes",
                    )
                    + html.form(f"/table/{number}/cancel", button="Cancel this table"),
                )
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        match path:
            case ["table", number, "cancel"]:
                db["tables"].pop(number, None)
                return "/tables"
            case ["table", number] if number in db["tables"]:
                table = db["tables"][number]
                place = next(p for p in self.places if p.name == table["place"])
                if int(form["party"]) > place.largest:
                    db["_note"] = f"The largest table is for {place.largest}."
                    return f"/table/{number}"
                table.update(time=form["time"], party=form["party"])
                return "/tables"
            case ["reserve", number]:
                return self._reserve(db, number, form)
        return "/tables"

    def _reserve(self, db: Db, number: str, form: Form) -> str:
        place, name = self.places[int(number)], form.get("name", "").strip()
        kept = {key: form[key] for key in ("date", "time", "party")}
        if int(form["party"]) > place.largest or not name:
            db["_note"] = f"The largest table is for {place.largest}." if name else "Under which name?"
            return html.query(f"/place/{number}", **kept, name=name)
        db["tables"][next_id(db["tables"])] = {"place": place.name, **kept, "name": name}
        db["_note"] = "Your table is reserved."
        return "/tables"

    def _place(self, number: str, tab: list[str], query: Form) -> View:
        place = self.places[int(number)]
        tabs = html.link("Reserve", f"/place/{number}") + html.link("Contact and hours", f"/place/{number}/contact")
        if tab == ["contact"]:
            body = html.para(f"Telephone {place.phone}. {place.address}. Opens at {place.opens}.")
        else:
            dates = [day(n) for n in range(1, 13)]
            body = html.form(
                f"/reserve/{number}",
                html.select("Date", "date", dates, query.get("date", "")),
                html.select("Time", "time", TIMES, query.get("time", "")),
                html.select("Party size", "party", SIZES, query.get("party", "2")),
                html.field("Name", "name", query.get("name", "")),
                button="Reserve a table",
            )
        return View(place.name, html.heading(f"{place.name}, {place.cuisine}") + f"<nav>{tabs}</nav>" + body)


def _open(site: Restaurants, number: int) -> list[Stage]:
    return [Follow(html.query("/list", cuisine=site.places[number].cuisine)), Follow(f"/place/{number}")]


class OpeningTime(Errand[Restaurants]):
    """Look the hours up."""

    level = 1
    wordings = ("When does the {cuisine} restaurant '{place}' open?", "Find the opening time of '{place}' ({cuisine}).")

    def draw(self, site: Restaurants, dice: Dice) -> Params:
        number = dice.integer(0, len(site.places) - 1)
        return {"number": number, "place": site.places[number].name, "cuisine": site.places[number].cuisine}

    def goal(self, site: Restaurants, params: Params) -> Goal:
        return Goal(answer=site.places[params["number"]].opens)

    def plan(self, site: Restaurants, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/place/{params['number']}/contact"
        return [*_open(site, params["number"]), Follow(page), Read(page)]


class ChangeTable(Errand[Restaurants]):
    """Move a table to another time."""

    level = 2
    wordings = ("Move my table at '{place}' to {time}.", "Change the time of the reservation at '{place}' to {time}.")

    def draw(self, site: Restaurants, dice: Dice) -> Params:
        number = dice.pick(list(site.tables))
        table = site.tables[number]
        time = dice.pick([time for time in TIMES if time != table["time"]])
        return {"number": number, "place": table["place"], "time": time}

    def goal(self, site: Restaurants, params: Params) -> Goal:
        return Goal({f"tables/{params['number']}/time": params["time"]})

    def plan(self, site: Restaurants, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/table/{params['number']}"
        party = site.tables[params["number"]]["party"]
        return [Follow("/tables"), Follow(page), Submit(page, {"time": params["time"], "party": party})]


class CancelTable(Errand[Restaurants]):
    """Give a table back."""

    level = 1
    wordings = ("Cancel my table at '{place}'.", "We do not go to '{place}': cancel the reservation.")

    def draw(self, site: Restaurants, dice: Dice) -> Params:
        number = dice.pick(list(site.tables))
        return {"number": number, "place": site.tables[number]["place"]}

    def goal(self, site: Restaurants, params: Params) -> Goal:
        return Goal(gone(site.start(), f"tables/{params['number']}"))

    def plan(self, site: Restaurants, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/table/{params['number']}"
        return [Follow("/tables"), Follow(page), Submit(f"{page}/cancel")]


class ReserveTable(Errand[Restaurants]):
    """Reserve a table."""

    level = 3
    wordings = (
        "Reserve a table for {party} at '{place}' ({cuisine}) on {date} at {time} for '{name}'.",
        "'{name}' wants to dine at the {cuisine} place '{place}': {date}, {time}, party of {party}. Reserve a table.",
    )

    def draw(self, site: Restaurants, dice: Dice) -> Params:
        params = OpeningTime().draw(site, dice)
        party = dice.integer(1, site.places[params["number"]].largest)
        return {
            **params,
            "party": str(party),
            "date": day(dice.integer(1, 12)),
            "time": dice.pick(TIMES),
            "name": person(dice),
        }

    def goal(self, site: Restaurants, params: Params) -> Goal:
        number = len(site.tables) + 1
        return Goal({f"tables/{number}/{key}": params[key] for key in ("place", "date", "time", "party", "name")})

    def plan(self, site: Restaurants, db: Db, params: Params) -> Sequence[Stage]:
        fields = {key: params[key] for key in ("date", "time", "party", "name")}
        return [*_open(site, params["number"]), Submit(f"/reserve/{params['number']}", fields)]


Restaurants.errands = {
    "opening-time": OpeningTime(),
    "change-table": ChangeTable(),
    "cancel-table": CancelTable(),
    "reserve-table": ReserveTable(),
}
