"""A recorded page cut down to some candidates and written as text, by the benchmark's rules.

Kept are the candidates, all their ancestors, of their descendants down to six levels the first 50, and their siblings
up to three places to each side. (The original's "depth 5" counts from zero.) Of the rest, nodes without attributes and
text that hold at most one node are spliced out, from the leaves up.

Source: Deng et al., "Mind2Web: Towards a Generalist Agent for the Web", 2023, github.com/OSU-NLP-Group/Mind2Web.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from xml.sax.saxutils import escape

from lxml import etree, html

__all__ = ["Choice", "PrunedPage", "parse_cleaned", "prune", "write_node"]

LEVELS, DESCENDANTS, SIBLINGS = 6, 50, 3
WORDS_PER_VALUE, WORDS_PER_NODE, LONGEST_WORD, WORDS_PER_TEXT, WORDS_PER_CHOICE = 5, 20, 15, 20, 10
ID = "backend_node_id"
ATTRIBUTES = (
    "role",
    "aria_role",
    "type",
    "alt",
    "aria_description",
    "aria_label",
    "label",
    "title",
    "name",
    "text_value",
    "value",
    "placeholder",
    "input_checked",
    "input_value",
    "option_selected",
    "class",
)
EMPTY_VALUES = frozenset(("hidden", "none", "presentation", "null", "undefined"))
ESCAPES = (
    ("&quot;", '"'),
    ("&amp;", "&"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&nbsp;", " "),
    ("&ndash;", "-"),
    ("&rsquo;", "'"),
    ("&lsquo;", "'"),
    ("&ldquo;", '"'),
    ("&rdquo;", '"'),
    ("&#39;", "'"),
    ("&#40;", "("),
    ("&#41;", ")"),
)
_TEXT = re.compile(r"<text>(.*?)</text>")

Node: TypeAlias = Any  # lxml's elements carry no types


class Choice(NamedTuple):
    """A candidate on a pruned page: its id in the record, and its first words."""

    node: str
    text: str


class PrunedPage(NamedTuple):
    """A page as text, and its candidates in document order: the n-th one carries `id=n`."""

    text: str
    choices: tuple[Choice, ...]


@lru_cache(maxsize=16)
def parse_cleaned(document: str) -> Node:
    """The tree of a cleaned page, which is XML; a page that is not quite well-formed is repaired."""
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, huge_tree=True)
    try:
        root = etree.fromstring(document.encode(errors="replace"), parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        root = html.document_fromstring(f"<html>{document}</html>")
    return root


@lru_cache(maxsize=64)
def prune(document: str, candidates: tuple[str, ...], round_brackets: bool = False) -> PrunedPage:
    """Cut a cleaned page down to some candidates.

    Args:
        document: The cleaned page; nodes carry `backend_node_id`.
        candidates: Ids of the candidates; those that are not on the page do not count.
        round_brackets: `(tag …)` in place of `<tag …>`, as fine-tuned models of the benchmark read it.
    """
    root = parse_cleaned(document)
    wanted = set(candidates)
    found: dict[Node, str] = {}
    for node in root.iter():  # the first node with an id counts
        if not wanted:
            break
        name = node.get(ID)
        if name in wanted:
            wanted.remove(name)
            found[node] = name
    kept = set(found)
    for node in found:
        kept.update(node.iterancestors())
        kept.update(_first_descendants(node))
        kept.update(_near_siblings(node))
    writer = _Writer(kept, found)
    raw = "".join(text for _, text in writer.write(root, is_root=True))
    choices = tuple(
        Choice(found[node], " ".join(_finish(text, round_brackets).split()[:WORDS_PER_CHOICE]))
        for node, text in sorted(writer.candidates.items(), key=lambda item: writer.numbers[item[0]])
    )
    return PrunedPage(_finish(raw, round_brackets), choices)


def _first_descendants(node: Node) -> list[Node]:
    found: list[Node] = []

    def collect(parent: Node, level: int) -> None:
        for child in parent:
            if len(found) == DESCENDANTS:
                return
            found.append(child)
            if level < LEVELS:
                collect(child, level + 1)

    collect(node, 1)
    return found


def _near_siblings(node: Node) -> Iterator[Node]:
    for forward in (True, False):
        count = 0
        for sibling in node.itersiblings(preceding=not forward):
            if sibling.tag == "text":
                continue
            if count == SIBLINGS:
                break
            count += 1
            yield sibling


class _Writer:
    """Writes the kept part of a tree as XML, splicing out what carries nothing.

    White space between nodes stays where its nodes stay: it decides where the text has blanks.
    """

    def __init__(self, kept: set[Node], found: Mapping[Node, str]) -> None:
        self.kept = kept
        self.found = found
        self.numbers: dict[Node, int] = {}
        self.candidates: dict[Node, str] = {}

    def write(self, node: Node, is_root: bool = False) -> list[tuple[bool, str]]:
        """The node, or in its place what it holds: pairs of (is text, XML)."""
        if node in self.found:
            self.numbers[node] = len(self.numbers)
        parts: list[tuple[bool, str]] = []
        for child in node:
            if child.tag == "text":
                parts.append((True, _text(child) + escape(child.tail or "")))
            elif child in self.kept:
                parts.extend(self.write(child))
        bare = node not in self.found and not (len(node.attrib) - (ID in node.attrib))
        if bare and not is_root and len(parts) <= 1 and not any(text for text, _ in parts):
            return parts
        inside = escape(node.text or "") + "".join(text for _, text in parts)
        raw = write_node(node, self.numbers.get(node), inside)
        if node in self.found:
            self.candidates[node] = raw
        return [(False, raw + escape(node.tail or ""))]


def _text(node: Node) -> str:
    words = " ".join((node.text or "").split()[:WORDS_PER_TEXT])
    return f"<text>{escape(words)}</text>" if words else "<text/>"


def write_node(node: Node, number: int | None, inside: str) -> str:
    """One node as XML with its two attributes, the number of a candidate and the words of all the others."""
    attributes = "" if number is None else f' id="{number}"'
    if meta := _meta(node.attrib):
        attributes += f' meta="{escape(meta, {chr(34): "&quot;"})}"'
    return f"<{node.tag}{attributes}>{inside}</{node.tag}>" if inside else f"<{node.tag}{attributes}/>"


def _meta(attributes: Mapping[str, str]) -> str:
    seen: dict[str, None] = {}
    for name in ATTRIBUTES:
        value = attributes.get(name)
        if value is None:
            continue
        value = value.lower()
        if value in EMPTY_VALUES or value.startswith("http"):
            continue
        if value := " ".join([word for word in value.split() if len(word) < LONGEST_WORD][:WORDS_PER_VALUE]):
            seen[value] = None
    return " ".join(" ".join(seen).split()[:WORDS_PER_NODE])


def _finish(raw: str, round_brackets: bool) -> str:
    """From XML to the text a model reads."""
    text = raw.replace('"', " ").replace("meta= ", "").replace("id= ", "id=").replace(" >", ">")
    text = _TEXT.sub(r"\1", text)
    if round_brackets:
        text = text.replace("/>", "$/$>")
        text = re.sub(r"</(.+?)>", ")", text)
        text = re.sub(r"<(.+?)>", r"(\1", text).replace("$/$", ")")
    for escaped, plain in ESCAPES:
        text = text.replace(escaped, plain)
    return " ".join(text.split())
