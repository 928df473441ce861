"""Named rule sets: the two editions of AgentBench, as far as each world can play by them, and its overall score.

Source: AgentBench (Liu et al., ICLR 2024), version 0.2 in text and the later edition with function calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cmat_gym.core.errors import UsageError, choose
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.statistics import Interval, bootstrap_strata, wilson

__all__ = ["AGENTBENCH_WEIGHTS", "PRESETS", "Preset", "agentbench_overall", "headline", "preset_kwargs"]

AGENTBENCH_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "cmat/OS-v0": 10.8,
        "cmat/DB-v0": 13.0,
        "cmat/KG-v0": 13.9,
        "cmat/ALFWorld-v0": 13.0,
        "cmat/WebShop-v0": 30.7,
        "cmat/Mind2Web-v0": 11.6,
    }
)
"""What AgentBench divides a world's score (in percent) by: the mean score of the models it first measured."""


@dataclass(frozen=True)
class Preset:
    """Rules for every world of a benchmark.

    Attributes:
        name: Name of the rule set.
        summary: What it is, in one line.
        worlds: World id -> keywords of `gym.make`; worlds that are not in the benchmark are missing.
    """

    name: str
    summary: str
    worlds: Mapping[str, Mapping[str, Any]]


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                "agentbench-v0.2",
                "AgentBench 0.2: text, limits of 8, 15, 15, 35 and 10 rounds; the rules behind the paper's Table 2",
                {
                    "cmat/OS-v0": {"protocol": "text", "max_turns": 8, "dialect": "agentbench", "strict_v02": True},
                    "cmat/DB-v0": {"protocol": "text", "max_turns": 15, "rules": "v0.2"},
                    "cmat/KG-v0": {"protocol": "text", "max_turns": 15, "dialect": "agentbench"},
                    "cmat/ALFWorld-v0": {"protocol": "text", "max_turns": 35, "evaluation": "agentbench"},
                    "cmat/WebShop-v0": {"protocol": "text", "max_turns": 10},
                    "cmat/Mind2Web-v0": {"protocol": "text", "pages": "static", "interface": "tournament"},
                },
            ),
            Preset(
                "agentbench-fc",
                "AgentBench with function calls: limits of 8, 15, 15, 20 and 20 rounds; without web browsing",
                {
                    "cmat/OS-v0": {"protocol": "tools", "max_turns": 8, "dialect": "agentbench"},
                    "cmat/DB-v0": {"protocol": "tools", "max_turns": 15, "rules": "function_calling"},
                    "cmat/KG-v0": {"protocol": "tools", "max_turns": 15, "dialect": "agentbench"},
                    "cmat/ALFWorld-v0": {"protocol": "tools", "max_turns": 20, "evaluation": "agentbench"},
                    "cmat/WebShop-v0": {"protocol": "tools", "max_turns": 20},
                },
            ),
        )
    }
)


def preset_kwargs(name: str, env_id: str) -> Mapping[str, Any]:
    """The keywords of `gym.make` that a preset has for a world.

    Raises:
        UnknownNameError: No such preset.
        UsageError: The world is not in it.
    """
    preset = PRESETS[choose("preset", name, PRESETS)]
    if env_id not in preset.worlds:
        raise UsageError(f"{env_id} is not part of {name}, which has {', '.join(preset.worlds)}")
    return preset.worlds[env_id]


def headline(run: Evaluation) -> Interval:
    """The figure a table shows for a run: the mean score, but for AgentBench 0.2's database.

    There, questions, INSERT and UPDATE weigh a third each, whatever their number (`overall_cat_accuracy`). Where every
    score is 0 or 1 the mean is a rate and gets Wilson's interval, which does not vanish at 0 and at 1.
    """
    scores = [record.score for record in run.records]
    by_kind = run.panel.env_id == "cmat/DB-v0" and run.env_kwargs.get("rules") == "v0.2"
    if set(scores) <= {0.0, 1.0} and (not by_kind or len(set(scores)) == 1):
        return wilson(scores.count(1.0), len(scores))
    if not by_kind:
        return run.score
    groups: dict[str, list[float]] = {}
    for record in run.records:
        groups.setdefault(record.kind if record.kind in ("INSERT", "UPDATE") else "SELECT", []).append(record.score)
    return bootstrap_strata(list(groups.values()))


def agentbench_overall(scores: Mapping[str, float]) -> float | None:
    """AgentBench's overall score: the mean over its worlds of score (in percent) by the world's weight.

    Args:
        scores: World id -> score in percent.

    Returns:
        The figure, or None where one of the six worlds is missing: a mean over fewer is another figure.
    """
    if not AGENTBENCH_WEIGHTS.keys() <= scores.keys():
        return None
    return sum(scores[env_id] / weight for env_id, weight in AGENTBENCH_WEIGHTS.items()) / len(AGENTBENCH_WEIGHTS)
