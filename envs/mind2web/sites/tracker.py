"""An issue tracker: filters, result pages, issues with comments, and forms to file, assign, label and close them."""

from __future__ import annotations

from collections.abc import Sequence

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, next_id, paged
from cmat_gym.envs.mind2web.sites.words import person, words

__all__ = ["Tracker"]

PAGE = 6
PRIORITIES = ("low", "normal", "high")


class Tracker(Site):
    """The issues of one project."""

    kind = "tracker"
    menu = (("Issues", "/issues"), ("New issue", "/new"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('brands'))} Issues"
        self.people = [name.split()[0] for name in dice.sample([person(dice) for _ in range(12)], 12)]
        self.people = list(dict.fromkeys(self.people))[:5]
        titles = dice.sample([f"{part} {what}" for part in words("components") for what in words("problems")], 16)
        self.issues = {
            str(n): {
                "title": title,
                "label": dice.pick(words("labels")),
                "assignee": dice.pick(self.people),
                "status": "open" if dice.chance(0.75) else "closed",
                "priority": dice.pick(PRIORITIES),
            }
            for n, title in enumerate(titles, 101)
        }
        self.authors = {number: person(dice) for number in self.issues}

    def start(self) -> Db:
        return {"issues": {number: dict(issue) for number, issue in self.issues.items()}, "comments": {}}

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Home", html.heading("Project home") + _filter(query))
            case ["issues"]:
                return self._list(db, query)
            case ["issue", number] if number in db["issues"]:
                return self._issue(db, number)
            case ["new"]:
                return View(
                    "New issue",
                    html.heading("New issue")
                    + html.form(
                        "/new",
                        html.field("Title", "title", query.get("title", "")),
                        html.select(
                            "Label",
                            "label",
                            [("", "choose"), *((w, w) for w in words("labels"))],
                            query.get("label", ""),
                        ),
                        html.select("Priority", "priority", PRIORITIES, query.get("priority", "normal")),
                        button="File issue",
                    ),
                )
        return View("Not found", html.para("There is no such issue."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        match path:
            case ["new"]:
                return self._file(db, form)
            case ["edit", number]:
                db["issues"][number].update({key: form[key] for key in ("assignee", "label", "priority")})
                db["_note"] = "Saved."
            case ["status", number]:
                issue = db["issues"][number]
                issue["status"] = "closed" if issue["status"] == "open" else "open"
            case ["comment", number] if text := form.get("text", "").strip():
                db["comments"][next_id(db["comments"])] = {"issue": number, "text": text}
            case _:
                db["_note"] = "A comment needs some text."
        return f"/issue/{path[1]}"

    def _file(self, db: Db, form: Form) -> str:
        title, label = form.get("title", "").strip(), form.get("label", "")
        if not (title and label):
            db["_note"] = "An issue needs a title and a label."
            return html.query("/new", title=title, label=label, priority=form["priority"])
        number = next_id(db["issues"])
        db["issues"][number] = {
            "title": title,
            "label": label,
            "assignee": "nobody",
            "status": "open",
            "priority": form["priority"],
        }
        return f"/issue/{number}"

    def _list(self, db: Db, query: Form) -> View:
        wanted, label, status = query.get("q", "").lower().strip(), query.get("label", ""), query.get("status", "")
        found = [
            number
            for number, issue in db["issues"].items()
            if wanted in issue["title"].lower() and label in ("", issue["label"]) and status in ("", issue["status"])
        ]
        shown, turn = paged(
            found, "/issues", query.get("page", ""), PAGE, q=query.get("q", ""), label=label, status=status
        )
        rows = [
            (
                html.link(f"#{n} {db['issues'][n]['title']}", f"/issue/{n}"),
                db["issues"][n]["label"],
                db["issues"][n]["status"],
            )
            for n in shown
        ]
        return View("Issues", _filter(query) + turn + html.table(("Issue", "Label", "Status"), rows))

    def _issue(self, db: Db, number: str) -> View:
        issue = db["issues"][number]
        people = ["nobody", *self.people]
        edit = html.form(
            f"/edit/{number}",
            html.select("Assignee", "assignee", people, issue["assignee"]),
            html.select("Label", "label", words("labels"), issue["label"]),
            html.select("Priority", "priority", PRIORITIES, issue["priority"]),
            button="Save",
        )
        comments = html.lines(html.escape(c["text"]) for c in db["comments"].values() if c["issue"] == number)
        say = html.form(f"/comment/{number}", html.area("Comment", "text"), button="Add comment")
        toggle = html.form(f"/status/{number}", button="Close issue" if issue["status"] == "open" else "Reopen issue")
        author = self.authors.get(number, "you")
        return View(
            f"#{number}",
            html.heading(f"#{number} {issue['title']}")
            + html.para(f"Status {issue['status']}. Reported by {author}.")
            + edit
            + toggle
            + comments
            + say,
        )


def _filter(query: Form) -> str:
    labels = [("", "any"), *((label, label) for label in words("labels"))]
    statuses = [("", "any"), ("open", "open"), ("closed", "closed")]
    return html.form(
        "/issues",
        html.field("Search", "q", query.get("q", "")),
        html.select("Label", "label", labels, query.get("label", "")),
        html.select("Status", "status", statuses, query.get("status", "")),
        button="Filter",
        method="get",
    )


def _open(site: Tracker, number: str) -> list[Stage]:
    return [Submit("/issues", {"q": site.issues[number]["title"]}), Turn("/issues"), Follow(f"/issue/{number}")]


class FindReporter(Errand[Tracker]):
    """Look a name up."""

    level = 1
    wordings = ("Who reported the issue '{title}'?", "Give the name of the reporter of '{title}'.")

    def draw(self, site: Tracker, dice: Dice) -> Params:
        number = dice.pick(list(site.issues))
        return {"number": number, "title": site.issues[number]["title"]}

    def goal(self, site: Tracker, params: Params) -> Goal:
        return Goal(answer=site.authors[params["number"]])

    def plan(self, site: Tracker, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, params["number"]), Read(f"/issue/{params['number']}")]


class CloseIssue(Errand[Tracker]):
    """Close an open issue."""

    level = 1
    wordings = ("Close the issue '{title}'.", "'{title}' is fixed: close that issue.")

    def draw(self, site: Tracker, dice: Dice) -> Params:
        number = dice.pick([number for number, issue in site.issues.items() if issue["status"] == "open"])
        return {"number": number, "title": site.issues[number]["title"]}

    def goal(self, site: Tracker, params: Params) -> Goal:
        return Goal({f"issues/{params['number']}/status": "closed"})

    def plan(self, site: Tracker, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, params["number"]), Submit(f"/status/{params['number']}")]


