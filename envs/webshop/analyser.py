"""From text to index terms, by the rules of Lucene's English analyser.

The tokeniser follows the Unicode word-break rules (UAX #29) as far as a shop needs them: letters, digits and `_` run
together; some punctuation joins letters (`o'clock`, `color:red`), some joins digits (`3.5`, `1,000`); marks and format
characters stick to what precedes them; a Chinese character, a kana of the Hiragana row or a pictograph is a word
by itself. Then: possessive `'s` off, lower case, stop words out, Porter stem.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from cmat_gym.envs.webshop.stemmer import stem

__all__ = ["STOP_WORDS", "analyse", "normalise", "tokenise"]

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
MAX_TOKEN = 255  # a longer run is cut into pieces of this length

# Every character is mapped to a class letter and the rules are regular expressions over those letters:
#   A letter   N digit   _ connector   ' joins letters or digits   : joins letters   , joins digits
#   K katakana   I stands alone (Han, Hiragana)   P pictograph   R half of a flag
#   X belongs to the character before it   Z joins pictographs, else like X
_JOINS_BOTH = "'.\u2018\u2019\u2024\ufe52\uff07\uff0e"
_JOINS_LETTERS = ":\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a"
_JOINS_DIGITS = ",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b"
_PICTOGRAPHS = (  # the code points with Unicode's property Extended_Pictographic
    "A9 AE 203C 2049 2122 2139 2194-2199 21A9-21AA 231A-231B 2328 2388 23CF 23E9-23F3 23F8-23FA 24C2 25AA-25AB "
    "25B6 25C0 25FB-25FE 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271D 2721 2728 2733-2734 "
    "2744 2747 274C 274E 2753-2755 2757 2763-2767 2795-2797 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 "
    "2B55 3030 303D 3297 3299 1F000-1F0FF 1F10D-1F10F 1F12F 1F16C-1F171 1F17E-1F17F 1F18E 1F191-1F19A 1F1AD-1F1E5 "
    "1F201-1F20F 1F21A 1F22F 1F232-1F23A 1F23C-1F23F 1F249-1F3FA 1F400-1F53D 1F546-1F64F 1F680-1F6FF 1F774-1F77F "
    "1F7D5-1F7FF 1F80C-1F80F 1F848-1F84F 1F85A-1F85F 1F888-1F88F 1F8AE-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1FAFF "
    "1FC00-1FFFD "
)


def _code_points(ranges: str) -> frozenset[int]:
    ends = (item.partition("-")[::2] for item in ranges.split())
    return frozenset(code for low, high in ends for code in range(int(low, 16), int(high or low, 16) + 1))


_IS_PICTOGRAPH = _code_points(_PICTOGRAPHS)
_ALONE = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA")
_MARKS = ("Mn", "Mc", "Me", "Cf")


def _character_class(character: str) -> str:
    code = ord(character)
    for letter, members in (("'", _JOINS_BOTH), (":", _JOINS_LETTERS), (",", _JOINS_DIGITS), ("Z", "\u200d")):
        if character in members:
            return letter
    if code in _IS_PICTOGRAPH:
        return "P"
    if 0x1F1E6 <= code <= 0x1F1FF:
        return "R"
    category = unicodedata.category(character)
    if category in _MARKS or code in (0xFF9E, 0xFF9F) or 0x1F3FB <= code <= 0x1F3FF:  # voice marks, skin tones
        return "X"
    if category in ("Nd", "Pc"):
        return "N" if category == "Nd" else "_"
    if category[0] == "L" or category == "Nl" or 0x24B6 <= code <= 0x24E9:  # the last: circled letters
        name = unicodedata.name(character, "")
        if name.startswith(_ALONE):
            return "I"
        return "K" if "KATAKANA" in name else "A"
    return " "


class _Classes(dict[int, str]):
    """A table for `str.translate` that fills itself in as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = letter = _character_class(chr(code))
        return letter


def _word_pattern(letter: str, digit: str, connector: str, joins_letters: str, joins_digits: str, others: str) -> str:
    """The word-break rules as one regular expression; possessive, so that no hostile text makes it backtrack."""
    letters = f"{letter}(?:{joins_letters}{letter})*+"
    digits = f"{digit}(?:{joins_digits}{digit})*+"
    run = f"(?:(?:{letters}|{digits})++{others})"
    return f"(?<!_)(?:{connector})*+{run}(?:(?:{connector})++{run})*+(?:{connector})*+"


_CLASSES = _Classes()
_ASCII_WORD = re.compile(_word_pattern("[A-Za-z]++", "[0-9]++", "_", "['.:]", "['.,;]", ""))
_CLASS_WORD = re.compile(
    _word_pattern("(?:A[XZ]*+)++", "(?:N[XZ]*+)++", "_[XZ]*", "[':][XZ]*", "[',][XZ]*", "|(?:K[XZ]*+)++")
    + "|P[XZ]*(?:(?<=Z)P[XZ]*)*|RR?[XZ]*|I[XZ]*"
)


def tokenise(text: str) -> list[str]:
    """The words of a text in order, in the case they were written in."""
    if text.isascii():
        words = _ASCII_WORD.findall(text)
    else:
        words = [text[match.start() : match.end()] for match in _CLASS_WORD.finditer(text.translate(_CLASSES))]
    if len(text) > MAX_TOKEN:
        return [word[at : at + MAX_TOKEN] for word in words for at in range(0, len(word), MAX_TOKEN)]
    return words


@lru_cache(maxsize=65_536)
def normalise(token: str) -> str | None:
    """The index term of one token, or None for a stop word."""
    if token[-2:] in ("'s", "'S", "\u2019s", "\u2019S", "\uff07s", "\uff07S"):
        token = token[:-2]
    token = token.lower()
    return None if token in STOP_WORDS else stem(token)


def analyse(text: str) -> list[str]:
    """All index terms of a text, in order, repeats included."""
    terms = (normalise(token) for token in tokenise(text))
    return [term for term in terms if term is not None]
