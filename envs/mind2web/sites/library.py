"""A public library: search by title or author, tabs on a book's page, holds with a pickup branch, loans to renew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.records import Db, Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.sites import html
from cmat_gym.envs.mind2web.sites.base import Errand, Form, Site, View, paged
from cmat_gym.envs.mind2web.sites.words import day, person, words

__all__ = ["Library"]

PAGE = 6
LANGUAGES = ("English", "German", "French")


class Book(NamedTuple):
    title: str
    author: str
    year: int
    shelf: str
    language: str


class Library(Site):
    """A catalogue of books and one reader's account."""

    kind = "library"
    menu = (("Catalogue", "/search"), ("My account", "/account"))

    def build(self, dice: Dice) -> None:
        self.brand = f"{dice.pick(words('cities'))} Public Library"
        authors = [person(dice) for _ in range(6)]
        titles = [f"{dice.pick(words('titlefirst'))} {second}" for second in words("titlesecond")]
        titles += [f"{first} Diary" for first in words("titlefirst")]
        shelves = dice.sample(range(100, 999), len(titles))
        self.books = [
            Book(
                title,
                dice.pick(authors),
                dice.integer(1950, 2025),
                f"{dice.pick('ABCDE')}{shelf}",
                dice.pick(LANGUAGES),
            )
            for title, shelf in zip(titles, shelves, strict=True)
        ]
        self.by_title = {book.title: n for n, book in enumerate(self.books)}
        self.loaned = {book.title: day(dice.integer(1, 9)) for book in dice.sample(self.books, 4)}

    def start(self) -> Db:
        return {"loans": {title: {"due": due, "renewed": False} for title, due in self.loaned.items()}, "holds": {}}

    def get(self, db: Db, path: list[str], query: Form) -> View:
        match path:
            case [""]:
                return View("Home", html.heading("Welcome") + html.para("Search our books.") + self._search(query))
            case ["search"]:
                return self._results(query)
            case ["book", number, *tab] if number.isdigit() and int(number) < len(self.books):
                return self._book(int(number), tab)
            case ["account"]:
                return self._account(db)
        return View("Not found", html.para("This page does not exist."))

    def post(self, db: Db, path: list[str], form: Form) -> str:
        match path:
            case ["renew", number]:
                loan = db["loans"].get(self.books[int(number)].title)
                if loan:
                    loan["renewed"] = True
                    db["_note"] = "The loan was renewed for four weeks."
                return "/account"
            case ["unhold", number]:
                db["holds"].pop(self.books[int(number)].title, None)
                return "/account"
            case ["hold", number]:
                if not form.get("branch"):
                    db["_note"] = "Choose the branch where you pick it up."
                    return f"/book/{number}"
                db["holds"][self.books[int(number)].title] = form["branch"]
                db["_note"] = "Your hold was placed."
        return "/account"

    def _search(self, query: Form) -> str:
        languages = [("", "any language"), *((name, name) for name in LANGUAGES)]
        return html.form(
            "/search",
            html.field("Title or author", "q", query.get("q", "")),
            html.select("Language", "language", languages, query.get("language", "")),
            button="Search",
            method="get",
        )

    def _results(self, query: Form) -> View:
        wanted, language = query.get("q", "").lower().strip(), query.get("language", "")
        found = [
            str(n)
            for n, book in enumerate(self.books)
            if wanted in f"{book.title} / {book.author}".lower() and language in ("", book.language)
        ]
        shown, turn = paged(found, "/search", query.get("page", ""), PAGE, q=query.get("q", ""), language=language)
        books = [(n, self.books[int(n)]) for n in shown]
        rows = [(html.link(book.title, f"/book/{n}"), book.author, str(book.year)) for n, book in books]
        return View("Catalogue", self._search(query) + turn + html.table(("Title", "Author", "Year"), rows))

    def _book(self, number: int, tab: list[str]) -> View:
        book = self.books[number]
        tabs = html.link("Hold", f"/book/{number}") + html.link("Details", f"/book/{number}/details")
        if tab == ["details"]:
            body = html.para(f"Shelf {book.shelf}. {book.language}, {book.year}. By {book.author}.")
        else:
            branches = [("", "choose"), *((name, name) for name in words("branches"))]
            body = html.form(f"/hold/{number}", html.select("Pickup branch", "branch", branches), button="Place hold")
        return View(book.title, html.heading(book.title) + f"<nav>{tabs}</nav>" + body)

    def _account(self, db: Db) -> View:
        loans = [
            (
                html.escape(title),
                loan["due"],
                "renewed" if loan["renewed"] else html.form(f"/renew/{self.by_title[title]}", button=f"Renew {title}"),
            )
            for title, loan in db["loans"].items()
        ]
        holds = [
            (html.escape(title), branch, html.form(f"/unhold/{self.by_title[title]}", button=f"Cancel {title}"))
            for title, branch in db["holds"].items()
        ]
        return View(
            "My account",
            html.heading("Loans")
            + html.table(("Title", "Due", ""), loans)
            + html.heading("Holds")
            + html.table(("Title", "Pickup", ""), holds),
        )


class FindShelf(Errand[Library]):
    """Look a shelf mark up, behind a tab."""

    level = 2
    wordings = ("On which shelf is the book '{title}'?", "Find the shelf mark of '{title}'.")

    def draw(self, site: Library, dice: Dice) -> Params:
        number = dice.integer(0, len(site.books) - 1)
        return {"number": number, "title": site.books[number].title}

    def goal(self, site: Library, params: Params) -> Goal:
        return Goal(answer=site.books[params["number"]].shelf)

    def plan(self, site: Library, db: Db, params: Params) -> Sequence[Stage]:
        page = f"/book/{params['number']}"
        return [
            Submit("/search", {"q": params["title"]}),
            Turn("/search"),
            Follow(page),
            Follow(f"{page}/details"),
            Read(f"{page}/details"),
        ]


class RenewLoan(Errand[Library]):
    """Renew one loan, or the one that is due first."""

    level = 1
    wordings = ("Renew my loan of '{title}'.", "I need '{title}' for longer: renew it.")

    def draw(self, site: Library, dice: Dice) -> Params:
        title = dice.pick(list(site.loaned))
        return {"number": site.by_title[title], "title": title}

    def goal(self, site: Library, params: Params) -> Goal:
        return Goal({f"loans/{params['title']}/renewed": True})

    def plan(self, site: Library, db: Db, params: Params) -> Sequence[Stage]:
        return [Follow("/account"), Submit(f"/renew/{params['number']}")]


class PlaceHold(Errand[Library]):
    """Have a book set aside."""

    level = 2
    wordings = (
        "Place a hold on '{title}', pickup at the {branch} branch.",
        "Reserve '{title}' for me; I pick it up at {branch}.",
    )

    def draw(self, site: Library, dice: Dice) -> Params:
        return {**FindShelf().draw(site, dice), "branch": dice.pick(words("branches"))}

    def goal(self, site: Library, params: Params) -> Goal:
        return Goal({f"holds/{params['title']}": params["branch"]})

    def plan(self, site: Library, db: Db, params: Params) -> Sequence[Stage]:
        others = [site.by_title[title] for title in db["holds"] if title != params["title"]]
        if others:
            return [Follow("/account"), Submit(f"/unhold/{others[0]}")]
        page = f"/book/{params['number']}"
        hold = Submit(f"/hold/{params['number']}", {"branch": params["branch"]})
        return [Submit("/search", {"q": params["title"]}), Turn("/search"), Follow(page), hold]


Library.errands = {"find-shelf": FindShelf(), "renew-loan": RenewLoan(), "place-hold": PlaceHold()}
