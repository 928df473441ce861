"""Scripted policies on the counter world."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Policy
from cmat_gym.core.testing import CounterEnv
from cmat_gym.policies.scripted import ExpertPolicy, FunctionPolicy, RandomPolicy


def play(env: CounterEnv, policy: Policy, seed: int) -> tuple[bool, int]:
    observation, info = env.reset(seed=seed)
    done = False
    while not done:
        observation, _, terminated, truncated, info = env.step(policy.act([observation], [info])[0])
        done = terminated or truncated
    return info["success"], info["turn"]


def test_expert_solves_every_task_in_the_cost_it_promises() -> None:
    env = CounterEnv()
    expert = ExpertPolicy(env)
    for seed in range(20):
        env.reset(seed=seed)
        promised = env._cost_to_go()
        assert play(env, expert, seed) == (True, promised)


def test_expert_serves_a_part_of_its_environments_in_any_order() -> None:
    envs = [CounterEnv() for _ in range(3)]
    infos = [env.reset(seed=seed)[1] for seed, env in enumerate(envs)]
    actions = ExpertPolicy(envs).act(["", ""], [infos[2], infos[0]])
    assert actions == [envs[2].expert_action(), envs[0].expert_action()]


def test_mistakes_lower_the_success() -> None:
    env = CounterEnv()
    flawed = ExpertPolicy(env, mistakes=0.5, seed=1)
    assert sum(play(env, flawed, seed)[0] for seed in range(30)) < 25


def test_expert_names_an_environment_it_does_not_know() -> None:
    env, other = CounterEnv(), CounterEnv()
    env.reset(seed=0)
    _, info = other.reset(seed=1)
    with pytest.raises(UsageError, match="being stepped"):
        ExpertPolicy(env).act([""], [info])


def test_mistakes_must_be_a_probability() -> None:
    with pytest.raises(UsageError, match=r"\[0, 1\], got 1.5"):
        ExpertPolicy(CounterEnv(), mistakes=1.5)


def test_random_is_uniform_and_repeats_with_its_seed() -> None:
    infos = [
        {"admissible_actions": ["up", "down", "stop"], "task_id": f"t{number // 50}", "turn": number % 50}
        for number in range(3000)
    ]
    first = RandomPolicy(7).act([""] * 3000, infos)
    assert all(900 < count < 1100 for count in Counter(first).values())
    assert first == RandomPolicy(7).act([""] * 3000, infos)
    assert first != RandomPolicy(8).act([""] * 3000, infos)
    drawn = RandomPolicy(np.random.default_rng(7)).act([""] * 3000, infos)
    assert all(900 < count < 1100 for count in Counter(drawn).values())


def test_a_random_choice_depends_on_seed_task_and_turn_alone() -> None:
    infos = [{"admissible_actions": list("abcdefgh"), "task_id": f"t{number}", "turn": 3} for number in range(40)]
    together = RandomPolicy(1).act([""] * 40, infos)
    policy = RandomPolicy(1)
    assert [policy.act([""], [info])[0] for info in reversed(infos)] == together[::-1]


def test_random_needs_a_list_to_choose_from() -> None:
    with pytest.raises(UsageError, match="lists no admissible actions"):
        RandomPolicy(0).act([""], [{"task_id": "t"}])


def test_function_policy_pairs_observations_with_infos() -> None:
    policy = FunctionPolicy(lambda observation, info: f"{observation}{info['turn']}")
    assert policy.act(["a", "b"], [{"turn": 1}, {"turn": 2}]) == ["a1", "b2"]
