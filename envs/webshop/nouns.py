"""The nouns of a product title, which decide whether the right kind of thing was bought.

The original asks a spaCy model, so its rewards depend on that model's version. The default here needs no model: titles
are mostly nouns, and taggers take their capitalised adjectives for names. So a word is a noun unless it is a function
word or a number, or is written small and a list or its ending makes it an adjective.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

from cmat_gym.core.errors import UsageError, choose, require

__all__ = ["TAGGERS", "Tagger", "make_tagger", "nouns"]

Tagger: TypeAlias = Callable[[str], tuple[str, ...]]
"""From a title to its nouns in lower case, in order, with repeats."""

TAGGERS = ("builtin", "spacy")
SPACY_MODEL = "en_core_web_sm"

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")  # `men's` is one word here and loses its ending below
_ENDING = re.compile(r"['’][^\W\d_]+$")
_ADJECTIVE = re.compile(r".{3,}(?:ly|less|able|ible|ful|ish)|.{4,}ed")


@cache
def _word_list(name: str) -> frozenset[str]:
    return frozenset((Path(__file__).parent / "data" / name).read_text(encoding="utf-8").split())


@lru_cache(maxsize=4096)
def nouns(title: str) -> tuple[str, ...]:
    """The nouns of a title by a word list and endings: the default tagger."""
    function_words, adjectives = _word_list("function_words.txt"), _word_list("adjectives.txt")
    found: list[str] = []
    for match in _WORD.findall(title):
        word = _ENDING.sub("", match)
        lower = word.lower()
        if lower in function_words or word[0].isdigit():
            continue
        if word == lower and (word in adjectives or _ADJECTIVE.fullmatch(word)):
            continue
        found.append(lower)
    return tuple(found)


@cache
def make_tagger(name: str = "builtin") -> Tagger:
    """The tagger of that name: `builtin` (this file's), or `spacy` (the original's, if it is installed).

    Raises:
        UnknownNameError: If there is no such tagger.
        MissingExtraError: If spaCy is not installed.
        UsageError: If spaCy is there, but not its small English model.
    """
    if choose("tagger", name, TAGGERS) == "builtin":
        return nouns
    spacy = require("spacy", "spacy")
    try:
        parse = spacy.load(SPACY_MODEL)
    except OSError as error:
        raise UsageError(
            f"spaCy has no model {SPACY_MODEL!r}; get it with: python -m spacy download {SPACY_MODEL}"
        ) from error

    @lru_cache(maxsize=4096)
    def spacy_nouns(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in parse(title) if token.pos_ in ("NOUN", "PROPN"))

    return spacy_nouns
