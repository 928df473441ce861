"""Records of a run: written as tasks finish, gone on with, equal for any number of processes and of environments."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.core.errors import TaskError, UsageError
from cmat_gym.core.roles import CountedAction, Info, Policy, Usage
from cmat_gym.evaluation.evaluate import Evaluation, evaluate, read_evaluation
from cmat_gym.evaluation.play import WorkerPool
from cmat_gym.evaluation.recording import Recording, read_settings, recorded_runs
from cmat_gym.evaluation.records import TaskRecord
from cmat_gym.policies.scripted import ExpertPolicy, RandomPolicy

SETTINGS = {"kind": "random", "seed": 5}


class Counting:
    """Random play that counts the actions it was asked for, and stops the run after some of them."""

    def __init__(self, limit: int | None = None) -> None:
        self.inner, self.asked, self.limit = RandomPolicy(5), 0, limit

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Random actions."""
        self.asked += len(infos)
        if self.limit is not None and self.asked > self.limit:
            raise KeyboardInterrupt
        return self.inner.act(observations, infos)


def random_play(seed: int, envs: Sequence[gym.Env[str, str]]) -> Policy:
    return RandomPolicy(seed)


def play(counter_id: str, folder: Path, policy: Any = None, **kwargs: Any) -> Evaluation:
    given = {"name": "random", "policy_settings": SETTINGS, "num_envs": 3, **kwargs}
    return evaluate(policy or Counting(), counter_id, 20, record_to=folder, **given)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the records without what the clock said."""
    found = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    for line in found:
        assert set(line.pop("timing")) == {"seconds", "elapsed"}
    return found


def test_a_line_says_all_about_its_task(counter_id: str, tmp_path: Path) -> None:
    run = play(counter_id, tmp_path)
    found = lines(tmp_path)
    assert [line["task_id"] for line in found] == list(run.panel.task_ids)
    first = found[0]
    assert first["panel"] == run.panel.sha256
    assert (first["policy"], first["seed"], first["protocol"]) == ("random", 5, "text-v1")
    assert len(first["prompt"]) == 12
    assert first["prompt"] == run.prompt
    assert first["invalid_rate"] == first["invalid_actions"] / first["turns"]
    assert replace(read_evaluation(tmp_path), num_envs=3) == run
    assert read_evaluation(tmp_path).trajectories == run.trajectories


def test_lines_are_written_as_tasks_finish_and_a_stopped_run_goes_on(counter_id: str, tmp_path: Path) -> None:
    whole = play(counter_id, tmp_path / "whole", first := Counting())
    with pytest.raises(KeyboardInterrupt):
        play(counter_id, tmp_path / "torn", Counting(limit=first.asked // 2))
    early = lines(tmp_path / "torn")
    assert 0 < len(early) < 20
    with pytest.raises(TaskError, match=f"holds {len(early)} of 20 tasks"):
        read_evaluation(tmp_path / "torn")

    second = Counting()
    resumed = play(counter_id, tmp_path / "torn", second)
    recorded = sum(line["turns"] for line in early)
    assert second.asked == first.asked - recorded, "what is recorded is not played again"
    assert resumed == whole
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")
    episodes = [(tmp_path / name / "episodes.jsonl").read_text() for name in ("torn", "whole")]
    assert episodes[0] == episodes[1]

    third = Counting()
    again = play(counter_id, tmp_path / "torn", third)
    assert third.asked == 0
    assert again == resumed


def test_a_line_torn_by_a_crash_is_played_again(counter_id: str, tmp_path: Path) -> None:
    whole = play(counter_id, tmp_path)
    records, episodes = tmp_path / "records.jsonl", tmp_path / "episodes.jsonl"
    expected = lines(tmp_path)
    records.write_text(records.read_text()[:-10])
    episodes.write_text(episodes.read_text()[:-25])
    counting = Counting()
    play(counter_id, tmp_path, counting)
    assert counting.asked == whole.records[-1].turns
    assert lines(tmp_path) == expected


def test_a_damaged_line_is_named(counter_id: str, tmp_path: Path) -> None:
    play(counter_id, tmp_path)
    records = tmp_path / "records.jsonl"
    text = records.read_text().splitlines(keepends=True)
    records.write_text("".join([*text[:4], '{"task_id": 3}\n', *text[5:]]))
    with pytest.raises(TaskError, match=r"records\.jsonl, line 5: .*incomplete"):
        play(counter_id, tmp_path)
    records.write_text("".join([*text[:4], "[1]\n", *text[5:]]))
    with pytest.raises(TaskError, match=r"records\.jsonl, line 5"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy_settings": {**SETTINGS, "seed": 6}}, "policy.seed is 5 there and 6 here"),
        ({"policy_settings": {**SETTINGS, "model": "tiny"}}, 'policy.model is null there and "tiny" here'),
        ({"max_turns": 7}, "env_kwargs.max_turns is null there and 7 here"),
        ({"protocol": "tools"}, 'protocol is "text-v1" there and "tools-v1" here'),
        ({"split": "test"}, "panel is "),
        ({"name": "other"}, 'name is "random" there and "other" here'),
    ],
)
def test_other_settings_are_an_error_that_names_them(
    counter_id: str, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    play(counter_id, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=message):
        play(counter_id, tmp_path, **change)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_system_prompt_is_another_setting(
    counter_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmat_gym.core.testing import CounterEnv

    play(counter_id, tmp_path)
    monkeypatch.setattr(CounterEnv, "system_prompt", "One word differs.")
    with pytest.raises(UsageError, match="prompt is"):
        play(counter_id, tmp_path)


def test_tasks_that_an_error_ended_are_played_again(
    counter_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmat_gym.core.testing import CounterEnv

    whole = CounterEnv._apply

    def breaks(self: CounterEnv, call: object) -> object:
        if self.task.id.endswith("000010"):
            raise OSError("gone")
        return whole(self, call)  # type: ignore[arg-type]

    monkeypatch.setattr(CounterEnv, "_apply", breaks)
    assert play(counter_id, tmp_path).errors == 1
    monkeypatch.setattr(CounterEnv, "_apply", whole)
    counting = Counting()
    run = play(counter_id, tmp_path, counting)
    assert run.errors == 0
    assert counting.asked == next(record.turns for record in run.records if record.task_id.endswith("000010"))
    assert len(lines(tmp_path)) == 20


def test_processes_and_environments_change_no_record(counter_id: str, tmp_path: Path) -> None:
    factory = functools.partial(random_play, 5)
    play(counter_id, tmp_path / "one", factory, num_envs=1)
    play(counter_id, tmp_path / "seven", factory, num_envs=7)
    expert = evaluate(ExpertPolicy, counter_id, 20, record_to=tmp_path / "expert-1")
    with WorkerPool(2) as pool:
        play(counter_id, tmp_path / "two processes", factory, workers=pool)
        again = evaluate(ExpertPolicy, counter_id, 20, workers=pool, record_to=tmp_path / "expert-2")
    assert again.records == expert.records
    assert again.trajectories == expert.trajectories
    one = lines(tmp_path / "one")
    assert one == lines(tmp_path / "seven") == lines(tmp_path / "two processes")
    assert lines(tmp_path / "expert-1") == lines(tmp_path / "expert-2")
    for name in ("seven", "two processes"):
        assert (tmp_path / "one" / "episodes.jsonl").read_text() == (tmp_path / name / "episodes.jsonl").read_text()


def test_what_cannot_be_sent_to_a_process_is_refused(counter_id: str) -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(UsageError, match="not the policy itself"):
            evaluate(RandomPolicy(0), counter_id, 3, workers=pool)
        with pytest.raises(UsageError, match="can be imported by its name"):
            evaluate(lambda envs: RandomPolicy(0), counter_id, 3, workers=pool)
    with pytest.raises(UsageError, match="at least 1, got 0"):
        WorkerPool(0)


def test_counts_of_an_endpoint_reach_the_record(counter_id: str, tmp_path: Path) -> None:
    class Endpoint:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            return [CountedAction("up" if info["turn"] < 1 else "stop", Usage(10, 2, 0.25)) for info in infos]

    run = play(counter_id, tmp_path, Endpoint())
    assert all((r.prompt_tokens, r.sampled_tokens, r.cost) == (20, 4, 0.5) for r in run.records)
    assert (run.prompt_tokens, run.sampled_tokens, run.cost) == (400, 80, 10.0)
    assert read_evaluation(tmp_path).cost == 10.0
    assert run.to_json()["totals"]["cost"] == 10.0


def test_a_run_has_one_writer_at_a_time(counter_id: str, tmp_path: Path) -> None:
    play(counter_id, tmp_path)
    # Another opening of the file is as good as another process: the lock belongs to the opening.
    held = pytest.raises(UsageError, match="Another process is writing")
    with Recording(tmp_path, read_settings(tmp_path)), held:
        play(counter_id, tmp_path)
    assert play(counter_id, tmp_path).errors == 0


def test_runs_are_found_below_a_folder(counter_id: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no recorded run"):
        recorded_runs(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        recorded_runs(tmp_path / "nowhere")
    play(counter_id, tmp_path / "b" / "x")
    play(counter_id, tmp_path / "a")
    assert recorded_runs(tmp_path) == [tmp_path / "a", tmp_path / "b" / "x"]


def test_timing_is_no_part_of_a_comparison() -> None:
    slow = TaskRecord("t", 1.0, True, 2, 0, False, seconds=9.0, elapsed=10.0)
    assert slow == TaskRecord("t", 1.0, True, 2, 0, False)
    assert TaskRecord.from_json(slow.to_json()).seconds == 9.0
