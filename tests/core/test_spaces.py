"""The space of any text."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from gymnasium.spaces import Dict, Tuple
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.spaces import FreeText


@given(st.text(st.characters(exclude_categories=())))
def test_contains_any_string(text: str) -> None:
    assert text in FreeText()
    assert (text in FreeText(5)) == (len(text) <= 5)


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["a"], ("a",)])
def test_contains_strings_only(value: object) -> None:
    assert value not in FreeText()


def test_samples_are_seeded_and_contained() -> None:
    space, same, other = FreeText(seed=3), FreeText(), FreeText(seed=4)
    same.seed(3)
    drawn = [space.sample() for _ in range(200)]
    assert drawn == [same.sample() for _ in range(200)]
    assert drawn != [other.sample() for _ in range(200)]
    assert all(text in space for text in drawn)
    assert "" in drawn
    assert any(not text.isascii() for text in drawn)
    assert all(len(text) <= 2 for text in (FreeText(2, seed=1).sample() for _ in range(50)))
    with pytest.raises(ValueError, match="mask"):
        space.sample(mask="abc")  # type: ignore[arg-type]


def test_is_a_value() -> None:
    assert FreeText(9) == FreeText(9, seed=5) == pickle.loads(pickle.dumps(FreeText(9)))
    assert FreeText(9) != FreeText(8)
    assert len({FreeText(9), FreeText(9), FreeText(8)}) == 2
    assert repr(FreeText(9)) == "FreeText(9)"
    assert not FreeText().is_np_flattenable
    with pytest.raises(ValueError, match="-1"):
        FreeText(-1)


def test_composes_and_travels_as_json() -> None:
    space: Any = Dict({"page": FreeText(), "pair": Tuple((FreeText(), FreeText()))})
    space.seed(0)
    samples = [space.sample() for _ in range(5)]
    assert all(sample in space for sample in samples)
    assert space.from_jsonable(space.to_jsonable(samples)) == samples
