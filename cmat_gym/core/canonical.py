"""Canonical JSON: one text per value, to be hashed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["canonical_json"]

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, check_circular=False)


def _once_built() -> Callable[[Any], str]:
    """`_ENCODER.encode` without what it does for every value anew: building CPython's encoder in C.

    State keys are made at every step, mostly of small states, and building the encoder costs more than using it. Its
    constructor is not documented; an interpreter that lacks it, or has changed it, gets the plain encoder.
    """
    try:
        from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]

        encode = c_make_encoder(None, _ENCODER.default, encode_basestring_ascii, None, ":", ",", True, False, True)
        if "".join(encode({"b": [1.5, "ä"], "a": None}, 0)) != _ENCODER.encode({"b": [1.5, "ä"], "a": None}):
            return _ENCODER.encode
    except (ImportError, TypeError):
        return _ENCODER.encode
    join = "".join
    return lambda value: join(encode(value, 0))


canonical_json = _once_built()
"""A JSON-able value as text with sorted keys, no spaces and ASCII escapes; equal values give equal texts.

A value that contains itself raises RecursionError; one that is not JSON-able raises TypeError.
"""
