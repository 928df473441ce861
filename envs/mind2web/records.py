"""What a live task is made of: the errand, its goal, and the marks that lead to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Db", "Facts", "Follow", "Goal", "Params", "Read", "Stage", "Submit", "Turn", "facts"]

Db: TypeAlias = dict[str, Any]
"""What a site's server remembers, JSON-able. Keys that start with `_` are about the visit, not about the site."""

Facts: TypeAlias = Mapping[str, str | int | bool]
"""A database as flat facts: `orders/1/item` -> `17`."""

Params: TypeAlias = dict[str, Any]
"""What an errand is about, JSON-able; its wording is filled in with them."""


class Goal(NamedTuple):
    """What is true of the site afterwards, and nothing else has changed; or what is answered.

    `changes` maps facts to their new value, None for a fact that is gone.
    """

    changes: Mapping[str, str | int | bool | None] = {}
    answer: str = ""


class Follow(NamedTuple):
    """Click the link with this address."""

    href: str


class Turn(NamedTuple):
    """On a page at this path, one of a sorted sequence, turn towards `target`; without a target, forward.

    Where the page stands is in its attribute `data-at`; its links `rel=next` and `rel=prev` turn.
    """

    path: str
    target: str = ""


class Submit(NamedTuple):
    """Fill in the form with this action, everything else as it came, and press its button."""

    action: str
    fields: Mapping[str, str] = {}
    button: str = ""


class Read(NamedTuple):
    """The page with this address holds the answer."""

    href: str


Stage: TypeAlias = Follow | Turn | Submit | Read
"""A mark on the way; a plan lists them from the first to the last."""


def facts(db: Db) -> dict[str, str | int | bool]:
    """All facts of a database."""
    flat: dict[str, str | int | bool] = {}
    _flatten("", db, flat)
    return flat


def _flatten(prefix: str, value: Any, flat: dict[str, str | int | bool]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.startswith("_"):
                _flatten(f"{prefix}/{key}" if prefix else key, item, flat)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _flatten(f"{prefix}/{index}", item, flat)
    else:
        flat[prefix] = value
