"""What all compilers share: the scope they compile in, and the way from a node of the tree to its handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.errors import MySQLError, syntax_error
from cmat_gym.envs.db.dialect.scopes import Catalog, Scope
from cmat_gym.envs.db.dialect.types import Kind, Typed, as_bool

if TYPE_CHECKING:
    from cmat_gym.envs.db.dialect.sources import Query

__all__ = ["NULL", "CompilerBase", "bare", "truth", "unwrap"]

NULL = Typed("NULL", Kind.NULL)


def truth(sql: str) -> Typed:
    """A condition: MySQL's truth values are the integers 0 and 1."""
    return Typed(f"({sql})", Kind.INT)


class CompilerBase:
    """Compiles expressions in a scope; each subclass adds a part of the language."""

    catalog: Catalog
    windows: dict[str, exp.Expr]
    handlers: ClassVar[Mapping[type[exp.Expr], Any]]
    sql: str
    scope: Scope
    flavour: str

    # What subclasses add ----------------------------------------------------------------------------------------------

    def query(self, node: exp.Expr) -> Query:
        """Compile a query inside of an expression."""
        raise NotImplementedError

    def call(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        """Compile a function call."""
        raise NotImplementedError

    # Entry ------------------------------------------------------------------------------------------------------------

    def expression(self, node: exp.Expr) -> Typed:
        """Compile an expression.

        Raises:
            MySQLError: MySQL would refuse it.
        """
        handler = self.handlers.get(type(node))
        if handler is None:
            raise self.cannot_read(node)
        compiled: Typed = handler(self, node)
        return compiled

    def cannot_read(self, node: exp.Expr) -> MySQLError:
        """A construct MySQL does not have: a syntax error at its first name, or at the start."""
        starts = [inner.meta["start"] for inner in node.walk() if "start" in inner.meta]
        return syntax_error(self.sql, min(starts, default=0))

    def condition(self, node: exp.Expr) -> str:
        """Compile an expression that is taken for true or false."""
        return as_bool(self.expression(node))


def bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def unwrap(node: exp.Expr) -> exp.Expr:
    """The query inside of parentheses."""
    while isinstance(node, (exp.Paren, exp.Subquery)) and not node.args.get("limit") and not node.args.get("order"):
        node = node.this
    return node
