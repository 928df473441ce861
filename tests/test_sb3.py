"""Stable-Baselines3 takes the worlds through `AdmissibleActions`, and learns in them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from cmat_gym import AdmissibleActions, CheckerReward
from cmat_gym.core.registry import WORLDS
from cmat_gym.core.testing import CounterEnv

pytest.importorskip("stable_baselines3", reason="needs the extra sb3")
pytest.importorskip("sb3_contrib", reason="needs the extra sb3")

import torch
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sb3_webshop.py"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The example sets the number of threads of the whole process; what runs after these tests gets its own back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def example() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("sb3_webshop", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("env_id", [world.id for world in WORLDS] + ["cmat-test/Counter-v0"])
@pytest.mark.parametrize("memory", [None, "dual"])
def test_sb3s_own_check_finds_nothing(env_id: str, memory: str | None) -> None:
    env = AdmissibleActions(gym.make(env_id, memory=memory))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)


def test_masks_are_found_where_maskable_ppo_looks_for_them() -> None:
    envs = make_vec_env(lambda: AdmissibleActions(gym.make("cmat/WebShop-v0", memory=None), max_actions=20), n_envs=2)
    assert is_masking_supported(envs)
    envs.reset()
    masks = get_action_masks(envs)
    assert masks.shape == (2, 20)
    assert masks.sum(axis=1).tolist() == [1, 1]  # the one listed search


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "steps", "score_gain", "success_gain"), [("ppo", 20_000, 0.25, 0.0), ("maskable", 30_000, 0.35, 0.12)]
)
def test_they_learn_to_shop(example: Any, algorithm: str, steps: int, score_gain: float, success_gain: float) -> None:
    """On held-out tasks. Gains of three seeds: score 0.35-0.42 (PPO), 0.52-0.58 and success 0.30-0.41 (MaskablePPO)."""
    before, after = example.learn(algorithm, steps)
    assert after.score > before.score + score_gain
    assert after.success >= before.success + success_gain


@pytest.mark.slow
def test_a_critic_of_ours_is_their_reward() -> None:
    """A counter that pays nothing by itself: what is learned comes from the critic alone."""

    def likes_down(observation: str, action: str, info: Any) -> float:
        return float(action == "down")

    def make() -> AdmissibleActions:
        return AdmissibleActions(CheckerReward(CounterEnv(), likes_down), max_actions=4)

    model = PPO(
        "MlpPolicy", make_vec_env(make, n_envs=4, seed=0), n_steps=128, learning_rate=1e-3, seed=0, device="cpu"
    )

    def mean_reward() -> float:
        env = make()
        observation, _ = env.reset(seed=1)
        rewards: list[float] = []
        for _ in range(400):
            action, _ = model.predict(observation, deterministic=False)
            observation, reward, terminated, truncated, _ = env.step(int(action))
            rewards.append(float(reward))
            if terminated or truncated:
                observation, _ = env.reset()
        return float(np.mean(rewards))

    before = mean_reward()
    model.learn(6_000)
    assert before < 0.6
    assert mean_reward() > 0.8
