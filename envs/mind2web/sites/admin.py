"""An administration console: users over several pages, roles, access, settings, and buttons one must not press."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, gone, next_id, paged
from cmat_gym.envs.mind2web.sites.words import day, email, person, words

__all__ = ["Admin"]

PAGE = 7
SETTINGS = {
    "signup": "Allow new users to sign up",
    "backup": "Back up every night",
    "two_factor": "Require two factors",
}
RETENTION = ("30 days", "90 days", "1 year")


class Admin(Site):
    """The users and settings of an organisation."""

    kind = "admin"
    menu = (("Users", "/users"), ("Invite user", "/invite"), ("Settings", "/settings"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('companies')).split()[0]} Admin"
        names = list(dict.fromkeys(person(dice) for _ in range(18)))
        self.users: dict[str, dict[str, Any]] = {
            str(n): {"name": name, "role": dice.pick(words("roles")), "team": dice.pick(words("teams")), "active": True}
            for n, name in enumerate(names, 1)
        }
        self.joined = {number: day(-dice.integer(20, 900)) for number in self.users}
        self.settings = {
            **{name: dice.chance(0.5) for name in SETTINGS},
            "retention": dice.pick(RETENTION),
            "logout": str(dice.integer(2, 12) * 5),
        }

    def start(self) -> Db:
        return {"users": {number: dict(user) for number, user in self.users.items()}, "settings": dict(self.settings)}

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View(
                    "Dashboard", html.heading("Dashboard") + html.para(f"{len(db['users'])} users.") + _filter(query)
                )
            case ["users"]:
                return self._list(db, query)
            case ["user", number] if number in db["users"]:
                return self._user(db, number)
            case ["delete", number] if number in db["users"]:
                return View(
                    "Delete",
                    html.para(f"Delete {db['users'][number]['name']} for ever?")
                    + html.form(f"/delete/{number}", button="Yes, delete")
                    + html.link("No, go back", f"/user/{number}"),
                )
            case ["invite"]:
                return View(
                    "Invite",
                    html.heading("Invite a user")
                    + html.form(
                        "/invite",
                        html.field("Name", "name", query.get("name", "")),
                        html.field("Email", "email", query.get("email", "")),
                        html.select("Role", "role", words("roles"), query.get("role", "")),
                        html.select("Team", "team", words("teams"), query.get("team", "")),
                        button="Send invitation",
                    ),
                )
            case ["settings"]:
                boxes = [html.box(label, name, db["settings"][name]) for name, label in SETTINGS.items()]
                keep = html.select("Keep logs for", "retention", RETENTION, db["settings"]["retention"])
                logout = html.field("Log out after minutes", "logout", db["settings"]["logout"])
                return View(
                    "Settings",
                    html.heading("Settings") + html.form("/settings", *boxes, keep, logout, button="Save settings"),
                )
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        match path:
            case ["settings"]:
                minutes = form.get("logout", "").strip()
                if not (minutes.isascii() and minutes.isdigit() and 5 <= int(minutes[:4]) <= 120):
                    db["_note"] = "Log out after 5 to 120 minutes."
                    return "/settings"
                db["settings"] = {
                    **{name: name in form for name in SETTINGS},
                    "retention": form["retention"],
                    "logout": minutes,
                }
                db["_note"] = "Settings saved."
                return "/settings"
            case ["edit", number]:
                db["users"][number].update(role=form["role"], team=form["team"])
                db["_note"] = "Saved."
                return f"/user/{number}"
            case ["access", number]:
                db["users"][number]["active"] = not db["users"][number]["active"]
                return f"/user/{number}"
            case ["delete", number]:
                db["users"].pop(number, None)
                return "/users"
        given = {key: form.get(key, "").strip() for key in ("name", "email", "role", "team")}
        if not given["name"] or "@" not in given["email"]:
            db["_note"] = "Give a name and a valid email."
            return html.query("/invite", **given)
        db["users"][next_id(db["users"])] = {**given, "active": True}
        db["_note"] = "The invitation was sent."
        return "/users"

    def _list(self, db: Db, query: Form) -> View:
        wanted, team = query.get("q", "").lower().strip(), query.get("team", "")
        found = [n for n, user in db["users"].items() if wanted in user["name"].lower() and team in ("", user["team"])]
        shown, turn = paged(found, "/users", query.get("page", ""), PAGE, q=query.get("q", ""), team=team)
        users = [(n, db["users"][n]) for n in shown]
        rows = [
            (
                html.link(user["name"], f"/user/{n}"),
                user["role"],
                user["team"],
                "active" if user["active"] else "blocked",
            )
            for n, user in users
        ]
        return View("Users", _filter(query) + turn + html.table(("Name", "Role", "Team", "Access"), rows))

    def _user(self, db: Db, number: str) -> View:
        user = db["users"][number]
        edit = html.form(
            f"/edit/{number}",
            html.select("Role", "role", words("roles"), user["role"]),
            html.select("Team", "team", words("teams"), user["team"]),
            button="Save",
        )
        access = html.form(f"/access/{number}", button="Block access" if user["active"] else "Allow access")
        return View(
            user["name"],
            html.heading(user["name"])
            + html.para(f"{user.get('email', email(user['name']))}, since {self.joined.get(number, day(0))}.")
            + edit
            + access
            + html.link("Delete this user", f"/delete/{number}"),
        )


def _filter(query: Form) -> str:
    teams = [("", "all teams"), *((team, team) for team in words("teams"))]
    return html.form(
        "/users",
        html.field("Search users", "q", query.get("q", "")),
        html.select("Team", "team", teams, query.get("team", "")),
        button="Search",
        method="get",
    )


def _open(site: Admin, number: str) -> list[Stage]:
    return [Submit("/users", {"q": site.users[number]["name"]}), Turn("/users"), Follow(f"/user/{number}")]


def _draw(site: Admin, dice: Dice) -> Params:
    number = dice.pick(list(site.users))
    return {"number": number, "user": site.users[number]["name"]}


class FindDate(Errand[Admin]):
    """Look a date up."""

    level = 1
    wordings = ("Since when is '{user}' a user? Answer with the date.", "On which date did '{user}' join?")

    def draw(self, site: Admin, dice: Dice) -> Params:
        return _draw(site, dice)

    def goal(self, site: Admin, params: Params) -> Goal:
        return Goal(answer=site.joined[params["number"]])

    def plan(self, site: Admin, db: Db, params: Params) -> Sequence[Stage]:
        return [*_open(site, params["number"]), Read(f"/user/{params['number']}")]


class BlockUser(Errand[Admin]):
    """Take a user's access away, without deleting anything."""

    level = 1
    wordings = ("Block the access of '{user}'.", "'{user}' has left: block the access, but do not delete the user.")

    def draw(self, site: Admin, dice: Dice) -> Params:
        return _draw(site, dice)

    def goal(self, site: Admin, params: Params) -> Goal:
        return Goal({f"users/{params['number']}/active": False})

    def plan(self, site: Admin, db: Db, params: Params) -> Sequence[Stage]:
        number = next(
            (n for n, user in db["users"].items() if not user["active"] and n != params["number"]), params["number"]
        )
        return [*_open(site, number), Submit(f"/access/{number}")] if number in site.users else []


