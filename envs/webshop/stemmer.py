"""Porter's stemmer in its original form, with the two revisions its author published (`abli` -> `bli`, `logi`).

This is the stemmer of Lucene's `PorterStemFilter`. It is not Porter2 ("English" in Snowball), which gives other stems.
Every character other than a, e, i, o, u and y counts as a consonant, so digits and foreign letters pass through.

Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980.
"""

from __future__ import annotations

__all__ = ["stem"]

# Suffix -> replacement, tried longest first; a rule fires only if the part before the suffix has measure > 0.
_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble", "logi": "log",
}  # fmt: skip
_STEP_3 = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
# These are removed where the part before them has measure > 1; `ion` also needs an s or t in front of it.
_STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ion", "ism", "ate", "iti", "ous", "ive", "ize",
    "al", "er", "ic", "ou",
)  # fmt: skip


def _pattern(word: str) -> str:
    """The word as `v` (vowel) and `c` (consonant) letters; y is a vowel after a consonant."""
    kinds: list[str] = []
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and bool(kinds) and kinds[-1] == "c")
        kinds.append("v" if vowel else "c")
    return "".join(kinds)


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant: Porter's m."""
    return _pattern(word).count("vc")


def _has_vowel(word: str) -> bool:
    return "v" in _pattern(word)


def _ends_double_consonant(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _pattern(word)[-1] == "c"


def _ends_short_syllable(word: str) -> bool:
    """Consonant, vowel, consonant at the end, the last one not w, x or y."""
    return _pattern(word)[-3:] == "cvc" and word[-1] not in "wxy"


def _plural(word: str) -> str:  # step 1a
    if word.endswith("sses") or word.endswith("ies"):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def _past_and_gerund(word: str) -> str:  # step 1b
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix):
            base = word[: -len(suffix)]
            if not _has_vowel(base):
                return word
            if base.endswith(("at", "bl", "iz")):
                return base + "e"
            if _ends_double_consonant(base):
                return base if base[-1] in "lsz" else base[:-1]
            return base + "e" if _measure(base) == 1 and _ends_short_syllable(base) else base
    return word


def _replace(word: str, rules: dict[str, str]) -> str:  # steps 2 and 3
    for length in range(min(7, len(word)), 2, -1):
        replacement = rules.get(word[-length:])
        if replacement is not None:  # only the longest matching suffix is tried
            return word[:-length] + replacement if _measure(word[:-length]) > 0 else word
    return word


def _strip(word: str) -> str:  # step 4
    for suffix in _STEP_4:
        if word.endswith(suffix):
            base = word[: -len(suffix)]
            if suffix == "ion" and not base.endswith(("s", "t")):
                return word
            return base if _measure(base) > 1 else word
    return word


def _tidy(word: str) -> str:  # step 5
    if word.endswith("e"):
        base = word[:-1]
        measure = _measure(base)
        if measure > 1 or (measure == 1 and not _ends_short_syllable(base)):
            word = base
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


def stem(word: str) -> str:
    """The stem of a lower-case word; words of one or two letters stay as they are."""
    if len(word) <= 2:
        return word
    word = _past_and_gerund(_plural(word))
    if word.endswith("y") and _has_vowel(word[:-1]):  # step 1c
        word = word[:-1] + "i"
    return _tidy(_strip(_replace(_replace(word, _STEP_2), _STEP_3)))
