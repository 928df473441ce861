"""From text to syntax tree: sqlglot's MySQL parser, held to what MySQL itself accepts.

sqlglot reads every dialect's habits. What MySQL refuses is refused here, with MySQL's error: quoted table names, bare
reserved words, two commas in a row, several statements. Function calls stay as they are written, so that the compiler
knows by its name whether MySQL has such a function.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from sqlglot import Token, TokenType
from sqlglot import expressions as exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.mysql import MySQLParser

from cmat_gym.envs.db.dialect.errors import MySQLError, syntax_error

__all__ = ["FLAVOURS", "parse", "reserved_words"]

FLAVOURS = ("mysql", "mariadb")
_SPECIAL_FORMS = ("CAST", "CONVERT", "EXTRACT", "TRIM", "POSITION", "SUBSTRING", "SUBSTR", "GROUP_CONCAT")
_COMMA_PAIRS = {TokenType.COMMA, TokenType.FROM, TokenType.R_PAREN, TokenType.WHERE, TokenType.ORDER_BY}
_FOREIGN = {
    TokenType.DCOLON, TokenType.L_BRACKET, TokenType.R_BRACKET, TokenType.L_BRACE, TokenType.ILIKE,
    TokenType.SIMILAR_TO, TokenType.QUALIFY, TokenType.DCOLONQMARK,
}  # fmt: skip

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of every statement it keeps as a plain command


class _Parser(MySQLParser):
    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parse for name, parse in MySQLParser.FUNCTION_PARSERS.items() if name in _SPECIAL_FORMS
    }


_dialect = MySQL()
_parser = _Parser(dialect=_dialect)


@lru_cache(maxsize=2)
def reserved_words(flavour: str) -> frozenset[str]:
    """Words that MySQL 8, or MariaDB, takes for a name only between backticks."""
    lines = (Path(__file__).parent.parent / "data" / "reserved.txt").read_text(encoding="utf-8").splitlines()
    groups = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    return frozenset(groups["both"] + groups[flavour])


def parse(sql: str, flavour: str = "mysql") -> exp.Expr:
    """Read one statement.

    Raises:
        MySQLError: It is none (1064), or empty (1065).
    """
    try:
        tokens = _dialect.tokenize(sql)
    except TokenError:
        raise syntax_error(sql, _unclosed(sql)) from None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise MySQLError(1065, "Query was empty")
    _check_tokens(sql, tokens)
    try:
        trees = _parser.parse(tokens, sql)
    except ParseError as error:
        raise syntax_error(sql, _place(sql, tokens, error)) from None
    except (RecursionError, TokenError, ValueError, AttributeError, IndexError, TypeError, KeyError):
        raise syntax_error(sql, tokens[0].start) from None
    tree = trees[0] if len(trees) == 1 else None
    if tree is None:
        raise syntax_error(sql, tokens[0].start)
    _check_names(sql, tree, flavour)
    return tree


def _check_tokens(sql: str, tokens: list[Token]) -> None:
    previous: Token | None = None
    for token in tokens:
        kind = token.token_type
        if kind is TokenType.SEMICOLON:
            raise syntax_error(sql, token.end + 1)
        if kind in _FOREIGN or (kind is TokenType.EQ and token.text == "=="):
            raise syntax_error(sql, token.start)
        if previous is not None and previous.token_type is TokenType.COMMA and kind in _COMMA_PAIRS:
            raise syntax_error(sql, token.start)
        previous = token


def _check_names(sql: str, tree: exp.Expr, flavour: str) -> None:
    """Table names between quotes and bare reserved words are no names."""
    words = reserved_words(flavour)
    for node in tree.walk():
        if not isinstance(node, exp.Identifier):
            continue
        start = node.meta.get("start")
        if start is None:
            continue
        first = sql[start : start + 1]
        if first in "'\"":
            if isinstance(node.parent, exp.Table):
                raise syntax_error(sql, start)
        elif first != "`":
            dotted = sql[:start].rstrip()[-1:] == "."  # after a point any word is a name
            dual = node.name.upper() == "DUAL" and isinstance(node.parent, exp.Table)
            if not dotted and not dual and node.name.upper() in words:
                raise syntax_error(sql, start)


def _place(sql: str, tokens: list[Token], error: ParseError) -> int:
    """Where MySQL would say the error is: at the first token that cannot be, or at the end."""
    details = error.errors[0] if error.errors else {}
    text = str(details.get("highlight") or "")
    start = len(str(details.get("start_context") or ""))
    if "missing" in str(details.get("description")):
        after = [token.start for token in tokens if token.start > start + len(text) - 1]
        return after[0] if after else len(sql)
    place = sql.find(text, max(0, start - 1)) if text else -1
    return place if place >= 0 else tokens[0].start


def _unclosed(sql: str) -> int:
    """Where a quoted piece starts that never ends."""
    opened, place, skip = "", 0, False
    for index, letter in enumerate(sql):
        if skip:
            skip = False
        elif letter == "\\" and opened != "`":
            skip = True
        elif opened:
            opened = "" if letter == opened else opened
        elif letter in "'\"`":
            opened, place = letter, index
    return place
