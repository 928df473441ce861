"""The embedded browser: visits a site without scripts, as HTML defines links, forms and controls, and keeps no state.

A `Visit` is all there is to know: what the site remembers, the address, what stands in the controls, and the way back.
`ChromiumBackend` (chromium.py) does the same with a real browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote_plus, urlsplit

from cmat_gym.core.errors import BackendError, InvalidAction
from cmat_gym.envs.mind2web import prompts
from cmat_gym.envs.mind2web.dom import (
    Element,
    Page,
    default_value,
    options_of,
    parse_page,
    value_of,
)
from cmat_gym.envs.mind2web.records import Db
from cmat_gym.envs.mind2web.sites.base import Site

__all__ = ["Mind2WebBackend", "Move", "Visit", "act", "look", "open_visit"]

MAX_TEXT = 300  # characters typed at once
MAX_BACK = 20  # addresses that are remembered


class Move(NamedTuple):
    """One thing to do on a page: CLICK, TYPE, SELECT or BACK."""

    op: str
    ref: int = 0
    value: str = ""


class Visit(NamedTuple):
    """One visit to a site. `fields` holds only controls that differ from what the page came with."""

    db: Db
    url: str = "/"
    fields: Mapping[int, str] = {}
    back: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The visit as a JSON-able dict with one canonical form."""
        fields = [[ref, self.fields[ref]] for ref in sorted(self.fields)]
        return {"db": self.db, "url": self.url, "fields": fields, "back": list(self.back)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Visit:
        """The inverse of `to_json`."""
        return cls(data["db"], data["url"], dict(data["fields"]), tuple(data["back"]))

    def moved(self, url: str, db: Db | None = None) -> Visit:
        """The visit after going to another address: what was typed is gone."""
        back = self.back if url == self.url else (*self.back, self.url)[-MAX_BACK:]
        return Visit(self.db if db is None else db, url, {}, back)


def open_visit(site: Site) -> Visit:
    """A visit that begins."""
    return Visit(site.open())


def document(site: Site, db: Db, url: str) -> str:
    """The HTML at an address."""
    parts = urlsplit(url)
    return site.page(db, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)))


def look(site: Site, visit: Visit) -> Page:
    """The page a visit is on."""
    return parse_page(document(site, visit.db, visit.url))


def act(site: Site, visit: Visit, move: Move) -> Visit:
    """The visit after a move.

    Raises:
        InvalidAction: The page does not allow it; the message says why.
    """
    if move.op == "BACK":
        if not visit.back:
            raise InvalidAction(prompts.NOTHING_BEFORE)
        return Visit(visit.db, visit.back[-1], {}, visit.back[:-1])
    page = look(site, visit)
    element, value = check(page, move)
    match element.role:
        case "link":
            return visit.moved(element.node.get("href"))
        case "button":
            return _press(site, visit, page, element)
        case "checkbox":
            return _set(visit, element, "" if value_of(element, visit.fields) else "on")
        case "radio":
            for other in page.controls(page.form_of[element.ref]):
                if other.role == "radio" and other.node.get("name") == element.node.get("name"):
                    visit = _set(visit, other, "on" if other is element else "")
            return visit
        case _:
            return _set(visit, element, value)


def check(page: Page, move: Move) -> tuple[Element, str]:
    """The element a move means, and the value to put into it.

    Raises:
        InvalidAction: There is no such element, or it does not take this operation.
    """
    element = page.find(move.ref)
    if element is None:
        raise InvalidAction(prompts.no_element(move.ref, len(page.elements)))
    wanted = {"text": "TYPE", "area": "TYPE", "select": "SELECT"}.get(element.role, "CLICK")
    if move.op != wanted:
        raise InvalidAction(prompts.WRONG_OPERATION.format(ref=move.ref, role=element.role, op=wanted))
    if move.op == "SELECT":
        return element, _option(element, move.value)
    if move.op == "TYPE" and (len(move.value) > MAX_TEXT or not move.value.isprintable()):
        raise InvalidAction(prompts.NOT_TYPABLE.format(limit=MAX_TEXT))
    return element, move.value


def _option(element: Element, wanted: str) -> str:
    options = options_of(element)
    folded = " ".join(wanted.split()).casefold()
    for value, label in options:
        if label.casefold() == folded:
            return value
    raise InvalidAction(prompts.no_option(element.ref, wanted, [label for _, label in options]))


def _set(visit: Visit, element: Element, value: str) -> Visit:
    fields = {ref: text for ref, text in visit.fields.items() if ref != element.ref}
    if value != default_value(element.node):
        fields[element.ref] = value
    return visit._replace(fields=fields)


def _press(site: Site, visit: Visit, page: Page, button: Element) -> Visit:
    form = page.form_of[button.ref]
    if form is None:
        return visit  # a button outside of a form does nothing without scripts
    pairs = page.submission(button, visit.fields)
    action = form.get("action") or visit.url
    if (form.get("method") or "get").lower() != "post":
        return visit.moved(f"{action}?{encode(pairs)}")
    db = copy_db(visit.db)
    return visit.moved(site.submit(db, urlsplit(action).path, dict(pairs)), db)


def encode(pairs: list[tuple[str, str]]) -> str:
    """Form data in an address, by the rules of the URL standard (which differ from `urlencode` in `*` and `~`)."""
    return "&".join([f"{_quote(name)}={_quote(value)}" for name, value in pairs])


def _quote(text: str) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")


def copy_db(value: Any) -> Any:
    """A deep copy of JSON-able data, several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copy_db(item) for key, item in value.items()}
    return [copy_db(item) for item in value] if isinstance(value, list) else value


class Mind2WebBackend:
    """One browser window on one site."""

    def __init__(self) -> None:
        self._site: Site | None = None
        self._visit: Visit | None = None

    @property
    def site(self) -> Site:
        """The site that is open."""
        if self._site is None:
            raise BackendError("No site is open in this browser: reset the environment first")
        return self._site

    @property
    def visit(self) -> Visit:
        """The visit as it is."""
        assert self._visit is not None, "go_to() sets the visit"
        return self._visit

    def go_to(self, site: Site, visit: Visit) -> None:
        """Open a site in the middle of a visit, or at its beginning."""
        self._site, self._visit = site, visit

    def act(self, move: Move) -> None:
        """Do something on the page.

        Raises:
            InvalidAction: The page does not allow it; nothing has changed.
        """
        self._visit = act(self.site, self.visit, move)

    def page(self) -> Page:
        """The page as it is."""
        return look(self.site, self.visit)

    def screenshot(self) -> Any:
        """A picture of the page, height x width x 3 bytes; only a real browser can paint one."""
        raise BackendError("The embedded backend paints nothing: make the environment with backend='chromium'")

    def close(self) -> None:
        """Close the window."""
