"""Recorded tasks: Mind2Web's JSON as records, whatever layout they came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.mind2web.ranker import rank_candidates

__all__ = ["Record", "RecordedStep", "Scores", "action_text", "read_record"]

TOP = 10  # candidates of a rank below this take part

Scores = Mapping[str, Mapping[str, float]]
"""`{annotation_id}_{action_uid}` -> candidate -> score (higher is better)."""


class RecordedStep(NamedTuple):
    """One step: the page, what was done on it, and which elements take part in the question.

    `pool` lists positive candidates of a rank below 10 first, then the negative ones, each in the order of the file.
    """

    uid: str
    html: str
    op: str
    value: str
    positives: frozenset[str]
    pool: tuple[str, ...]
    text: str  # the step in words, as later steps see it

    @property
    def gold(self) -> str:
        """The gold action, as answers are compared with it."""
        return action_text(self.op, self.value)


class Record(NamedTuple):
    """A recorded task."""

    id: str
    task: str
    website: str
    domain: str
    subdomain: str
    steps: tuple[RecordedStep, ...]


def action_text(op: str, value: str) -> str:
    """Operation and value as one text; a click has no value."""
    return op.strip() if op == "CLICK" else f"{op.strip()} {value.strip()}"


def read_record(data: Mapping[str, Any], scores: Scores | None = None) -> Record:
    """A record out of Mind2Web's JSON.

    Args:
        data: One task of a file.
        scores: Candidate scores of the authors' ranker. Without them, ranks or scores in the file itself count, and
            without those the ranks are our own (results are then not comparable with published ones).

    Raises:
        TaskError: A field is missing.
    """
    try:
        texts = data["action_reprs"]
        steps = [_read_step(data, n, action, texts, scores) for n, action in enumerate(data["actions"])]
        return Record(
            data["annotation_id"],
            data["confirmed_task"],
            data["website"],
            data.get("domain", ""),
            data.get("subdomain", ""),
            tuple(steps),
        )
    except (KeyError, TypeError, IndexError) as error:
        name = data.get("annotation_id", "?") if isinstance(data, Mapping) else "?"
        raise TaskError(f"Task {name!r} is not in Mind2Web's layout: {error!r} is missing or wrong") from error


def _read_step(
    data: Mapping[str, Any], number: int, action: Mapping[str, Any], texts: Sequence[str], scores: Scores | None
) -> RecordedStep:
    positive, negative = action["pos_candidates"], action["neg_candidates"]
    ranks = _ranks(data, number, action, texts, scores)
    good = [str(c["backend_node_id"]) for c in positive if ranks.get(str(c["backend_node_id"]), TOP) < TOP]
    bad = [str(c["backend_node_id"]) for c in negative if ranks.get(str(c["backend_node_id"]), TOP) < TOP]
    operation = action["operation"]
    return RecordedStep(
        action["action_uid"],
        action["cleaned_html"],
        operation["op"],
        operation["value"],
        frozenset(good),
        tuple(dict.fromkeys([*good, *bad])),
        texts[number],
    )


def _ranks(
    data: Mapping[str, Any], number: int, action: Mapping[str, Any], texts: Sequence[str], scores: Scores | None
) -> Mapping[str, int]:
    """Rank by candidate: from the score file, else from the record, else our own."""
    candidates = [*action["pos_candidates"], *action["neg_candidates"]]
    names = [str(candidate["backend_node_id"]) for candidate in candidates]
    if scores is not None:
        table: Mapping[str, float] = scores.get(f"{data['annotation_id']}_{action['action_uid']}", {})
    elif candidates and all("rank" in candidate for candidate in candidates):
        return {name: int(candidate["rank"]) for name, candidate in zip(names, candidates, strict=True)}
    elif candidates and all("score" in candidate for candidate in candidates):
        table = {name: float(candidate["score"]) for name, candidate in zip(names, candidates, strict=True)}
    else:
        table = rank_candidates(action["cleaned_html"], names, " ".join([data["confirmed_task"], *texts[:number][-3:]]))
    order = sorted((name for name in dict.fromkeys(names) if name in table), key=lambda name: -table[name])
    return {name: rank for rank, name in enumerate(order)}
