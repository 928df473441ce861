"""What every site is: a catalogue made from a seed, a small database, and pages that are a function of both.

A new kind of site is one file: a `Site` with `start`, `get` and `post`, its errands, and a row in `sites/table.py`.
Pages are read with GET and never change anything; forms are sent with POST and answer with the address to go to next.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Goal, Params, Stage, facts
from cmat_gym.envs.mind2web.sites import html

__all__ = ["Errand", "Form", "Site", "View", "gone", "next_id", "paged"]

Form = Mapping[str, str]
POPUP = "/-/popup"
STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:1em auto;color:#222}header,footer{padding:.5em 0}a{margin-right:"
    ".8em}table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}"
    ".note{background:#eef;padding:.5em}[role=dialog]{position:fixed;top:30%;left:30%;background:#fff;padding:2em;"
    "border:1px solid #888}"
)
UNSEEN = '<span hidden><a href="/-/about">Skip the task</a></span>'  # as real pages have for other readers
FOOTER = (("About us", "/-/about"), ("Privacy", "/-/privacy"))


class View(NamedTuple):
    """A page: its title and the HTML of its main part."""

    title: str
    body: str


S = TypeVar("S", bound="Site")


class Errand(abc.ABC, Generic[S]):
    """A kind of task on a kind of site.

    Attributes:
        level: 1 (a few clicks) to 3 (several forms).
        wordings: Ways to ask for it; `{…}` are parameters.
    """

    level: ClassVar[int]
    wordings: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def draw(self, site: S, dice: Dice) -> Params:
        """What this errand is about on this site. One right outcome, which the wording alone determines."""

    @abc.abstractmethod
    def goal(self, site: S, params: Params) -> Goal:
        """When it is done."""

    @abc.abstractmethod
    def plan(self, site: S, db: Db, params: Params) -> Sequence[Stage]:
        """The marks on the way from the home page, given what the site remembers now, from first to last."""


class Site(abc.ABC):
    """One site. Immutable after construction: what changes is in the database that is passed in.

    Attributes:
        kind: Short name of the kind.
        errands: What people come for, by name.
        menu: Links at the top of every page.
    """

    kind: ClassVar[str]
    errands: ClassVar[Mapping[str, Errand[Any]]]
    menu: ClassVar[tuple[tuple[str, str], ...]] = ()
    brand: str

    def __init__(self, dice: Dice) -> None:
        self.popup = dice.pick(("", "", "cookies", "newsletter"))
        self.build(dice)

    @abc.abstractmethod
    def build(self, dice: Dice) -> None:
        """Draw the catalogue, and the brand."""

    @abc.abstractmethod
    def start(self) -> Db:
        """The database before anything has happened."""

    @abc.abstractmethod
    def get(self, db: Db, path: list[str], query: Form) -> View:
        """The page at a path."""

    @abc.abstractmethod
    def post(self, db: Db, path: list[str], form: Form) -> str:
        """Change the database by a form that was sent, and say where to go next."""

    # What all sites have in common ------------------------------------------------------------------------------------

    def open(self) -> Db:
        """The database at the start of a visit."""
        return {**self.start(), "newsletter": False, "_popup": self.popup, "_note": "", "_note_at": ""}

    def page(self, db: Db, path: str, query: Form) -> str:
        """The document at a path, menu, note and popup included."""
        parts = path.strip("/").split("/")
        view = _about(self, parts[1:]) if parts[0] == "-" else self.get(db, parts, query)
        menu = "".join(html.link(text, href) for text, href in self.menu)
        noted = db["_note"] and db["_note_at"] == path
        note = f'<p class="note" role="status">{escape(db["_note"])}</p>' if noted else ""
        footer = "".join(html.link(text, href) for text, href in FOOTER)
        popup = _popup(db["_popup"])
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(view.title)} - '
            f"{escape(self.brand)}</title><style>{STYLE}</style></head><body><div{' inert' if popup else ''}>"
            f"<header>{html.link(self.brand, '/')}<nav>{menu}</nav></header>{note}"
            f"<main>{view.body}</main><footer>{footer}{UNSEEN}</footer></div>{popup}</body></html>"
        )

    def submit(self, db: Db, path: str, form: Form) -> str:
        """Change the database by a form; returns the address of the next page."""
        db["_note"] = ""
        if path == POPUP:
            db["newsletter"] = db["newsletter"] or form.get("choice") == "subscribe"
            db["_popup"] = ""
            return "/"
        url = self.post(db, path.strip("/").split("/"), form)
        db["_note_at"] = url.partition("?")[0]
        return url


def _popup(kind: str) -> str:
    if not kind:
        return ""
    text, yes, no = {
        "cookies": ("We use cookies to remember your visit.", ("all", "Accept all"), ("few", "Only necessary")),
        "newsletter": ("Get 10% off with our newsletter!", ("subscribe", "Subscribe"), ("no", "No thanks")),
    }[kind]
    buttons = "".join(f'<button name="choice" value="{value}">{label}</button>' for value, label in (yes, no))
    return (
        f'<div role="dialog" aria-modal="true"><form action="{POPUP}" method="post" autocomplete="off">'
        f"<p>{text}</p>{buttons}</form></div>"
    )


def _about(site: Site, path: list[str]) -> View:
    if path == ["about"]:
        return View("About", html.para(f"{site.brand} has served its customers since 1998."))
    if path == ["privacy"]:
        return View("Privacy", html.para("We keep what you tell us, and no more."))
    return View("Not found", html.para("There is no such page."))


def gone(db: Db, prefix: str) -> dict[str, None]:
    """The changes that remove a record: none of its facts is left."""
    return {name: None for name in facts(db) if name.startswith(f"{prefix}/")}


def next_id(records: Mapping[str, object]) -> str:
    """The key of a new record."""
    return str(max(map(int, records), default=0) + 1)


def paged(rows: Sequence[str], path: str, page: str, size: int, **query: object) -> tuple[Sequence[str], str]:
    """The rows of one page of a list, and the links that turn pages."""
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
    last = max(1, -(-len(rows) // size))
    number = min(max(number, 1), last)
    before = html.link("Previous page", html.query(path, **query, page=number - 1), "prev") if number > 1 else ""
    after = html.link("Next page", html.query(path, **query, page=number + 1), "next") if number < last else ""
    status = f"Page {number} of {last}, {len(rows)} results. "
    turn = f'<p data-at="{number}">{status}{before}{after}</p>'
    return rows[(number - 1) * size : number * size], turn
