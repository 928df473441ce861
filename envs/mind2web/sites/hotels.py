"""Hotels: search by city and stars, several pages of results, a calendar to pick the arrival from, a booking form."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, next_id, paged
from cmat_gym.envs.mind2web.sites.words import TODAY, day, money, person, phone, street, words

__all__ = ["Hotels"]

PAGE = 4
ROOMS = ("single", "double", "suite")
MONTHS = ("2026-05", "2026-06", "2026-07")


class Hotel(NamedTuple):
    name: str
    city: str
    stars: int
    cents: int
    phone: str
    address: str


class Hotels(Site):
    """Hotels in a few cities."""

    kind = "hotels"
    menu = (("Find a hotel", "/"), ("Favorites", "/favorites"), ("My stays", "/stays"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(('Stay', 'Sleep', 'Nest', 'Pillow'))}{dice.pick(('Well', 'Finder', 'Point'))}"
        self.cities = dice.sample(words("cities"), 3)
        names = dice.sample(words("hotelnames"), 16)
        prices = dice.sample(range(40, 260), 16)
        self.hotels = [
            Hotel(name, self.cities[n % 3], dice.integer(2, 5), price * 100, phone(dice), street(dice))
            for n, (name, price) in enumerate(zip(names, prices, strict=True))
        ]

    def start(self) -> Db:
        return {"favorites": {}, "stays": {}}

    def found(self, city: str, stars: str) -> list[int]:
        """Numbers of the hotels of a city with at least so many stars, best first."""
        least = int(stars) if stars in ("2", "3", "4", "5") else 0
        fits = [n for n, hotel in enumerate(self.hotels) if hotel.city == city and hotel.stars >= least]
        return sorted(fits, key=lambda n: (-self.hotels[n].stars, self.hotels[n].name))

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Find a hotel", html.heading("Find a hotel") + self._search(query))
            case ["hotels"]:
                return self._results(query)
            case ["hotel", number] if number.isdigit() and int(number) < len(self.hotels):
                return self._hotel(db, int(number))
            case ["hotel", number, "dates"] if number.isdigit() and int(number) < len(self.hotels):
                return self._calendar(int(number), query.get("month", MONTHS[0]))
            case ["hotel", number, "book", date] if number.isdigit() and int(number) < len(self.hotels):
                return View(
                    "Book",
                    html.heading(f"{self.hotels[int(number)].name}, arrival {date}")
                    + html.form(
                        f"/hotel/{number}/book/{date}",
                        html.select("Nights", "nights", [str(n) for n in range(1, 8)], "1"),
                        html.select("Room", "room", ROOMS, "double"),
                        html.field("Guest name", "name"),
                        button="Book now",
                    ),
                )
            case ["favorites"]:
                return View("Favorites", html.heading("Favorites") + html.lines(map(html.escape, db["favorites"])))
            case ["stays"]:
                rows = [
                    (html.escape(s["hotel"]), s["arrival"], s["nights"], s["room"], html.escape(s["name"]))
                    for s in db["stays"].values()
                ]
                return View(
                    "My stays",
                    html.heading("My stays") + html.table(("Hotel", "Arrival", "Nights", "Room", "Guest"), rows),
                )
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        hotel = self.hotels[int(path[1])]
        if path[2] == "favorite":
            if db["favorites"].pop(hotel.name, None) is None:
                db["favorites"][hotel.name] = True
            return f"/hotel/{path[1]}"
        if not (name := form.get("name", "").strip()):
            db["_note"] = "Please give the name of the guest."
            return "/" + "/".join(path)
        stay = {"hotel": hotel.name, "arrival": path[3], "nights": form["nights"], "room": form["room"], "name": name}
        db["stays"][next_id(db["stays"])] = stay
        db["_note"] = "Your room is booked."
        return "/stays"

    def _search(self, query: Form) -> str:
        stars = [("", "any"), *((str(n), f"{n} or more") for n in (3, 4, 5))]
        return html.form(
            "/hotels",
            html.select("City", "city", self.cities, query.get("city", "")),
            html.select("Stars", "stars", stars, query.get("stars", "")),
            button="Search",
            method="get",
        )

    def _results(self, query: Form) -> View:
        city, stars = query.get("city", ""), query.get("stars", "")
        numbers = [str(n) for n in self.found(city, stars)]
        shown, turn = paged(numbers, "/hotels", query.get("page", ""), PAGE, city=city, stars=stars)
        hotels = [(n, self.hotels[int(n)]) for n in shown]
        rows = [(html.link(h.name, f"/hotel/{n}"), f"{h.stars} stars", money(h.cents)) for n, h in hotels]
        return View(f"Hotels in {city}", self._search(query) + turn + html.table(("Hotel", "Stars", "Per night"), rows))

    def _hotel(self, db: Db, number: int) -> View:
        hotel = self.hotels[number]
        mark = "Remove from favorites" if hotel.name in db["favorites"] else "Add to favorites"
        return View(
            hotel.name,
            html.heading(hotel.name)
            + html.para(f"{hotel.stars} stars, {hotel.address}, {hotel.city}. {money(hotel.cents)} per night.")
            + html.para(f"Telephone: {hotel.phone}")
            + html.link("Choose dates", f"/hotel/{number}/dates")
            + html.form(f"/hotel/{number}/favorite", button=mark),
        )

    def _calendar(self, number: int, month: str) -> View:
        month = month if month in MONTHS else MONTHS[0]
        at = MONTHS.index(month)
        path = f"/hotel/{number}/dates"
        turn = [html.link("Previous month", html.query(path, month=MONTHS[at - 1]), "prev")] if at else []
        if at + 1 < len(MONTHS):
            turn.append(html.link("Next month", html.query(path, month=MONTHS[at + 1]), "next"))
        year, number_of_month = map(int, month.split("-"))
        dates = [
            datetime.date(year, number_of_month, n + 1) for n in range(calendar.monthrange(year, number_of_month)[1])
        ]
        # Arrivals on Fridays to Mondays only: a small calendar, as weekend houses have it.
        links = [
            html.link(f"{date:%a} {date.isoformat()}", f"/hotel/{number}/book/{date.isoformat()}")
            for date in dates
            if date > TODAY and date.weekday() in (0, 4, 5)
        ]
        return View(
            "Dates",
            html.heading(f"{self.hotels[number].name}: arrival in {month}")
            + f'<p data-at="{month}">{" ".join(turn)}</p>'
            + html.lines(links),
        )


def _open(site: Hotels, params: Params) -> list[Stage]:
    city = site.hotels[params["number"]].city
    return [
        Submit("/hotels", {"city": city, "stars": params.get("stars", "")}),
        Turn("/hotels"),
        Follow(f"/hotel/{params['number']}"),
    ]


class FindPhone(Errand[Hotels]):
    """Look a number up."""

    level = 1
    wordings = (
        "What is the telephone number of the hotel '{hotel}' in {city}?",
        "I want to call '{hotel}' in {city}. Which number?",
    )

    def draw(self, site: Hotels, dice: Dice) -> Params:
        number = dice.integer(0, len(site.hotels) - 1)
        return {"number": number, "hotel": site.hotels[number].name, "city": site.hotels[number].city}

    def goal(self, site: Hotels, params: Params) -> Goal:
        return Goal(answer=site.hotels[params["number"]].phone)

    def plan(self, site: Hotels, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, params), Read(f"/hotel/{params['number']}")]


class SaveFavorite(Errand[Hotels]):
    """Remember a hotel."""

    level = 2
    wordings = ("Add the hotel '{hotel}' in {city} to the favorites.", "Save '{hotel}' ({city}) as a favorite.")

    def draw(self, site: Hotels, dice: Dice) -> Params:
        return FindPhone().draw(site, dice)

    def goal(self, site: Hotels, params: Params) -> Goal:
        return Goal({f"favorites/{params['hotel']}": True})

    def plan(self, site: Hotels, db: Db, params: Params) -> Sequence[Stage]:
        other = [n for n, hotel in enumerate(site.hotels) if hotel.name in db["favorites"] and n != params["number"]]
        if other:
            return [*_open(site, {"number": other[0]}), Submit(f"/hotel/{other[0]}/favorite")]
        return [*_open(site, params), Submit(f"/hotel/{params['number']}/favorite")]


class BookRoom(Errand[Hotels]):
    """Book the cheapest hotel of a class."""

    level = 3
    wordings = (
        "Book the cheapest hotel with {stars} or more stars in {city}: a {room} room from {date}, {nights} nights, "
        "for '{name}'.",
        "'{name}' wants a {room} room in {city}, arriving {date}, for {nights} nights. Take the cheapest hotel with "
        "at least {stars} stars.",
    )

    def draw(self, site: Hotels, dice: Dice) -> Params:
        while True:
            city, stars = dice.pick(site.cities), dice.pick(("3", "4"))
            dates = [day(n) for n in range(1, 88) if (n % 7) in (0, 4, 5)]
            if found := site.found(city, stars):
                best = min(found, key=lambda n: site.hotels[n].cents)
                return {
                    "number": best,
                    "city": city,
                    "stars": stars,
                    "date": dice.pick(dates),
                    "room": dice.pick(ROOMS),
                    "nights": str(dice.integer(1, 7)),
                    "name": person(dice),
                }

    def goal(self, site: Hotels, params: Params) -> Goal:
        stay = {
            "hotel": site.hotels[params["number"]].name,
            "arrival": params["date"],
            **{key: params[key] for key in ("nights", "room", "name")},
        }
        return Goal({f"stays/1/{key}": value for key, value in stay.items()})

    def plan(self, site: Hotels, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/hotel/{params['number']}"
        book = f"{page}/book/{params['date']}"
        dates: list[Stage] = [Follow(f"{page}/dates"), Turn(f"{page}/dates", params["date"][:7]), Follow(book)]
        return [*_open(site, params), *dates, Submit(book, {key: params[key] for key in ("nights", "room", "name")})]


Hotels.errands = {"find-phone": FindPhone(), "save-favorite": SaveFavorite(), "book-room": BookRoom()}
