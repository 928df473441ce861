"""Live tasks: a site, an errand on it, and words for it.

Splits never meet. Sites: a seed's last digit gives it to a split, and sites of different seeds have different content.
Requests: the hash of a request (its kind and what it is about, in plain words) gives it to a split, on whatever site.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.mind2web.records import Goal, Params
from cmat_gym.envs.mind2web.sites.base import Errand, Site
from cmat_gym.envs.mind2web.sites.table import SITES, open_site

__all__ = ["BuiltinWebTasks", "LiveTask", "live_task", "request_split"]

MAX_TURNS = 25
SIZES = {"train": 2**31, "dev": 260, "test": 260}
DIGITS = {"dev": (0,), "test": (1,), "train": (2, 3, 4, 5, 6, 7, 8, 9)}
LEVELS = (0.45, 0.8)  # of the training tasks, 45 % are of level 1, 35 % of level 2, 20 % of level 3
DRAWS_PER_SITE = 6
MAX_SITES = 1000  # until a request of the split is found; more means that an errand knows too few different ones


class LiveTask(NamedTuple):
    """A task's payload, opened."""

    site: Site
    errand: Errand[Any]
    params: Params
    goal: Goal


def live_task(payload: Mapping[str, Any]) -> LiveTask:
    """The site, the errand and the goal a payload names.

    Raises:
        TaskError: It is no payload of a live task.
    """
    try:
        site = open_site(payload["site"], payload["seed"])
        errand, goal = site.errands[payload["errand"]], payload["goal"]
        return LiveTask(site, errand, payload["params"], Goal(goal["changes"], goal["answer"]))
    except (KeyError, TypeError) as error:
        raise TaskError(f"This is no task for a live site: {error} is missing or wrong in its payload") from error


def request_split(kind: str, errand: str, text: str) -> str:
    """The only split in which anybody asks for this: of ten requests, one is for dev, one for test."""
    bucket = int(content_hash([kind, errand, text])[:8], 16) % 10
    return ("dev", "test")[bucket] if bucket < 2 else "train"


@lru_cache(maxsize=1)
def _errands_by_level() -> dict[int, list[tuple[str, str]]]:
    table: dict[int, list[tuple[str, str]]] = {}
    for kind, site in SITES.items():
        for name, errand in site.errands.items():
            table.setdefault(errand.level, []).append((kind, name))
    return table


def _choose(split: str, index: int, dice: Dice) -> tuple[str, str]:
    """Kind of site and errand: panels go round all of them, training has more of the easy ones."""
    table = _errands_by_level()
    if split != "train":
        pairs = [pair for level in sorted(table) for pair in table[level]]
        return pairs[index % len(pairs)]
    draw = dice.uniform()
    return dice.pick(table[1 + sum(draw > share for share in LEVELS)])


class BuiltinWebTasks(TaskSource):
    """Procedural tasks on generated sites: `train` is practically endless, `dev` and `test` are panels of 260.

    Task `i` of a split is a pure function of (seed, split, i).

    Args:
        seed: Of sites and requests.
    """

    domain = "mind2web"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.name = "builtin-v0" if seed == 0 else f"builtin-v0-seed{seed}"
        self._panel = lru_cache(maxsize=1024)(self._draw)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its seed."""
        return BuiltinWebTasks, (self.seed,)

    def sizes(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        return SIZES

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`."""
        return self._draw(split, index) if split == "train" else self._panel(split, index)

    def _draw(self, split: str, index: int) -> Task:
        dice = Dice(self.seed, 7, list(SIZES).index(split), index)
        kind, name = _choose(split, index, dice)
        for _ in range(MAX_SITES):
            seed = 10 * dice.integer(0, 10**6) + dice.pick(DIGITS[split])
            site = open_site(kind, seed)
            errand = site.errands[name]
            for _ in range(DRAWS_PER_SITE):
                params = errand.draw(site, dice)
                if request_split(kind, name, errand.wordings[0].format(**params)) != split:
                    continue
                goal = errand.goal(site, params)
                return Task(
                    id=self.task_id(split, index),
                    domain=self.domain,
                    split=split,
                    source=self.name,
                    instruction=dice.pick(errand.wordings).format(**params),
                    payload={
                        "site": kind,
                        "seed": seed,
                        "errand": name,
                        "params": params,
                        "goal": {"changes": dict(goal.changes), "answer": goal.answer},
                    },
                    max_turns=MAX_TURNS,
                )
        raise AssertionError(f"The errand {name!r} on {kind!r} sites has no request for the split {split!r}")
