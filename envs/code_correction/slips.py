"""Slips of the pen: edits after which a function does not parse any more, or names something that is not there."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator, Mapping

from cmat_gym.envs.code_correction.mutations import Code, Edit

__all__ = ["SLIPS"]

_BRACKETS = "()[]{}"


def _colon(code: Code) -> Iterator[Edit]:
    """A line that opens a block, without its colon."""
    for token in _tokens(code):
        end = code.offset(token.end)
        following = code.text[end:].split("\n", 1)[0].strip()
        if token.string == ":" and (not following or following.startswith("#")) and token.line.strip()[:1] not in "{[":
            yield Edit("colon", end - 1, end, "")


def _bracket(code: Code) -> Iterator[Edit]:
    for token in _tokens(code):
        if token.type == tokenize.OP and token.string in _BRACKETS:
            start = code.offset(token.start)
            yield Edit("bracket", start, start + 1, "")


def _quote(code: Code) -> Iterator[Edit]:
    for token in _tokens(code):
        if token.type == tokenize.STRING and token.start[0] == token.end[0]:
            end = code.offset(token.end)
            yield Edit("quote", end - 1, end, "")


def _indentation(code: Code) -> Iterator[Edit]:
    for block in code.blocks():
        for statement in block:
            start = code.span(statement)[0]
            first = code.text.rfind("\n", 0, start) + 1
            if not code.text[first:start].strip() and start > first:
                yield Edit("indentation", first, start, code.text[first:start][:-1])


def _name(code: Code) -> Iterator[Edit]:
    """A local name with a letter missing or doubled."""
    names = code.names()
    for node in code.nodes:
        if isinstance(node, ast.Name) and node.id in names:
            name = node.id
            other = name[:-2] + name[-1] if len(name) > 2 else name + name[-1]
            if other not in names and other.isidentifier():
                yield Edit("name", *code.span(node), other)


def _tokens(code: Code) -> Iterator[tokenize.TokenInfo]:
    """The tokens of head and body, without the docstring and the insides of f-strings (which Python 3.12 splits)."""
    body = code.body[0].lineno if code.body else 0
    head = code.function.body[0].lineno
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(code.text).readline):
        depth += {"FSTRING_START": 1, "FSTRING_END": -1}.get(tokenize.tok_name[token.type], 0)
        if depth == 0 and (token.start[0] < head or token.start[0] >= body):
            yield token


SLIPS: Mapping[str, Callable[[Code], Iterator[Edit]]] = {
    "colon": _colon,
    "bracket": _bracket,
    "quote": _quote,
    "indentation": _indentation,
    "name": _name,
}
"""What each kind of slip can do to a function."""