class Triage(Errand[Tracker]):
    """Give an issue to somebody."""

    level = 2
    wordings = (
        "Assign the issue '{title}' to {assignee} with priority {priority}.",
        "Give '{title}' to {assignee}, priority {priority}.",
    )

    def draw(self, site: Tracker, dice: Dice) -> Params:
        number = dice.pick(list(site.issues))
        issue = site.issues[number]
        return {
            "number": number,
            "title": issue["title"],
            "assignee": dice.pick([name for name in site.people if name != issue["assignee"]]),
            "priority": dice.pick([name for name in PRIORITIES if name != issue["priority"]]),
        }

    def goal(self, site: Tracker, params: Params) -> Goal:
        return Goal({f"issues/{params['number']}/{key}": params[key] for key in ("assignee", "priority")})

    def plan(self, site: Tracker, db: Db, params: Params) -> Sequence[Stage]:
        number = params["number"]
        fields = {"assignee": params["assignee"], "priority": params["priority"], "label": site.issues[number]["label"]}
        return [*_open(site, number), Submit(f"/edit/{number}", fields)]


class FileIssue(Errand[Tracker]):
    """Report something new."""

    level = 2
    wordings = (
        "File a new issue titled '{title}' with label {label} and priority {priority}.",
        "Report '{title}' as a {priority} priority {label}.",
    )

    def draw(self, site: Tracker, dice: Dice) -> Params:
        title = f"{dice.pick(words('components'))} {dice.pick(words('problems'))} on tablets"
        return {"title": title, "label": dice.pick(words("labels")), "priority": dice.pick(PRIORITIES)}

    def goal(self, site: Tracker, params: Params) -> Goal:
        issue = {**params, "assignee": "nobody", "status": "open"}
        return Goal({f"issues/{next_id(site.issues)}/{key}": value for key, value in issue.items()})

    def plan(self, site: Tracker, db: Db, params: Params) -> Sequence[Stage]:
        return [Follow("/new"), Submit("/new", params)]


Tracker.errands = {
    "find-reporter": FindReporter(),
    "close-issue": CloseIssue(),
    "triage": Triage(),
    "file-issue": FileIssue(),
}
