"""A page as an agent may see it: the visible elements, numbered in document order, and two ways to write them down.

The same code reads the pages of the embedded backend and what a real browser serialises, so that equal documents give
equal observations. Numbers depend on the document alone; text of the page can never look like one, because square
brackets in it are shown as round ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from lxml import html

from cmat_gym.envs.mind2web import prompts

__all__ = ["Element", "Fields", "Node", "Page", "filled_document", "is_hidden", "parse_page"]

Fields: TypeAlias = Mapping[int, str]
"""What the user has put into a page's controls: number -> text, option value, or `on`/empty for boxes."""

BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "header",
        "legend",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
SKIPPED = frozenset(("script", "style", "template", "noscript", "head", "option", "datalist"))
LANDMARKS = {
    "header": "banner",
    "nav": "navigation",
    "main": "main",
    "footer": "contentinfo",
    "form": "form",
    "table": "table",
    "ul": "list",
    "ol": "list",
    "li": "listitem",
    "tr": "row",
    "fieldset": "group",
}
WORDS_PER_TEXT = 40  # of one run of text, where the budget is short
OPTIONS_SHOWN = 14
VALUE_SHOWN = 80  # characters of a field's content
_SAFE = str.maketrans("[]\u27e6\u27e7\uff3b\uff3d", "()()()")

Node: TypeAlias = Any  # lxml's elements carry no types


class Element(NamedTuple):
    """Something to act on: its number, its role, its accessible name, and the element itself."""

    ref: int
    role: str
    name: str
    node: Node


class _Line(NamedTuple):
    """A line of a page: pieces of text and numbers of elements, with its depth in the accessibility tree."""

    depth: int
    role: str
    pieces: tuple[str | int, ...]


class Page:
    """A parsed document. Immutable: what the user typed is passed in as `fields`."""

    def __init__(self, document: str) -> None:
        self.root: Node = html.document_fromstring(document)
        self.title = clean(self.root.findtext("head/title") or "")
        self.elements: list[Element] = []
        self._lines: list[_Line] = []
        self._pieces: list[str | int] = []
        body = self.root.find("body")
        if body is not None:
            self._walk(body, 0)
            self._break(0)
        self.form_of = {element.ref: _closest_form(element.node) for element in self.elements}

    # Reading the document ---------------------------------------------------------------------------------------------

    def _walk(self, node: Node, depth: int) -> None:
        tag = node.tag
        if not isinstance(tag, str) or tag in SKIPPED or is_hidden(node):
            return
        if (role := _role(node)) is not None:
            self._add(role, node, "")
            return
        if tag == "label" and (control := _control_in(node)) is not None:
            self._add(_role(control) or "text", control, clean(_own_text(node)))
            return
        block = tag in BLOCKS
        inner = depth + 1 if tag in LANDMARKS else depth
        if block:
            self._break(depth, LANDMARKS.get(tag, ""))
        if tag in ("td", "th") and self._pieces:
            self._pieces.append("|")
        if tag in ("h1", "h2", "h3", "h4"):
            self._pieces.append("#")
        if node.text and (text := clean(node.text)):
            self._pieces.append(text)
        for child in node:
            self._walk(child, inner)
            if child.tail and (text := clean(child.tail)):
                self._pieces.append(text)
        if tag == "br" or block:
            self._break(inner)

    def _add(self, role: str, node: Node, label: str) -> None:
        name = clean(node.get("aria-label") or "") or label or _name(role, node)
        if "disabled" in node.attrib:
            self._pieces.append(f"{role} {name} ({prompts.DISABLED})")
            return
        element = Element(len(self.elements) + 1, role, name, node)
        self.elements.append(element)
        self._pieces.append(element.ref)

    def _break(self, depth: int, role: str = "") -> None:
        """End the line; a landmark that begins here gets a line of its own, which only the tree shows."""
        while self._pieces and self._pieces[-1] == "|":  # empty cells at the end of a row
            self._pieces.pop()
        if self._pieces:
            self._lines.append(_Line(depth, "", tuple(self._pieces)))
            self._pieces = []
        if role:
            self._lines.append(_Line(depth, role, ()))

    # Controls ---------------------------------------------------------------------------------------------------------

    def find(self, ref: int) -> Element | None:
        """The element with a number."""
        return self.elements[ref - 1] if 1 <= ref <= len(self.elements) else None

    def links(self) -> Iterator[Element]:
        """All links, in order."""
        return (element for element in self.elements if element.role == "link")

    def controls(self, form: Node) -> list[Element]:
        """The numbered controls of a form, in order; its buttons are among them."""
        return [element for element in self.elements if self.form_of[element.ref] is form]

    def submission(self, button: Element, fields: Fields) -> list[tuple[str, str]]:
        """Names and values that a press of `button` sends, as HTML defines it."""
        form = self.form_of[button.ref]
        if form is None:
            return []
        by_node = {id(element.node): element for element in self.controls(form)}
        sent: list[tuple[str, str]] = []
        for node in form.iter("input", "select", "textarea", "button"):
            name, element = node.get("name"), by_node.get(id(node))
            if not name or "disabled" in node.attrib:
                continue
            if element is None:  # out of sight: it is sent all the same
                sent.extend(_unseen(node, name))
                continue
            if element.role == "button":
                if element.ref == button.ref:
                    sent.append((name, node.get("value") or ""))
            elif element.role in ("checkbox", "radio"):
                if value_of(element, fields):
                    sent.append((name, node.get("value") or "on"))
            else:
                sent.append((name, value_of(element, fields)))
        return sent

    # Writing it down --------------------------------------------------------------------------------------------------

    def text(self, fields: Fields, budget: int | None = None) -> str:
        """The page as lines of numbered elements and text, of at most `budget` characters."""
        described = {element.ref: describe(element, fields) for element in self.elements}
        lines = [
            (" ".join([described[piece] if isinstance(piece, int) else piece for piece in line.pieces]), line)
            for line in self._lines
            if line.pieces
        ]
        if budget is not None and sum(len(text) + 1 for text, _ in lines) > budget:
            return _fit(lines, described, budget)
        return "\n".join([text for text, _ in lines])

    def tree(self, fields: Fields, budget: int | None = None) -> str:
        """The page as an indented accessibility tree."""
        rows: list[str] = []
        for line in self._lines:
            indent = "  " * line.depth
            if line.role:
                rows.append(f"{indent}{line.role}")
            for piece in line.pieces:
                if isinstance(piece, int):
                    rows.append(f"{indent}{describe_node(self.elements[piece - 1], fields)}")
                elif piece not in ("|", "#"):
                    rows.append(f"{indent}text {_quote(piece)}")
        if budget is not None:
            while len(rows) > 1 and sum(map(len, rows)) + len(rows) > budget:
                last = next((i for i in reversed(range(len(rows))) if rows[i].lstrip().startswith("text ")), None)
                del rows[-1 if last is None else last]
        return "\n".join(rows)


