"""A calendar: months to turn, days to open, events to add, move and delete, with clashes refused."""

from __future__ import annotations

from collections.abc import Sequence

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, gone, next_id
from cmat_gym.envs.mind2web.sites.words import clock, day, words

__all__ = ["Planner"]

TIMES = tuple(clock(minutes) for minutes in range(540, 1080, 60))
WEEKS = 8  # of five days each, from today on


class Planner(Site):
    """One person's calendar, week by week."""

    kind = "calendar"
    menu = (("This week", "/week?from=1"), ("New event", "/new"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(('Day', 'Week', 'Time'))}{dice.pick(('Planner', 'Book', 'Keeper'))}"
        titles = dice.sample(words("events"), 7)
        self.events = {
            str(n): {
                "title": title,
                "date": self.date(dice.integer(1, 4), dice.integer(0, 4)),
                "time": TIMES[n],
                "room": dice.pick(words("rooms")),
            }
            for n, title in enumerate(titles, 1)
        }

    def start(self) -> Db:
        return {"events": {number: dict(event) for number, event in self.events.items()}}

    def date(self, week: int, weekday: int) -> str:
        """The date of a working day."""
        return day(7 * (week - 1) + weekday)

    def week(self, date: str) -> int:
        """The week a date is in."""
        return next(week for week in range(1, WEEKS + 1) if date < self.date(week + 1, 0))

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return self._week(db, 1)
            case ["week"] if (week := query.get("from", "")) in map(str, range(1, WEEKS + 1)):
                return self._week(db, int(week))
            case ["event", number] if number in db["events"]:
                event = db["events"][number]
                return View(
                    event["title"],
                    html.heading(event["title"])
                    + html.para(f"{event['date']} at {event['time']}, {event['room']}.")
                    + html.form(f"/move/{number}", *self._when(event), button="Save")
                    + html.form(f"/delete/{number}", button="Delete event"),
                )
            case ["new"]:
                return View(
                    "New event",
                    html.heading("New event")
                    + html.form(
                        "/new",
                        html.field("Title", "title", query.get("title", "")),
                        *self._when(query),
                        html.select("Room", "room", words("rooms"), query.get("room", "")),
                        button="Add event",
                    ),
                )
        return View("Not found", html.para("There is no such page."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        events = db["events"]
        if path[0] == "delete":
            events.pop(path[1], None)
            return "/"
        when = {"date": form.get("date", "").strip(), "time": form["time"]}
        busy = any((e["date"], e["time"]) == (when["date"], when["time"]) for n, e in events.items() if n != path[-1])
        known = any(when["date"] == self.date(week, n) for week in range(1, WEEKS + 1) for n in range(5))
        wrong = "" if known else "The date must be a working day such as 2026-05-12."
        wrong = wrong or ("There is an event at that time already." if busy else "")
        if path[0] == "move":
            db["_note"] = wrong
            if not wrong:
                events[path[1]].update(when)
            return f"/event/{path[1]}"
        title = form.get("title", "").strip()
        wrong = wrong or ("" if title else "An event needs a title.")
        if wrong:
            db["_note"] = wrong
            return html.query("/new", title=title, **when, room=form["room"])
        events[next_id(events)] = {"title": title, **when, "room": form["room"]}
        return html.query("/week", **{"from": self.week(when["date"])})

    def _when(self, values: Form) -> tuple[str, str]:
        return (
            html.field("Date", "date", values.get("date", "")),
            html.select("Time", "time", TIMES, values.get("time", "")),
        )

    def _week(self, db: Db, week: int) -> View:
        dates = [self.date(week, n) for n in range(5)]
        rows = []
        for date in dates:
            events = sorted((e["time"], n, e["title"]) for n, e in db["events"].items() if e["date"] == date)
            rows.append(
                (date, " ".join(f"{time} {html.link(title, f'/event/{n}')}" for time, n, title in events) or "free")
            )
        turn = html.link("Previous week", f"/week?from={week - 1}", "prev") if week > 1 else ""
        turn += html.link("Next week", f"/week?from={week + 1}", "next") if week < WEEKS else ""
        return View(
            f"Week {week}",
            html.heading(f"Week of {dates[0]}")
            + f'<p data-at="{week}">{turn}</p>'
            + html.table(("Day", "Events"), rows),
        )


def _open(site: Planner, db: Db, number: str) -> list[Stage]:
    """Turn to the week of an event and open it."""
    if number not in db["events"]:
        return []
    week = str(site.week(db["events"][number]["date"]))
    return [Follow("/week?from=1"), Turn("/", week), Turn("/week", week), Follow(f"/event/{number}")]


def _draw(site: Planner, dice: Dice) -> Params:
    number = dice.pick(list(site.events))
    return {"number": number, "title": site.events[number]["title"], "date": site.events[number]["date"]}


class FindRoom(Errand[Planner]):
    """Look a place up."""

    level = 1
    wordings = ("Where does the event '{title}' on {date} take place?", "In which room is '{title}' on {date}?")

    def draw(self, site: Planner, dice: Dice) -> Params:
        return _draw(site, dice)

    def goal(self, site: Planner, params: Params) -> Goal:
        return Goal(answer=site.events[params["number"]]["room"])

    def plan(self, site: Planner, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, db, params["number"]), Read(f"/event/{params['number']}")]


class DeleteEvent(Errand[Planner]):
    """Take an event out."""

    level = 1
    wordings = (
        "Delete the event '{title}' on {date}.",
        "'{title}' on {date} is cancelled: take it out of the calendar.",
    )

    def draw(self, site: Planner, dice: Dice) -> Params:
        return _draw(site, dice)

    def goal(self, site: Planner, params: Params) -> Goal:
        return Goal(gone(site.start(), f"events/{params['number']}"))

    def plan(self, site: Planner, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, db, params["number"]), Submit(f"/delete/{params['number']}")]


class MoveEvent(Errand[Planner]):
    """Move an event."""

    level = 2
    wordings = (
        "Move '{title}' on {date} to {to} at {time}.",
        "Change the event '{title}' ({date}): new date {to}, new time {time}.",
    )

    def draw(self, site: Planner, dice: Dice) -> Params:
        params = _draw(site, dice)
        taken = {event["date"] for event in site.events.values()}
        free = [date for week in range(1, 5) for n in range(5) if (date := site.date(week, n)) not in taken]
        time = site.events[params["number"]]["time"]
        return {**params, "to": dice.pick(free), "time": dice.pick([other for other in TIMES if other != time])}

    def goal(self, site: Planner, params: Params) -> Goal:
        return Goal(
            {f"events/{params['number']}/date": params["to"], f"events/{params['number']}/time": params["time"]}
        )

    def plan(self, site: Planner, db: Db, params: Params) -> Sequence[Stage]:
        move = Submit(f"/move/{params['number']}", {"date": params["to"], "time": params["time"]})
        return [*_open(site, db, params["number"]), move]


class AddEvent(Errand[Planner]):
    """Add an event."""

    level = 3
    wordings = (
        "Add the event '{title}' on {date} at {time} in '{room}'.",
        "Put '{title}' into the calendar: {date}, {time}, room '{room}'.",
    )

    def draw(self, site: Planner, dice: Dice) -> Params:
        taken = {event["date"] for event in site.events.values()}
        free = [date for week in range(1, 5) for n in range(5) if (date := site.date(week, n)) not in taken]
        return {
            "title": dice.pick(words("events")),
            "date": dice.pick(free),
            "time": dice.pick(TIMES),
            "room": dice.pick(words("rooms")),
        }

    def goal(self, site: Planner, params: Params) -> Goal:
        return Goal({f"events/{next_id(site.events)}/{key}": value for key, value in params.items()})

    def plan(self, site: Planner, db: Db, params: Params) -> Sequence[Stage]:
        return [Follow("/new"), Submit("/new", params)]


Planner.errands = {
    "find-room": FindRoom(),
    "delete-event": DeleteEvent(),
    "move-event": MoveEvent(),
    "add-event": AddEvent(),
}
