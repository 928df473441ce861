"""A job board: search with filters, tabs on an advert, saved adverts, and an application form with a consent box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, paged
from cmat_gym.envs.mind2web.sites.words import day, email, person, words

__all__ = ["Jobs"]

PAGE = 6
KINDS = ("full time", "part time", "remote")


class Advert(NamedTuple):
    title: str
    company: str
    city: str
    kind: str
    salary: int
    contact: str


class Jobs(Site):
    """Adverts of several companies."""

    kind = "jobs"
    menu = (("Jobs", "/jobs"), ("Saved jobs", "/saved"), ("Applications", "/applications"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(('Work', 'Job', 'Career'))}{dice.pick(('Hub', 'Lane', 'Scout'))}"
        cities = dice.sample(words("cities"), 4)
        pairs = dice.sample([(job, company) for job in words("jobs") for company in words("companies")], 24)
        self.adverts = [
            Advert(job, company, dice.pick(cities), dice.pick(KINDS), dice.integer(30, 90) * 1000, person(dice))
            for job, company in pairs
        ]

    def start(self) -> Db:
        return {"saved": {}, "applications": {}}

    def name(self, number: int) -> str:
        """How an advert is called on the site."""
        return f"{self.adverts[number].title} at {self.adverts[number].company}"

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Home", html.heading("Find your next job") + self._search(query))
            case ["jobs"]:
                return self._results(query)
            case ["job", number, *tab] if number.isdigit() and int(number) < len(self.adverts):
                return self._job(db, int(number), tab)
            case ["apply", number] if number.isdigit() and int(number) < len(self.adverts):
                starts = [day(n) for n in (7, 14, 28, 56)]
                return View(
                    "Apply",
                    html.heading(f"Apply: {self.name(int(number))}")
                    + html.form(
                        f"/apply/{number}",
                        html.field("Full name", "name", query.get("name", "")),
                        html.field("Email", "email", query.get("email", "")),
                        html.radios("You can start on", "start", starts, query.get("start", "")),
                        html.box("I agree to the processing of my data", "consent"),
                        html.box("Send me similar jobs", "alerts"),
                        button="Send application",
                    ),
                )
            case ["saved"]:
                return View("Saved jobs", html.heading("Saved jobs") + html.lines(map(html.escape, db["saved"])))
            case ["applications"]:
                return View(
                    "Applications",
                    html.heading("Applications")
                    + html.lines(
                        html.escape(f"{job}: {sent['name']}, {sent['email']}, start {sent['start']}")
                        for job, sent in db["applications"].items()
                    ),
                )
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        name = self.name(int(path[1]))
        if path[0] == "save":
            if db["saved"].pop(name, None) is None:
                db["saved"][name] = True
            return f"/job/{path[1]}"
        given = {key: form.get(key, "").strip() for key in ("name", "email", "start")}
        wrong = next((key for key, value in given.items() if not value), "")
        if not wrong and "@" not in given["email"]:
            wrong = "a valid email"
        if wrong or "consent" not in form:
            db["_note"] = f"Please give {wrong}." if wrong else "Please agree to the processing of your data."
            return html.query(f"/apply/{path[1]}", **given)
        db["applications"][name] = {**given, "alerts": "alerts" in form}
        db["_note"] = "Your application was sent."
        return "/applications"

    def _search(self, query: Form) -> str:
        kinds = [("", "any"), *((kind, kind) for kind in KINDS)]
        return html.form(
            "/jobs",
            html.field("Job or company", "q", query.get("q", "")),
            html.select("Type", "kind", kinds, query.get("kind", "")),
            button="Search",
            method="get",
        )

    def _results(self, query: Form) -> View:
        wanted, kind = query.get("q", "").lower().strip(), query.get("kind", "")
        found = [
            str(n)
            for n, advert in enumerate(self.adverts)
            if wanted in self.name(n).lower() and kind in ("", advert.kind)
        ]
        shown, turn = paged(found, "/jobs", query.get("page", ""), PAGE, q=query.get("q", ""), kind=kind)
        rows = [
            (html.link(self.name(int(n)), f"/job/{n}"), self.adverts[int(n)].city, self.adverts[int(n)].kind)
            for n in shown
        ]
        return View("Jobs", self._search(query) + turn + html.table(("Job", "City", "Type"), rows))

    def _job(self, db: Db, number: int, tab: list[str]) -> View:
        advert = self.adverts[number]
        tabs = html.link("Job", f"/job/{number}") + html.link("Contact person", f"/job/{number}/contact")
        if tab == ["contact"]:
            body = html.para(f"Questions? Ask {advert.contact} of {advert.company}.")
        else:
            mark = "Remove from saved jobs" if self.name(number) in db["saved"] else "Save this job"
            body = (
                html.para(f"{advert.city}, {advert.kind}, {advert.salary:,} dollars a year.")
                + html.link("Apply now", f"/apply/{number}")
                + html.form(f"/save/{number}", button=mark)
            )
        return View(self.name(number), html.heading(self.name(number)) + f"<nav>{tabs}</nav>" + body)


def _open(params: Params) -> list[Stage]:
    return [Submit("/jobs", {"q": params["job"]}), Turn("/jobs"), Follow(f"/job/{params['number']}")]


class FindContact(Errand[Jobs]):
    """Look a person up, behind a tab."""

    level = 2
    wordings = ("Who is the contact person for the job '{job}'?", "Whom can I ask about '{job}'? Give the full name.")

    def draw(self, site: Jobs, dice: Dice) -> Params:
        number = dice.integer(0, len(site.adverts) - 1)
        return {"number": number, "job": site.name(number)}

    def goal(self, site: Jobs, params: Params) -> Goal:
        return Goal(answer=site.adverts[params["number"]].contact)

    def plan(self, site: Jobs, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/job/{params['number']}/contact"
        return [*_open(params), Follow(page), Read(page)]


class SaveJob(Errand[Jobs]):
    """Remember an advert."""

    level = 1
    wordings = ("Save the job '{job}'.", "Put '{job}' on the list of saved jobs.")

    def draw(self, site: Jobs, dice: Dice) -> Params:
        return FindContact().draw(site, dice)

    def goal(self, site: Jobs, params: Params) -> Goal:
        return Goal({f"saved/{params['job']}": True})

    def plan(self, site: Jobs, db: Db, params: Params) -> Sequence[Stage]:
        other = next(
            (n for n in range(len(site.adverts)) if site.name(n) in db["saved"] and n != params["number"]), None
        )
        if other is not None:
            return [
                *_open({"number": other, "job": site.name(other)}),
                Follow(f"/job/{other}"),
                Submit(f"/save/{other}"),
            ]
        return [*_open(params), Follow(f"/job/{params['number']}"), Submit(f"/save/{params['number']}")]


class Apply(Errand[Jobs]):
    """Send an application."""

    level = 3
    wordings = (
        "Apply for '{job}' as '{name}', email '{email}', start on {start}. No job alerts.",
        "Send an application for '{job}': '{name}', '{email}', starting {start}, without alerts about similar jobs.",
    )

    def draw(self, site: Jobs, dice: Dice) -> Params:
        name = person(dice)
        return {
            **FindContact().draw(site, dice),
            "name": name,
            "email": email(name),
            "start": day(dice.pick((7, 14, 28, 56))),
        }

    def goal(self, site: Jobs, params: Params) -> Goal:
        sent = {**{key: params[key] for key in ("name", "email", "start")}, "alerts": False}
        return Goal({f"applications/{params['job']}/{key}": value for key, value in sent.items()})

    def plan(self, site: Jobs, db: Db, params: Params) -> Sequence[Stage]:
        fields = {**{key: params[key] for key in ("name", "email", "start")}, "consent": "on", "alerts": ""}
        page = f"/apply/{params['number']}"
        return [*_open(params), Follow(f"/job/{params['number']}"), Follow(page), Submit(page, fields)]


Jobs.errands = {"find-contact": FindContact(), "save-job": SaveJob(), "apply": Apply()}
