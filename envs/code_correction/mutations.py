"""Bugs to put into a function, as edits of its text: the formatting stays, so that nothing but the bug shows.

Every kind of mutation finds its places by the syntax tree and yields the edits that are possible there, in the order of
the text. Errors of syntax are in `slips.py`. An edit is no bug by itself: whether it changes what the function does is
found out by running it (generator.py).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

__all__ = ["KINDS", "Code", "Edit", "apply"]

_COMPARISONS = {"<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=",), "!=": ("==",),
                "in": ("not in",), "not in": ("in",), "is": ("is not",), "is not": ("is",)}  # fmt: skip
_ARITHMETIC = {"+": ("-",), "-": ("+",), "*": ("+", "//"), "/": ("*", "//"), "//": ("/", "%"), "%": ("//",),
               "**": ("*",), "<<": (">>",), ">>": ("<<",), "&": ("|",), "|": ("&",)}  # fmt: skip
_TWINS = (
    ("append", "extend"), ("strip", "lstrip", "rstrip"), ("find", "rfind", "index"), ("split", "rsplit"),
    ("startswith", "endswith"), ("lower", "upper"), ("partition", "rpartition"), ("keys", "values"), ("min", "max"),
    ("any", "all"), ("popleft", "pop"), ("ljust", "rjust", "center"), ("search", "match", "fullmatch"),
    ("sorted", "reversed"), ("get", "pop"), ("add", "discard"), ("islower", "isupper"), ("ceil", "floor"),
    ("group", "groups"), ("insert", "append"), ("remove", "discard"),
)  # fmt: skip


class Edit(NamedTuple):
    """A piece of the text, from `start` up to `end`, and what stands there instead."""

    kind: str
    start: int
    end: int
    text: str


class Code:
    """The text of a function with its syntax tree, and places in it.

    Raises:
        SyntaxError: The text is no Python.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.function = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        docstring = ast.get_docstring(self.function, clean=False)
        self.body = self.function.body[docstring is not None :]
        f_strings = [node for statement in self.body for node in ast.walk(statement) if isinstance(node, ast.JoinedStr)]
        within = {id(part) for node in f_strings for part in ast.walk(node)}  # Python before 3.12 misplaces these
        self.nodes = [node for statement in self.body for node in ast.walk(statement) if id(node) not in within]
        self.in_f_strings = {part.id for node in f_strings for part in ast.walk(node) if isinstance(part, ast.Name)}

    def at(self, line: int, column: int) -> int:
        """The offset of a line (from 1) and a column, which the syntax tree counts in bytes."""
        start = self._starts[line - 1]
        return start + len(self.text[start : self._starts[line]].encode()[:column].decode())

    def offset(self, position: tuple[int, int]) -> int:
        """The offset of a token's line and column, which are counted in characters."""
        return self._starts[position[0] - 1] + position[1]

    def span(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        """Where a node stands."""
        assert node.end_lineno is not None, "parsed nodes have an end"
        assert node.end_col_offset is not None, "parsed nodes have an end"
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def source(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def line(self, offset: int) -> int:
        """The line of an offset, from 1."""
        return self.text.count("\n", 0, offset) + 1

    def line_text(self, number: int) -> str:
        """A line without the white space around it; empty where there is none."""
        lines = self.text.splitlines()
        return lines[number - 1].strip() if number <= len(lines) else ""

    def names(self) -> list[str]:
        """Parameters and local variables, in the order in which they appear."""
        arguments = self.function.args
        parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        stored = [n.id for n in self.nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        return list(dict.fromkeys([name for name in parameters if name not in ("self", "cls")] + stored))

    def blocks(self) -> Iterator[list[ast.stmt]]:
        """Lists of statements that follow one another."""
        yield self.body
        for node in self.nodes:
            for field in ("body", "orelse", "finalbody"):
                block = getattr(node, field, None)
                if isinstance(block, list) and block:
                    yield block


def apply(text: str, edit: Edit) -> str:
    """The text with an edit made."""
    return text[: edit.start] + edit.text + text[edit.end :]


def _between(
    code: Code, left: ast.expr, right: ast.expr, swaps: Mapping[str, tuple[str, ...]], kind: str
) -> Iterator[Edit]:
    """Other operators for the one between two operands."""
    start, end = code.span(left)[1], code.span(right)[0]
    match = re.fullmatch(r"[\s\)\\]*(?P<operator>[^\s\w()\\]+|[a-z]+(?:\s+[a-z]+)?)[\s\(\\]*", code.text[start:end])
    if match is not None:
        first, last = match.span("operator")
        for other in swaps.get(" ".join(match["operator"].split()), ()):
            yield Edit(kind, start + first, start + last, other)


def _comparison(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.Compare):
            for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
                yield from _between(code, left, right, _COMPARISONS, "comparison")


def _boolean(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.BoolOp):
            for left, right in pairwise(node.values):
                yield from _between(code, left, right, {"and": ("or",), "or": ("and",)}, "boolean")


def _condition(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            yield Edit("condition", *code.span(node.test), f"not ({code.source(node.test)})")


def _arithmetic(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.BinOp):
            yield from _between(code, node.left, node.right, _ARITHMETIC, "arithmetic")
        elif isinstance(node, ast.AugAssign):
            swaps = {f"{old}=": tuple(f"{new}=" for new in news) for old, news in _ARITHMETIC.items()}
            yield from _between(code, node.target, node.value, swaps, "arithmetic")


def _constant(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.Constant) and type(node.value) is int and code.source(node).isdigit():
            for other in (node.value + 1, node.value - 1):
                yield Edit("constant", *code.span(node), str(other))


def _argument_order(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.Call):
            for left, right in pairwise(node.args):
                if not isinstance(left, ast.Starred) and not isinstance(right, ast.Starred):
                    start, end = code.span(left)[0], code.span(right)[1]
                    comma = code.text[code.span(left)[1] : code.span(right)[0]]
                    yield Edit("argument order", start, end, code.source(right) + comma + code.source(left))


def _variable(code: Code) -> Iterator[Edit]:
    names = code.names()
    for node in code.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            position = names.index(node.id)
            others = {names[(position + 1) % len(names)], names[position - 1]} - {node.id}
            for other in sorted(others):
                yield Edit("variable", *code.span(node), other)


def _return(code: Code) -> Iterator[Edit]:
    """A result that is not returned, or returned before the work is done."""
    for block in code.blocks():
        for statement in block:
            if isinstance(statement, ast.Return) and statement.value is not None:
                start, end = code.span(statement)
                yield Edit("return", start, code.span(statement.value)[0], "")
                yield Edit("return", start, end, "return")
    for node in code.nodes:
        if isinstance(node, ast.For | ast.While):
            last = node.body[-1]
            if isinstance(last, ast.Assign | ast.AugAssign | ast.Expr) and last.lineno == last.end_lineno:
                start, end = code.span(last)
                target = last.targets[0] if isinstance(last, ast.Assign) else getattr(last, "target", None)
                result = f" {target.id}" if isinstance(target, ast.Name) else ""
                indent = code.text[code.text.rfind("\n", 0, start) + 1 : start]
                if not indent.strip():
                    yield Edit("return", start, end, f"{code.source(last)}\n{indent}return{result}")


def _slice(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.Slice):
            for bound in (node.lower, node.upper):
                if isinstance(bound, ast.Name | ast.Call | ast.Attribute):
                    for sign in "+-":
                        yield Edit("slice", *code.span(bound), f"{code.source(bound)} {sign} 1")
                elif isinstance(bound, ast.Constant) and type(bound.value) is int:
                    yield Edit("slice", *code.span(bound), str(bound.value + 1))
            if node.lower is None and code.text[code.span(node)[0]] == ":":
                start = code.span(node)[0]
                yield Edit("slice", start, start, "1")


def _loop(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("range", "enumerate"):
            bounds = node.args if node.func.id == "range" else node.args[1:]
            for bound in bounds[:2]:
                for sign in "+-":
                    yield Edit("loop", *code.span(bound), f"{code.source(bound)} {sign} 1")


def _missing_not(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield Edit("missing not", code.span(node)[0], code.span(node.operand)[0], "")


def _method(code: Code) -> Iterator[Edit]:
    for node in code.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            end = code.span(node.func)[1]
            for twins in _TWINS:
                if name in twins and code.text[:end].endswith(name):
                    for twin in twins:
                        if twin != name:
                            yield Edit("method", end - len(name), end, twin)


def _default(code: Code) -> Iterator[Edit]:
    arguments = code.function.args
    for default in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
        if isinstance(default, ast.Constant):
            for other in _other_defaults(default.value):
                yield Edit("default", *code.span(default), other)


def _other_defaults(value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (str(not value),)
    if isinstance(value, int):
        return (str(value + 1), str(value - 1))
    if value is None:
        return ("0", "''")
    return ("' '",) if value == "" else ("''",) if isinstance(value, str) else ()


def _deletion(code: Code) -> Iterator[Edit]:
    for block in code.blocks():
        for statement in block:
            if isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr | ast.Raise | ast.Continue | ast.Break):
                yield Edit("deletion", *_whole_lines(code, statement, alone=len(block) == 1))


def _whole_lines(code: Code, statement: ast.stmt, *, alone: bool) -> tuple[int, int, str]:
    """The lines of a statement, to be taken out; `pass` stays where the block would be empty."""
    start, end = code.span(statement)
    first, last = code.text.rfind("\n", 0, start) + 1, code.text.find("\n", end) + 1
    own_lines = not code.text[first:start].strip() and not code.text[end : last or None].strip()
    return (first, last or len(code.text), "") if own_lines and not alone else (start, end, "pass")


def _swap(code: Code) -> Iterator[Edit]:
    kinds = (ast.Assign, ast.AugAssign, ast.Expr, ast.If)
    for block in code.blocks():
        for one, other in pairwise(block):
            if isinstance(one, kinds) and isinstance(other, kinds) and one.col_offset == other.col_offset:
                (start, stop), (begin, end) = code.span(one), code.span(other)
                if "\n" in code.text[stop:begin]:
                    yield Edit("swap", start, end, code.source(other) + code.text[stop:begin] + code.source(one))


KINDS: Mapping[str, Callable[[Code], Iterator[Edit]]] = {
    "comparison": _comparison,
    "boolean": _boolean,
    "condition": _condition,
    "arithmetic": _arithmetic,
    "constant": _constant,
    "argument order": _argument_order,
    "variable": _variable,
    "return": _return,
    "slice": _slice,
    "loop": _loop,
    "missing not": _missing_not,
    "method": _method,
    "default": _default,
    "deletion": _deletion,
    "swap": _swap,
}
"""What each kind of mutation can do to a function that parses."""
