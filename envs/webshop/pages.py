"""What the shop's pages look like: nodes of text, and the two ways to write them down.

A page is a sequence of nodes in the order they stand on the site. `plain` and `rich` turn nodes into the observation,
as the original's modes `text` and `text_rich` do. Nothing here depends on who is shopping.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from html import escape
from typing import Literal, NamedTuple, TypeAlias

from cmat_gym.envs.webshop.records import Product

__all__ = [
    "BACK_TO_SEARCH",
    "BUY_NOW",
    "NEXT_PAGE",
    "PREV_PAGE",
    "SUB_PAGES",
    "Mode",
    "Node",
    "document",
    "done_nodes",
    "item_nodes",
    "plain",
    "result_nodes",
    "results_head",
    "rich",
    "search_nodes",
    "sub_page_nodes",
]

Mode: TypeAlias = Literal["text", "text_rich"]

# Buttons, as an action names them; a page shows them in title case.
BACK_TO_SEARCH = "back to search"
NEXT_PAGE = "next >"
PREV_PAGE = "< prev"
BUY_NOW = "buy now"
SUB_PAGES = ("description", "features", "reviews")

SEPARATOR = " [SEP] "
_BUTTON = re.compile(r"\[(clicked )?button\] (.*) \[(?:clicked )?button_\]")


class Node(NamedTuple):
    """A piece of text on a page, and what kind of thing it is."""

    text: str
    kind: Literal["text", "button", "asin", "value"] = "text"


_BACK = Node("Back to Search", "button")
_PREV = Node("< Prev", "button")
_NEXT = Node("Next >", "button")
_ITEM_BUTTONS = tuple(Node(label, "button") for label in ("Description", "Features", "Reviews", "Buy Now"))


# The two renderings ---------------------------------------------------------------------------------------------------


def plain(nodes: Iterable[Node]) -> str:
    """Mode `text`: the stripped texts, joined. A node without text leaves no trace, one of blanks an empty item."""
    return SEPARATOR.join([text.strip() for text, _ in nodes if text and text != "\n"])


def rich(nodes: Iterable[Node], clicked: Container[str] = ()) -> str:
    """Mode `text_rich`: one node a line, buttons in brackets, and notes on top of what was clicked (last first)."""
    lines: list[str] = []
    notes: list[str] = []
    for text, kind in nodes:
        if kind == "text":
            if text and text != "\n":
                lines.append(f"{text}\n")
            continue
        label = "clicked button" if kind != "button" and text in clicked else "button"
        indent = {"button": "", "asin": "\n", "value": "  "}[kind]
        lines.append(f"{indent}[{label}] {text} [{label}_]\n" if label == "button" else _clicked(indent, text))
        if kind == "value" and label != "button":
            notes.append(f"You have clicked {text}.\n")
    return "".join(notes[::-1] + lines)


def document(page: str) -> str:
    """A page of mode `text_rich` as HTML, for people: buttons are buttons, chosen options stand out."""
    body: list[str] = []
    for line in page.splitlines():
        button = _BUTTON.fullmatch(line.strip())
        if button is not None:
            chosen = ' class="chosen"' if button[1] else ""
            body.append(f"<button{chosen}>{escape(button[2])}</button>")
        elif line.strip():
            body.append(f"<p>{escape(line.strip())}</p>")
    style = "body{font:15px/1.4 sans-serif;margin:1rem}button{margin:.15rem}.chosen{font-weight:bold;background:#cde}"
    return f"<!DOCTYPE html><html><head><style>{style}</style></head><body>{''.join(body)}</body></html>"


def _clicked(indent: str, text: str) -> str:
    return f"{indent}[clicked button] {text} [clicked button_]\n"


# The pages ------------------------------------------------------------------------------------------------------------


def search_nodes(instruction: str) -> list[Node]:
    """The first page, with the search box."""
    return [Node("WebShop"), Node("Instruction: "), Node(instruction), Node("Search", "button")]


def results_head(instruction: str, number: int, total: int) -> list[Node]:
    """The top of a page of search results; `result_nodes` of each product follow."""
    head = [Node("Instruction:"), Node(instruction), _BACK, Node(f"Page {number} (Total results: {total})")]
    return [*head, _PREV, _NEXT] if number > 1 else [*head, _NEXT]


def result_nodes(product: Product) -> list[Node]:
    """One product in a list of search results."""
    return [Node(product.asin, "asin"), Node(product.title), Node(product.price_tag)]


def item_nodes(product: Product) -> list[Node]:
    """A product's own page, below the instruction."""
    nodes = [_BACK, _PREV]
    for name, values in product.options.items():
        nodes.append(Node(name))
        nodes.extend(Node(value, "value") for value in values)
    nodes += [Node(product.title), Node(f"Price: {product.price_tag}"), Node(f"Rating: {product.rating}")]
    return [*nodes, *_ITEM_BUTTONS]


def sub_page_nodes(product: Product, page: str) -> list[Node]:
    """The description, features or reviews of a product, below the instruction."""
    if page == "description":
        return [_BACK, _PREV, Node(product.description)]
    if page == "features":
        return [_BACK, _PREV, *(Node(f" {bullet}") for bullet in product.features)]
    return [_BACK, _PREV]  # the shop's reviews are not part of the published data


def done_nodes(asin: str, options_json: str, reward: float) -> list[Node]:
    """The last page. It names the purchase and its score; the other fields of the original are always empty."""
    for character in "<>&'":  # the original's template makes its JSON safe to stand inside HTML
        options_json = options_json.replace(character, f"\\u{ord(character):04x}")
    bought = (("asin", asin), ("options", options_json), *((name, "None") for name in _UNFILLED))
    lines = [
        "Thank you for shopping with us!",
        "Your code: ",
        "None",
        " (Paste it in your MTurk interface.)",
        "Purchased",
    ]
    lines += [text for pair in bought for text in pair]
    lines += ["Target", "asin", "options", "attrs", "price upper", "instuction text", *_TARGET_TAIL]
    lines += ["Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)", str(reward), "Reward Details ", "None"]
    return [Node(line) for line in lines]


_UNFILLED = ("attrs", "category", "query", "product category")
_TARGET_TAIL = ("category", "product category", "query")
