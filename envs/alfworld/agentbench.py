"""How AgentBench reads an agent's answer: the action line, and the nearest available command by sentence BLEU.

Source: github.com/THUDM/AgentBench; BLEU with the fourth smoothing of Chen and Cherry (2014), as NLTK computes it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["ROUNDS", "match_command", "read_answer", "sentence_bleu"]

ROUNDS = {"text": 35, "tools": 20}
"""Rounds of an episode: version 0.2 in text, and the later one with function calls."""
REPEATS = 3  # equal answers in a row that end an episode …
FREE_STEPS = 3  # … from the step after these on
_ORDERS = 4
_LEAST = 0.01
_SMOOTHING = 5
_ACTION = re.compile("ACTION:(.*)")


class _Overlap(NamedTuple):
    matches: int
    total: int


def read_answer(output: str) -> str | None:
    """The action of an answer: what stands behind the first `ACTION:`, up to the end of the line; None without one."""
    found = _ACTION.search(output)
    return None if found is None else found[1].strip().lower().split("\n")[0]


def match_command(action: str, commands: Sequence[str]) -> str:
    """The available command that an action means: itself, or else the most alike, if it is alike at all."""
    if action in commands or not commands:
        return action
    scores = [sentence_bleu(command, action) for command in commands]
    best = max(range(len(commands)), key=scores.__getitem__)
    return commands[best] if scores[best] > _LEAST else action


def sentence_bleu(reference: str, candidate: str) -> float:
    """BLEU-4 of one sentence against one reference, words split at white space, smoothed by the fourth method."""
    wanted, words = reference.split(), candidate.split()
    length = len(words)
    overlaps = [_overlap(wanted, words, order) for order in range(1, _ORDERS + 1)]
    if overlaps[0].matches == 0:
        return 0.0
    logs: list[float] = []
    misses = 0
    for matches, total in overlaps:
        precision = matches / total
        if matches == 0 and length > 1:
            misses += 1
            precision = math.log(length) / (2**misses * _SMOOTHING) / total
        if precision > 0:
            logs.append(math.log(precision) / _ORDERS)
    brevity = 1.0 if length > len(wanted) else math.exp(1 - len(wanted) / length)
    return brevity * math.exp(math.fsum(logs))


def _overlap(wanted: list[str], words: list[str], order: int) -> _Overlap:
    """N-grams of the candidate that the reference has too, each counted as often as there."""
    mine, theirs = (
        Counter(tuple(text[start : start + order]) for start in range(len(text) - order + 1))
        for text in (words, wanted)
    )
    matches = sum(min(count, theirs[gram]) for gram, count in mine.items())
    return _Overlap(matches, max(1, sum(mine.values())))
