"""Canonical JSON: the fast way gives what the standard library's plain way gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.canonical import canonical_json

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(_VALUES)
def test_is_the_plain_encoders_text(value: Any) -> None:
    """Lone surrogates, NaN and integers of any size included: an agent may bring any of them into a state."""
    assert canonical_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":"))


def test_order_of_keys_does_not_matter() -> None:
    assert canonical_json({"b": 1, "a": [2]}) == canonical_json({"a": [2], "b": 1}) == '{"a":[2],"b":1}'


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        canonical_json({1, 2})
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(RecursionError):
        canonical_json(ring)
