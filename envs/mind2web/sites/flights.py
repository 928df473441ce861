"""Flights: a search form, results with a filter, a passenger form that checks what it gets, and bookings to cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, gone, next_id
from cmat_gym.envs.mind2web.sites.words import clock, day, money, person, words

__all__ = ["Flights"]

SEATS = ("aisle", "window", "middle")


class Flight(NamedTuple):
    code: str
    origin: str
    target: str
    leaves: int  # minutes after midnight
    takes: int
    stops: int
    cents: int


class Flights(Site):
    """Daily flights between a few cities."""

    kind = "flights"
    menu = (("Search flights", "/"), ("My bookings", "/bookings"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('airlines'))} Travel"
        self.cities = dice.sample(words("cities"), 5)
        prices = dice.sample(range(60, 500), 100)
        self.flights: list[Flight] = []
        for origin in self.cities:
            for target in self.cities:
                for _ in range(4 if origin != target else 0):
                    code = f"{dice.pick('ABKNS')}{dice.pick('LKXY')}{100 + len(self.flights) * 7 + dice.integer(0, 6)}"
                    self.flights.append(
                        Flight(
                            code,
                            origin,
                            target,
                            dice.integer(70, 270) * 5,
                            dice.integer(9, 60) * 5,
                            dice.integer(0, 2),
                            prices[len(self.flights)] * 100,
                        )
                    )
        self.by_code = {flight.code: flight for flight in self.flights}
        mine = dice.sample(self.flights, 3)
        self.booked = {
            str(n): {
                "flight": flight.code,
                "date": day(dice.integer(2, 40)),
                "name": person(dice),
                "seat": dice.pick(SEATS),
            }
            for n, flight in enumerate(mine, 1)
        }

    def start(self) -> Db:
        return {"bookings": {number: dict(booking) for number, booking in self.booked.items()}}

    def between(self, origin: str, target: str, nonstop: bool = False) -> list[Flight]:
        """Flights of a route, as they leave."""
        found = [f for f in self.flights if (f.origin, f.target) == (origin, target) and not (nonstop and f.stops)]
        return sorted(found, key=lambda flight: (flight.leaves, flight.code))

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Search", html.heading("Where to?") + self._search(query))
            case ["flights"]:
                return self._results(query)
            case ["book", code, date] if code in self.by_code:
                return View(
                    "Passenger",
                    html.heading(f"Book {self._line(self.by_code[code])} on {date}")
                    + html.form(
                        f"/book/{code}/{date}",
                        html.field("Passenger name", "name"),
                        html.radios("Seat", "seat", SEATS),
                        html.box("I accept the fare rules", "rules"),
                        button="Confirm booking",
                    ),
                )
            case ["bookings"]:
                rows = [
                    (
                        html.escape(b["name"]),
                        b["flight"],
                        b["date"],
                        b["seat"],
                        html.link(f"Cancel {b['flight']}", f"/cancel/{n}"),
                    )
                    for n, b in db["bookings"].items()
                ]
                return View(
                    "Bookings",
                    html.heading("My bookings") + html.table(("Passenger", "Flight", "Date", "Seat", ""), rows),
                )
            case ["cancel", number] if number in db["bookings"]:
                code = db["bookings"][number]["flight"]
                return View(
                    "Cancel",
                    html.para(f"Cancel the booking of {code}? The fare is lost.")
                    + html.form(f"/cancel/{number}", button="Yes, cancel it")
                    + html.link("No, keep it", "/bookings"),
                )
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        if path[0] == "cancel":
            db["bookings"].pop(path[1], None)
            db["_note"] = "The booking was cancelled."
            return "/bookings"
        name, seat = form.get("name", "").strip(), form.get("seat", "")
        if not (name and seat and "rules" in form):
            db["_note"] = "Give a name, choose a seat and accept the fare rules."
            return "/" + "/".join(path)
        booking = {"flight": path[1], "date": path[2], "name": name, "seat": seat}
        db["bookings"][next_id(db["bookings"])] = booking
        db["_note"] = "Your flight is booked."
        return "/bookings"

    def _search(self, query: Form) -> str:
        dates = [day(n) for n in range(1, 13)]
        return html.form(
            "/flights",
            html.select("From", "from", self.cities, query.get("from", "")),
            html.select("To", "to", self.cities, query.get("to", "")),
            html.select("Date", "date", dates, query.get("date", "")),
            html.box("Nonstop only", "nonstop", "nonstop" in query),
            button="Search",
            method="get",
        )

    def _results(self, query: Form) -> View:
        origin, target, date = (query.get(key, "") for key in ("from", "to", "date"))
        found = self.between(origin, target, "nonstop" in query)
        rows = [
            (
                self._line(f),
                f"{f.takes // 60}h {f.takes % 60:02d}m",
                money(f.cents),
                html.link(f"Book {f.code}", f"/book/{f.code}/{date}"),
            )
            for f in found
        ]
        head = html.heading(f"{origin} to {target} on {date}") if origin != target else html.para("Choose two cities.")
        return View("Flights", self._search(query) + head + html.table(("Flight", "Duration", "Price", ""), rows))

    def _line(self, flight: Flight) -> str:
        stops = "nonstop" if not flight.stops else f"{flight.stops} stop{'s' * (flight.stops > 1)}"
        return f"{flight.code} {flight.origin} {clock(flight.leaves)} {flight.target}, {stops}"


def _route(site: Flights, dice: Dice) -> dict[str, str]:
    origin, target = dice.sample(site.cities, 2)
    return {"origin": origin, "target": target, "date": day(dice.integer(1, 12))}


def _find(params: Params, nonstop: bool = False) -> Submit:
    fields = {"from": params["origin"], "to": params["target"], "date": params["date"]}
    return Submit("/flights", {**fields, "nonstop": "on" if nonstop else ""})


class CheapestFare(Errand[Flights]):
    """Compare prices."""

    level = 1
    wordings = (
        "What does the cheapest flight from {origin} to {target} on {date} cost?",
        "Find the lowest price from {origin} to {target} on {date}.",
    )

    def draw(self, site: Flights, dice: Dice) -> Params:
        return _route(site, dice)

    def goal(self, site: Flights, params: Params) -> Goal:
        return Goal(answer=money(min(f.cents for f in site.between(params["origin"], params["target"]))))

    def plan(self, site: Flights, db: Db, params: Params) -> Sequence[Stage]:
        find = _find(params)
        names = ("from", "to", "date")
        return [find, Read(html.query("/flights", **{name: find.fields[name] for name in names}))]


class CancelBooking(Errand[Flights]):
    """Cancel one of the bookings."""

    level = 1
    wordings = ("Cancel the booking of flight {code}.", "'{name}' cannot fly with {code}: cancel that booking.")

    def draw(self, site: Flights, dice: Dice) -> Params:
        number = dice.pick(list(site.booked))
        return {"number": number, "code": site.booked[number]["flight"], "name": site.booked[number]["name"]}

    def goal(self, site: Flights, params: Params) -> Goal:
        return Goal(gone(site.start(), f"bookings/{params['number']}"))

    def plan(self, site: Flights, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/cancel/{params['number']}"
        return [Follow("/bookings"), Follow(page), Submit(page)]


class BookFlight(Errand[Flights]):
    """Book the cheapest flight of a route."""

    level = 3
    wordings = (
        "Book the cheapest {kind}flight from {origin} to {target} on {date} for '{name}', {seat} seat.",
        "'{name}' needs the cheapest {kind}flight on {date}, {origin} to {target}. Book it with seat {seat}.",
    )

    def draw(self, site: Flights, dice: Dice) -> Params:
        while True:
            route = _route(site, dice)
            kind = dice.pick(("", "nonstop "))
            if site.between(route["origin"], route["target"], bool(kind)):
                return {**route, "kind": kind, "name": person(dice), "seat": dice.pick(SEATS)}

    def goal(self, site: Flights, params: Params) -> Goal:
        booking = {"flight": self._best(site, params).code, **{key: params[key] for key in ("date", "name", "seat")}}
        return Goal({f"bookings/{len(site.booked) + 1}/{key}": value for key, value in booking.items()})

    def plan(self, site: Flights, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/book/{self._best(site, params).code}/{params['date']}"
        fields = {"name": params["name"], "seat": params["seat"], "rules": "on"}
        return [_find(params, bool(params["kind"])), Follow(page), Submit(page, fields)]

    def _best(self, site: Flights, params: Params) -> Flight:
        return min(site.between(params["origin"], params["target"], bool(params["kind"])), key=lambda f: f.cents)


Flights.errands = {"cheapest-fare": CheapestFare(), "cancel-booking": CancelBooking(), "book-flight": BookFlight()}
