"""Candidate scores where a file brings none: shared words, the rarer the better.

This is not the benchmark's ranker (a fine-tuned DeBERTa): results with these ranks are not comparable with published
ones, and every report of them says so by the name of the task source.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from cmat_gym.envs.mind2web.pruning import parse_cleaned

__all__ = ["rank_candidates"]

_WORD = re.compile(r"[a-z0-9]+")
_NEAR = 30  # words of a candidate's own text and attributes that count


def rank_candidates(html: str, candidates: Sequence[str], query: str) -> Mapping[str, float]:
    """Scores of the candidates on a page for a task in words; ties keep the order of the page."""
    wanted = set(_WORD.findall(query.lower()))
    among = set(candidates)
    words: dict[str, list[str]] = {}
    for node in parse_cleaned(html).iter():
        name = node.get("backend_node_id")
        if name in among and name not in words:
            attributes = " ".join(value for key, value in node.attrib.items() if key != "backend_node_id")
            text = " ".join(node.itertext())
            words[name] = _WORD.findall(f"{attributes} {text}".lower())[:_NEAR]
    frequency = Counter(word for own in words.values() for word in set(own))
    scores: dict[str, float] = {}
    for place, (name, own) in enumerate(words.items()):
        shared = sum(math.log(1 + len(words) / frequency[word]) for word in wanted.intersection(own))
        scores[name] = shared / math.sqrt(len(own) + 1) - place * 1e-9
    return scores
