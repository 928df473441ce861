"""What went right and wrong in recorded episodes: endings, lengths, refusals, and who ran in circles."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cmat_gym.core import prompts
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.evaluate import TaskRecord

__all__ = ["ENDINGS", "MemoryParts", "circles", "ending", "endings", "lengths", "refusals", "split_memory"]

ENDINGS = ("success", "partial score", "no score", "turn limit", "error")
"""How an episode can end. `partial score` and `no score` were ended by the agent, `error` by something outside."""

REPEATS = 3  # the same action on the same page so often is a circle
_EXCERPT = 160  # characters of a refusal that are kept


class MemoryParts(NamedTuple):
    """The parts that `DualMemory` makes an observation of; `lessons` and `turns` are empty where it shows none."""

    observation: str
    task: str = ""
    lessons: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()


def _label(template: str) -> str:
    return re.escape(template.partition("{")[0])


_MEMORY = re.compile(
    rf"(?:{_label(prompts.MEMORY_TASK)}(?P<task>.*?)\n)??"
    rf"(?:{_label(prompts.MEMORY_LESSONS)}\n(?P<lessons>(?:- [^\n]*\n)+))?"
    rf"(?:{_label(prompts.MEMORY_TURNS)}\n(?P<turns>(?:\d+\. [^\n]*\n)+))?"
    rf"{_label(prompts.MEMORY_OBSERVATION)}(?P<observation>.*)",
    re.DOTALL,
)


def split_memory(text: str) -> MemoryParts:
    """Take an observation with memory apart again; any other text is all observation."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        return MemoryParts(text)
    lessons = tuple(line.removeprefix("- ") for line in _lines(match["lessons"]))
    return MemoryParts(match["observation"], match["task"] or "", lessons, _lines(match["turns"]))


def _lines(text: str | None) -> tuple[str, ...]:
    """Lines that end with a newline; `splitlines` would also split at what an agent wrote inside of one."""
    return tuple((text or "").split("\n")[:-1])


def ending(record: TaskRecord) -> str:
    """How an episode ended: one of `ENDINGS`."""
    if record.error is not None:
        return "error"
    if record.success:
        return "success"
    if record.truncated:
        return "turn limit"
    return "partial score" if record.score > 0 else "no score"


def endings(records: Iterable[TaskRecord]) -> dict[str, int]:
    """How many episodes ended in each of `ENDINGS`, in that order."""
    counts = Counter(map(ending, records))
    return {name: counts[name] for name in ENDINGS}


def lengths(records: Sequence[TaskRecord]) -> list[tuple[int, int]]:
    """For each length from 0 turns to the longest: episodes that succeeded, and that did not."""
    longest = max((record.turns for record in records), default=0)
    won = Counter(record.turns for record in records if record.success)
    lost = Counter(record.turns for record in records if not record.success)
    return [(won[turns], lost[turns]) for turns in range(longest + 1)]


def refusals(trajectories: Iterable[Trajectory], limit: int = 5) -> list[tuple[str, int]]:
    """The most frequent reasons that the world gave for refusing an action, with the number of turns they cost."""
    counts: Counter[str] = Counter()
    for trajectory in trajectories:
        after = [*(turn.observation for turn in trajectory.turns[1:]), trajectory.final_observation]
        for turn, answer in zip(trajectory.turns, after, strict=True):
            if not turn.valid_action:
                reason = split_memory(answer).observation.partition("\n")[0]
                counts[reason.removeprefix(prompts.invalid("")).strip()[:_EXCERPT]] += 1
    return counts.most_common(limit)


def circles(trajectory: Trajectory) -> bool:
    """Whether the agent did the same thing on the same page `REPEATS` times."""
    done = Counter((split_memory(turn.observation).observation, turn.action) for turn in trajectory.turns)
    return any(count >= REPEATS for count in done.values())
