"""A map: search places by kind and district, a place's page, directions by mode, saved places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, next_id
from cmat_gym.envs.mind2web.sites.words import phone, street, words

__all__ = ["Maps"]

DISTRICTS = ("Old Town", "Riverside", "West End")
MODES = {"walking": 12, "bicycle": 4, "car": 2}  # minutes a kilometre
LISTS = ("home", "work", "weekend")


class Place(NamedTuple):
    name: str
    kind: str
    district: str
    address: str
    phone: str
    x: int
    y: int


class Maps(Site):
    """Two dozen places of a town."""

    kind = "maps"
    menu = (("Search", "/"), ("Directions", "/directions"), ("Saved places", "/saved"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('cities'))} Map"
        pairs = dice.sample([(name, kind) for name in words("placenames") for kind in words("places")], 24)
        self.places = [
            Place(
                f"{name} {kind}",
                kind,
                dice.pick(DISTRICTS),
                street(dice),
                phone(dice),
                dice.integer(0, 30),
                dice.integer(0, 30),
            )
            for name, kind in pairs
        ]

    def start(self) -> Db:
        return {"saved": {}, "trips": {}}

    def minutes(self, origin: int, target: int, mode: str) -> int:
        """How long the way takes, along streets that run north and east."""
        one, other = self.places[origin], self.places[target]
        return max(1, (abs(one.x - other.x) + abs(one.y - other.y)) * MODES[mode] // 2)

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Search", html.heading("Search the map") + self._search(query))
            case ["places"]:
                kind, district = query.get("kind", ""), query.get("district", "")
                rows = [
                    (html.link(p.name, f"/place/{n}"), p.district, p.address)
                    for n, p in enumerate(self.places)
                    if kind in ("", p.kind) and district in ("", p.district)
                ][:12]
                return View("Places", self._search(query) + html.table(("Place", "District", "Address"), rows))
            case ["place", number] if number.isdigit() and int(number) < len(self.places):
                return self._place(db, int(number))
            case ["directions"]:
                return self._directions(query)
            case ["saved"]:
                places = [html.escape(f"{name}: {where}") for name, where in db["saved"].items()]
                trips = [html.escape(f"{t['from']} to {t['to']}, {t['mode']}") for t in db["trips"].values()]
                return View(
                    "Saved places",
                    html.heading("Saved places") + html.lines(places) + html.heading("Saved trips") + html.lines(trips),
                )
        return View("Not found", html.para("There is no such place."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        if path[0] == "trip":
            origin, target = self.places[int(path[1])].name, self.places[int(path[2])].name
            db["trips"][next_id(db["trips"])] = {"from": origin, "to": target, "mode": path[3]}
            return "/saved"
        name = self.places[int(path[1])].name
        if form["list"]:
            db["saved"][name] = form["list"]
        else:
            db["saved"].pop(name, None)
        return f"/place/{path[1]}"

    def _search(self, query: Form) -> str:
        kinds = [("", "anything"), *((kind, kind) for kind in words("places"))]
        districts = [("", "everywhere"), *((name, name) for name in DISTRICTS)]
        return html.form(
            "/places",
            html.select("What", "kind", kinds, query.get("kind", "")),
            html.select("Where", "district", districts, query.get("district", "")),
            button="Search",
            method="get",
        )

    def _place(self, db: Db, number: int) -> View:
        place = self.places[number]
        lists = [("", "not saved"), *((name, name) for name in LISTS)]
        save = html.form(
            f"/save/{number}", html.select("List", "list", lists, db["saved"].get(place.name, "")), button="Save place"
        )
        return View(
            place.name,
            html.heading(place.name) + html.para(f"{place.address}, {place.district}. Telephone {place.phone}.") + save,
        )

    def _directions(self, query: Form) -> View:
        origin, target, mode = query.get("from", ""), query.get("to", ""), query.get("mode", "walking")
        form = html.form(
            "/directions",
            html.field("From", "from", origin),
            html.field("To", "to", target),
            html.radios("By", "mode", tuple(MODES), mode),
            button="Show the way",
            method="get",
        )
        known = {place.name.lower(): n for n, place in enumerate(self.places)}
        ends = [known.get(text.strip().lower()) for text in (origin, target)]
        if None in ends or mode not in MODES:
            body = html.para(
                "Enter the full names of two places." if not (origin or target) else "A place is not known."
            )
        else:
            here, there = int(ends[0] or 0), int(ends[1] or 0)
            body = html.para(f"{mode}: {self.minutes(here, there, mode)} minutes.") + html.form(
                f"/trip/{here}/{there}/{mode}", button="Save this trip"
            )
        return View("Directions", html.heading("Directions") + form + body)


def _open(site: Maps, number: int) -> list[Stage]:
    place = site.places[number]
    return [Submit("/places", {"kind": place.kind, "district": place.district}), Follow(f"/place/{number}")]


class FindAddress(Errand[Maps]):
    """Look a number up."""

    level = 1
    wordings = (
        "What is the telephone number of the '{place}' in {district}?",
        "Find the phone number of '{place}', {district}.",
    )

    def draw(self, site: Maps, dice: Dice) -> Params:
        number = dice.integer(0, len(site.places) - 1)
        return {"number": number, "place": site.places[number].name, "district": site.places[number].district}

    def goal(self, site: Maps, params: Params) -> Goal:
        return Goal(answer=site.places[params["number"]].phone)

    def plan(self, site: Maps, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, params["number"]), Read(f"/place/{params['number']}")]


class SavePlace(Errand[Maps]):
    """Put a place on a list."""

    level = 2
    wordings = ("Save the '{place}' in {district} to the list {list}.", "Put '{place}' ({district}) on my {list} list.")

    def draw(self, site: Maps, dice: Dice) -> Params:
        return {**FindAddress().draw(site, dice), "list": dice.pick(LISTS)}

    def goal(self, site: Maps, params: Params) -> Goal:
        return Goal({f"saved/{params['place']}": params["list"]})

    def plan(self, site: Maps, db: Db, params: Params) -> Sequence[Stage]:
        for number, place in enumerate(site.places):
            if place.name in db["saved"] and number != params["number"]:
                return [*_open(site, number), Submit(f"/save/{number}", {"list": ""})]
        return [*_open(site, params["number"]), Submit(f"/save/{params['number']}", {"list": params["list"]})]


def _way(params: Params) -> list[Stage]:
    fields = {"from": params["origin"], "to": params["target"], "mode": params["mode"]}
    return [Follow("/directions"), Submit("/directions", fields)]


class TravelTime(Errand[Maps]):
    """Ask for directions."""

    level = 2
    wordings = (
        "How many minutes is it from '{origin}' to '{target}' by {mode}?",
        "Get the directions from '{origin}' to '{target}' ({mode}): how many minutes?",
    )

    def draw(self, site: Maps, dice: Dice) -> Params:
        origin, target = dice.sample(range(len(site.places)), 2)
        return {
            "from": origin,
            "to": target,
            "origin": site.places[origin].name,
            "target": site.places[target].name,
            "mode": dice.pick(tuple(MODES)),
        }

    def goal(self, site: Maps, params: Params) -> Goal:
        return Goal(answer=str(site.minutes(params["from"], params["to"], params["mode"])))

    def plan(self, site: Maps, db: Db, params: Params) -> Sequence[Stage]:
        shown = {"from": params["origin"], "to": params["target"], "mode": params["mode"]}
        return [*_way(params), Read(html.query("/directions", **shown))]


class SaveTrip(Errand[Maps]):
    """Save a way."""

    level = 3
    wordings = (
        "Save the trip from '{origin}' to '{target}' by {mode}.",
        "Look the way by {mode} from '{origin}' to '{target}' up and save that trip.",
    )

    def draw(self, site: Maps, dice: Dice) -> Params:
        return TravelTime().draw(site, dice)

    def goal(self, site: Maps, params: Params) -> Goal:
        trip = {"from": params["origin"], "to": params["target"], "mode": params["mode"]}
        return Goal({f"trips/1/{key}": value for key, value in trip.items()})

    def plan(self, site: Maps, db: Db, params: Params) -> Sequence[Stage]:
        return [*_way(params), Submit(f"/trip/{params['from']}/{params['to']}/{params['mode']}")]


Maps.errands = {
    "find-address": FindAddress(),
    "save-place": SavePlace(),
    "travel-time": TravelTime(),
    "save-trip": SaveTrip(),
}
