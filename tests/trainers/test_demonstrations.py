"""Slips: the refused actions among demonstrations."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np

from cmat_gym.core.trajectory import read_trajectories
from cmat_gym.core.wrappers import RecordTrajectory
from cmat_gym.trainers.demonstrations import Slips, collect_expert, misspell


def test_a_misspelt_action_differs_in_one_place() -> None:
    np_random = np.random.default_rng(0)
    for _ in range(200):
        wrong = misspell("click[b123456]", np_random)
        if len(wrong) == len("click[b123456]"):
            assert sum(a != b for a, b in zip(wrong, "click[b123456]", strict=True)) <= 1
        else:
            assert len(wrong) == len("click[b123456]") - 1


def test_slips_come_at_their_rate_and_are_made_again() -> None:
    slips = Slips(np.random.default_rng(0), rate=0.2, stale=0.0, stubborn=0.5)
    done = [slips.instead_of(f"action {i}") for i in range(4000)]
    runs, length = [], 0
    for before, now in zip([None, *done], [*done, None], strict=True):
        if now is not None and now == before:
            length += 1
        else:
            runs += [length] if length else []
            length = int(now is not None)
    assert abs(len(runs) / sum(slip is None for slip in done) - 0.25) < 0.05  # 0.2 / (1 - 0.2) a turn without one
    assert abs(np.mean(runs) - 2.0) < 0.2  # geometric


def test_stale_actions_were_right_somewhere_else() -> None:
    slips = Slips(np.random.default_rng(0), rate=0.5, stale=1.0, stubborn=0.0)
    seen: set[str] = set()
    for i in range(200):
        slip = slips.instead_of(f"action {i}")
        if slip is None:
            seen.add(f"action {i}")
        else:
            assert not seen or slip in seen


def test_an_episode_begins_without_the_last_ones_slip() -> None:
    slips = Slips(np.random.default_rng(0), rate=1.0, stale=0.0, stubborn=1.0)
    first = slips.instead_of("one")
    assert slips.instead_of("two") == first
    slips.begin()
    assert slips.instead_of("two") != first


def test_the_expert_answers_in_the_states_that_slips_lead_to(tmp_path: Path) -> None:
    env = RecordTrajectory(gym.make("cmat-test/Counter-v0", max_turns=30), tmp_path / "played.jsonl")
    demonstrations = collect_expert(env, 20, slips=0.4)
    assert {demonstration.answer for demonstration in demonstrations} <= {"up", "down", "stop"}
    env.close()
    episodes = read_trajectories(tmp_path / "played.jsonl")
    refused = [turn for episode in episodes for turn in episode.turns if not turn.valid_action]
    assert len(refused) > 0.08 * len(demonstrations)