class DeleteUser(Errand[Admin]):
    """Delete a user, and confirm it."""

    level = 2
    wordings = ("Delete the user '{user}'.", "Remove '{user}' from the users for ever.")

    def draw(self, site: Admin, dice: Dice) -> Params:
        return _draw(site, dice)

    def goal(self, site: Admin, params: Params) -> Goal:
        return Goal(gone(site.start(), f"users/{params['number']}"))

    def plan(self, site: Admin, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/delete/{params['number']}"
        return [*_open(site, params["number"]), Follow(page), Submit(page)]


class ChangeRole(Errand[Admin]):
    """Change what a user may do."""

    level = 2
    wordings = ("Make '{user}' {role} in the team {team}.", "Give '{user}' the role {role} and the team {team}.")

    def draw(self, site: Admin, dice: Dice) -> Params:
        params = _draw(site, dice)
        user = site.users[params["number"]]
        return {
            **params,
            "role": dice.pick([role for role in words("roles") if role != user["role"]]),
            "team": dice.pick(words("teams")),
        }

    def goal(self, site: Admin, params: Params) -> Goal:
        changes = {f"users/{params['number']}/{key}": params[key] for key in ("role", "team")}
        user = site.users[params["number"]]
        return Goal({name: value for name, value in changes.items() if value != user[name.rpartition("/")[2]]})

    def plan(self, site: Admin, db: Db, params: Params) -> Sequence[Stage]:
        fields = {"role": params["role"], "team": params["team"]}
        return [*_open(site, params["number"]), Submit(f"/edit/{params['number']}", fields)]


class ChangeSettings(Errand[Admin]):
    """Turn one switch, set how long logs are kept, and when users are logged out."""

    level = 2
    wordings = (
        "Turn '{label}' {state}, keep logs for {retention} and log out after {minutes} minutes.",
        "In the settings, switch '{label}' {state}; keep logs for {retention}; log users out after {minutes} minutes.",
    )

    def draw(self, site: Admin, dice: Dice) -> Params:
        name = dice.pick(list(SETTINGS))
        return {
            "name": name,
            "label": SETTINGS[name],
            "state": "off" if site.settings[name] else "on",
            "retention": dice.pick([keep for keep in RETENTION if keep != site.settings["retention"]]),
            "minutes": str(dice.integer(62, 119)),
        }

    def goal(self, site: Admin, params: Params) -> Goal:
        return Goal(
            {
                f"settings/{params['name']}": params["state"] == "on",
                "settings/retention": params["retention"],
                "settings/logout": params["minutes"],
            }
        )

    def plan(self, site: Admin, db: Db, params: Params) -> Sequence[Stage]:
        boxes = {name: "on" if site.settings[name] else "" for name in SETTINGS}
        fields = {
            **boxes,
            params["name"]: "on" if params["state"] == "on" else "",
            "retention": params["retention"],
            "logout": params["minutes"],
        }
        return [Follow("/settings"), Submit("/settings", fields)]


class Invite(Errand[Admin]):
    """Invite somebody."""

    level = 3
    wordings = (
        "Invite '{name}', email '{email}', as {role} of the team {team}.",
        "Send an invitation to '{name}' ('{email}'): role {role}, team {team}.",
    )

    def draw(self, site: Admin, dice: Dice) -> Params:
        known = {user["name"] for user in site.users.values()}
        while (name := person(dice)) in known:
            continue
        return {
            "name": name,
            "email": email(name),
            "role": dice.pick(words("roles")),
            "team": dice.pick(words("teams")),
        }

    def goal(self, site: Admin, params: Params) -> Goal:
        user = {**params, "active": True}
        return Goal({f"users/{next_id(site.users)}/{key}": value for key, value in user.items()})

    def plan(self, site: Admin, db: Db, params: Params) -> Sequence[Stage]:
        return [Follow("/invite"), Submit("/invite", params)]


Admin.errands = {
    "find-date": FindDate(),
    "block-user": BlockUser(),
    "delete-user": DeleteUser(),
    "change-role": ChangeRole(),
    "change-settings": ChangeSettings(),
    "invite": Invite(),
}
