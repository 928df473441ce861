"""`evaluate` end to end on the counter world: figures, records, comparison, failures."""

from __future__ import annotations

import json
from collections.abc import Sequence

import gymnasium as gym
import pytest

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.roles import Info, SampledAction, TokenSample
from cmat_gym.evaluation.evaluate import Evaluation, compare, evaluate
from cmat_gym.evaluation.panel import Panel
from cmat_gym.evaluation.statistics import wilson


class Expert:
    """Plays the expert of the environments it was made with."""

    def __init__(self, envs: Sequence[gym.Env[str, str]]) -> None:
        self.envs = [base_env(env) for env in envs]

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """The expert's actions."""
        running = {env.task.id: env for env in self.envs}
        return [running[info["task_id"]].expert_action() for info in infos]


class Mumbler:
    """Says something invalid first, then stops; its words are tokens."""

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """`hm`, then `stop`."""
        sample = TokenSample((1, 2, 3), (4, 5), (-0.1, -0.2))
        return [SampledAction("stop" if info["turn"] else "hm", sample) for info in infos]


def test_the_expert_scores_one_on_the_whole_panel(counter_id: str) -> None:
    run = evaluate(Expert, counter_id, 30, num_envs=4)
    assert run.name == "Expert"
    assert run.score == (1.0, 1.0, 1.0)
    assert run.success == wilson(30, 30)
    assert run.invalid_rate == wilson(0, 30)
    assert run.sampled_tokens is None
    assert [record.task_id for record in run.records] == list(run.panel.task_ids)
    # The expert needs one turn for each step to the target, and one to stop.
    for record, trajectory in zip(run.records, run.trajectories, strict=True):
        distance = int(trajectory.instruction.split()[-1][:-1]) - int(trajectory.turns[0].observation.split()[-1][:-1])
        assert record.turns == abs(distance) + 1
    assert run.mean_turns == sum(record.turns for record in run.records) / 30


def test_figures_of_a_policy_with_tokens_and_refused_actions(counter_id: str) -> None:
    run = evaluate(Mumbler(), counter_id, 20, name="mumbler", num_envs=3)
    hits = sum(len(set(text.split("to ")[1].split(". It shows "))) == 1 for text in _openings(run))
    assert run.success.estimate == hits / 20
    assert run.invalid_rate.estimate == 0.5
    assert run.mean_turns == 2.0
    assert run.prompt_tokens == 20 * 2 * 3
    assert run.sampled_tokens == 20 * 2 * 2
    assert all(record.invalid_actions == 1 and not record.truncated for record in run.records)


def test_records_do_not_depend_on_how_many_environments_play(counter_id: str) -> None:
    one, many = (evaluate(Mumbler(), counter_id, 12, num_envs=count) for count in (1, 5))
    assert one.records == many.records
    assert one.panel == many.panel


def test_all_actions_refused_is_a_rate_of_one_with_an_honest_bound(counter_id: str) -> None:
    class Babbler:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            return ["?!"] * len(observations)

    run = evaluate(Babbler(), counter_id, 10)
    assert run.invalid_rate == wilson(10, 10)
    assert all(record.truncated and record.turns == 20 for record in run.records)


def test_an_environment_that_breaks_is_a_failed_task_and_not_a_failed_run(
    counter_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmat_gym.core.testing import CounterEnv

    whole = CounterEnv._apply

    def breaks_at_one_task(self: CounterEnv, call: object) -> object:
        if self.task.id.endswith("000010"):
            raise RuntimeError("the service is gone")
        return whole(self, call)  # type: ignore[arg-type]

    monkeypatch.setattr(CounterEnv, "_apply", breaks_at_one_task)
    run = evaluate(Expert, counter_id, 5, num_envs=2)
    assert [record.error for record in run.records if record.error] == ["RuntimeError: the service is gone"]
    assert run.errors == 1
    assert run.score.estimate == 0.8


def test_json_keeps_everything_but_the_episodes(counter_id: str) -> None:
    run = evaluate(Mumbler(), counter_id, 6, memory=None)
    data = json.loads(json.dumps(run.to_json()))
    assert Evaluation.from_json(data) == run
    assert Evaluation.from_json(data, run.trajectories).trajectories == run.trajectories
    assert data["totals"]["score"]["estimate"] == run.score.estimate
    assert data["env_kwargs"]["memory"] is None
    with pytest.raises(TaskError, match="format 99"):
        Evaluation.from_json({**data, "format": 99})
    with pytest.raises(TaskError, match="unknown fields"):
        Evaluation.from_json({**data, "colour": "red"})


def test_progress_counts_episodes(counter_id: str) -> None:
    news: list[tuple[int, int, float]] = []
    evaluate(Expert, counter_id, 7, num_envs=3, on_progress=lambda *args: news.append(args))
    assert news == [(done, 7, 1.0) for done in range(1, 8)]


def test_runs_on_one_panel_are_compared_task_by_task(counter_id: str) -> None:
    weak, strong = evaluate(Mumbler(), counter_id, 20), evaluate(Expert, counter_id, 20)
    gain = compare(weak, strong)
    assert gain.estimate == pytest.approx(1 - weak.score.estimate)
    assert gain.low > 0
    assert compare(weak, weak) == (0.0, 0.0, 0.0)
    with pytest.raises(UsageError, match="different panels"):
        compare(weak, evaluate(Expert, counter_id, 21))


def test_a_panel_of_another_world_or_no_environments_are_refused(counter_id: str) -> None:
    panel = Panel.of(counter_id, size=3)
    with pytest.raises(UsageError, match="was made for"):
        evaluate(Expert, "cmat/WebShop-v0", panel)
    with pytest.raises(UsageError, match="num_envs"):
        evaluate(Expert, counter_id, panel, num_envs=0)


def _openings(run: Evaluation) -> list[str]:
    return [trajectory.turns[0].observation.rstrip(".") for trajectory in run.trajectories]
