"""Pieces of HTML. Every text that goes in is escaped here, so nothing anybody types becomes markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = [
    "area",
    "box",
    "escape",
    "field",
    "form",
    "heading",
    "hidden",
    "lines",
    "link",
    "para",
    "query",
    "radios",
    "select",
    "table",
]

from urllib.parse import urlencode

Option = str | tuple[str, str]  # a label, or a value and a label


def link(text: str, href: str, rel: str = "") -> str:
    """A link; `rel` marks the ones that turn pages."""
    mark = f' rel="{rel}"' if rel else ""
    return f'<a href="{escape(href)}"{mark}>{escape(text)}</a>'


def query(path: str, **parameters: object) -> str:
    """A path with a query string; empty parameters are left out."""
    kept = {name: str(value) for name, value in parameters.items() if value not in ("", None)}
    return f"{path}?{urlencode(kept)}" if kept else path


def heading(text: str) -> str:
    """The title of a page or of a part of it."""
    return f"<h2>{escape(text)}</h2>"


def para(*texts: str) -> str:
    """A paragraph of plain texts."""
    return f"<p>{escape(' '.join(texts))}</p>"


def lines(rows: Iterable[str]) -> str:
    """A list of pieces of HTML."""
    return f"<ul>{''.join(f'<li>{row}</li>' for row in rows)}</ul>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are pieces of HTML, the head is text."""
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def field(label: str, name: str, value: str = "") -> str:
    """A line of text to fill in."""
    return f'<p><label>{escape(label)} <input type="text" name="{name}" value="{escape(value)}"></label></p>'


def area(label: str, name: str, value: str = "") -> str:
    """A longer text to fill in."""
    return f'<p><label>{escape(label)} <textarea name="{name}">{escape(value)}</textarea></label></p>'


def select(label: str, name: str, options: Iterable[Option], chosen: str = "") -> str:
    """One of several, in a list that opens."""
    pairs = [(option, option) if isinstance(option, str) else option for option in options]
    body = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in pairs
    )
    return f'<p><label>{escape(label)} <select name="{name}">{body}</select></label></p>'


def radios(legend: str, name: str, options: Iterable[Option], chosen: str = "") -> str:
    """One of several, all in sight."""
    pairs = [(option, option) if isinstance(option, str) else option for option in options]
    body = " ".join(
        f'<label><input type="radio" name="{name}" value="{escape(value)}"{" checked" if value == chosen else ""}> '
        f"{escape(text)}</label>"
        for value, text in pairs
    )
    return f"<fieldset><legend>{escape(legend)}</legend>{body}</fieldset>"


def box(label: str, name: str, checked: bool = False) -> str:
    """A box to tick."""
    mark = " checked" if checked else ""
    return f'<p><label><input type="checkbox" name="{name}"{mark}> {escape(label)}</label></p>'


def hidden(name: str, value: object) -> str:
    """A value that travels with a form."""
    return f'<input type="hidden" name="{name}" value="{escape(str(value))}">'


def form(action: str, *parts: str, button: str = "Save", method: str = "post") -> str:
    """A form with one button; one that is sent with POST has a field that people do not see, as traps for robots do."""
    trap = '<input type="text" name="website" style="display: none">' if method == "post" else ""
    return (
        f'<form action="{escape(action)}" method="{method}" autocomplete="off" novalidate>'
        f"{trap}{''.join(parts)}<button>{escape(button)}</button></form>"
    )