def _fit(lines: list[tuple[str, _Line]], described: Mapping[int, str], budget: int) -> str:
    """Shorten long texts first, then leave out lines without elements from the end, then whatever comes last."""
    short: list[tuple[str, bool]] = []
    for _, line in lines:
        words = [
            described[piece] if isinstance(piece, int) else " ".join(piece.split()[:WORDS_PER_TEXT])
            for piece in line.pieces
        ]
        short.append((" ".join(words), any(isinstance(piece, int) for piece in line.pieces)))
    left_out = 0
    size = sum(len(text) + 1 for text, _ in short)
    for acts in (False, True):
        for position in reversed(range(len(short))):
            if size <= budget - len(prompts.LEFT_OUT):
                break
            if short[position][1] is acts and short[position][0]:
                size -= len(short[position][0]) + 1
                short[position] = ("", acts)
                left_out += 1
    kept = [text for text, _ in short if text]
    if left_out:
        kept.append(prompts.LEFT_OUT.format(count=left_out))
    return "\n".join(kept)


# Elements in words ---------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """White space collapsed, square brackets made round."""
    return " ".join(text.translate(_SAFE).split())


def _unseen(node: Node, name: str) -> list[tuple[str, str]]:
    """What a control that nobody sees sends."""
    if node.tag == "button" or node.get("type") in ("submit", "button"):
        return []
    if node.get("type") in ("checkbox", "radio"):
        return [(name, node.get("value") or "on")] if "checked" in node.attrib else []
    return [(name, default_value(node))]


def _quote(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def default_value(node: Node) -> str:
    """What a control holds before anybody touches it."""
    if node.tag == "select":
        options = list(node.iter("option"))
        chosen = next((option for option in options if "selected" in option.attrib), options[0] if options else None)
        return "" if chosen is None else option_value(chosen)
    if node.tag == "textarea":
        return str(node.text_content())
    if node.get("type") in ("checkbox", "radio"):
        return "on" if "checked" in node.attrib else ""
    return node.get("value") or ""


def option_value(option: Node) -> str:
    """What is sent for an option."""
    value = option.get("value")
    return clean(option.text_content()) if value is None else str(value)


def value_of(element: Element, fields: Fields) -> str:
    """What a control holds now."""
    value = fields.get(element.ref)
    return default_value(element.node) if value is None else value


def filled_document(document: str, fields: Fields) -> str:
    """A document with its controls holding what the user has put in, for people to look at."""
    page = Page(document)  # a tree of our own: `parse_page` shares its trees
    for element in page.elements:
        if element.ref not in fields:
            continue
        node, value = element.node, fields[element.ref]
        if element.role == "select":
            for option in node.iter("option"):
                option.attrib.pop("selected", None)
                if option_value(option) == value:
                    option.set("selected", "")
        elif element.role in ("checkbox", "radio"):
            node.attrib.pop("checked", None)
            if value:
                node.set("checked", "")
        elif node.tag == "textarea":
            node.text = value
        else:
            node.set("value", value)
    return str(html.tostring(page.root, encoding="unicode", doctype="<!DOCTYPE html>"))


def options_of(element: Element) -> list[tuple[str, str]]:
    """Values and labels of a select's options."""
    return [(option_value(option), clean(option.text_content())) for option in element.node.iter("option")]


def describe(element: Element, fields: Fields) -> str:
    """An element as the text observation shows it."""
    ref, role, name, _ = element
    if role in ("link", "button"):
        return f"[{ref}] {role} {name}"
    value = value_of(element, fields)
    if role in ("checkbox", "radio"):
        return f"[{ref}] {role} {name} ({prompts.ON if value else prompts.OFF})"
    if role == "select":
        options = options_of(element)
        label = next((label for option, label in options if option == value), "")
        shown = " | ".join([label for _, label in options[:OPTIONS_SHOWN]])
        more = " | …" if len(options) > OPTIONS_SHOWN else ""
        return f"[{ref}] select {name}: {_quote(label)} of {shown}{more}"
    return f"[{ref}] {role} {name}: {_quote(clean(value)[:VALUE_SHOWN])}"


def describe_node(element: Element, fields: Fields) -> str:
    """An element as the accessibility tree shows it."""
    ref, role, name, _ = element
    if role in ("link", "button"):
        return f"[{ref}] {role} {_quote(name)}"
    value = value_of(element, fields)
    if role in ("checkbox", "radio"):
        return f"[{ref}] {role} {_quote(name)} checked={str(bool(value)).lower()}"
    if role == "select":
        labels = [label for _, label in options_of(element)]
        current = next((label for option, label in options_of(element) if option == value), "")
        return f"[{ref}] combobox {_quote(name)} value={_quote(current)} options={_quote(' | '.join(labels))}"
    return f"[{ref}] textbox {_quote(name)} value={_quote(clean(value)[:VALUE_SHOWN])}"


def _role(node: Node) -> str | None:
    tag = node.tag
    if tag == "a":
        return "link" if "href" in node.attrib else None
    if tag == "button":
        return "button"
    if tag == "input":
        kind = node.get("type") or "text"
        return {"hidden": None, "submit": "button", "checkbox": "checkbox", "radio": "radio"}.get(kind, "text")
    return {"select": "select", "textarea": "area"}.get(tag)


def _name(role: str, node: Node) -> str:
    if role in ("link", "button"):
        return clean(node.text_content()) or clean(node.get("value") or node.get("title") or "")
    return clean(node.get("placeholder") or node.get("title") or node.get("name") or "")


def _own_text(label: Node) -> str:
    """The text of a label without that of the control inside."""
    return " ".join([label.text or "", *(child.tail or "" for child in label.iter() if child is not label)])


def _control_in(label: Node) -> Node | None:
    return next((node for node in label.iter("input", "select", "textarea") if _role(node) is not None), None)


def _closest_form(node: Node) -> Node | None:
    return next(node.iterancestors("form"), None)


def is_hidden(node: Node) -> bool:
    attributes = node.attrib
    if not attributes:
        return False
    if "hidden" in attributes or "inert" in attributes or "data-hidden" in attributes:
        return True
    style = attributes.get("style")
    if style is None:
        return False
    style = style.replace(" ", "").lower()
    return "display:none" in style or "visibility:hidden" in style


@lru_cache(maxsize=512)
def parse_page(document: str) -> Page:
    """The page of a document; equal documents share one."""
    return Page(document)
