"""Whole runs of `ActorCriticTrainer` on toy worlds: it learns, repeats, resumes, and survives what breaks."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from small_models import small_model
from toy_worlds import PickEnv

from cmat_gym.core.errors import BackendError, UnknownNameError, UsageError
from cmat_gym.core.memory import DualMemory
from cmat_gym.core.roles import Info, Review
from cmat_gym.policies.backbone import ACTOR, AdapterSettings
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers import rollouts
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.actor_critic_trainer import ActorCriticTrainer
from cmat_gym.trainers.gae import following_values
from cmat_gym.trainers.health import Health

SMALL: dict[str, Any] = {
    "iterations": 3,
    "num_envs": 4,
    "turns_per_env": 4,
    "max_new_tokens": 2,
    "minibatch_turns": 8,
    "critic_warmup": 1,
    "use_cpu": True,
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., ActorCriticTrainer]:
    """A function that builds a trainer on the toy world."""

    def build(
        make: Callable[[], gym.Env[Any, Any]] = PickEnv, *, critic: Any = None, **settings: Any
    ) -> ActorCriticTrainer:
        policy = LoRAPolicy(small_model(), adapter=AdapterSettings(rank=8))
        args = ActorCriticConfig(**{"output_dir": str(tmp_path), **SMALL, **settings})
        return ActorCriticTrainer(policy, make, args, critic=critic)

    return build


def curves(trainer: ActorCriticTrainer) -> list[dict[str, float]]:
    """Everything that was logged but the clock."""
    history = trainer.state.log_history
    return [{key: value for key, value in entry.items() if not key.startswith("time/")} for entry in history]


def weights(trainer: ActorCriticTrainer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.policy.backbone.state_dict().items()}


def success(policy: LoRAPolicy, episodes: int = 60) -> float:
    """Share of episodes solved by sampled play."""
    env = PickEnv()
    solved = 0
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        done = False
        while not done:
            observation, _, terminated, truncated, info = env.step(policy.act([observation], [info])[0])
            done = terminated or truncated
        solved += info["success"]
    return solved / episodes


def progress_world() -> gym.Env[Any, Any]:
    return PickEnv(reward="progress", discount=0.95)


# It learns ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("advantage", ["turn", "token", "group_relative", "same_state_group"])
def test_the_return_rises(run: Callable[..., ActorCriticTrainer], advantage: str) -> None:
    trainer = run(
        progress_world,
        advantage=advantage,
        iterations=30,
        num_envs=16,
        turns_per_env=16,
        max_new_tokens=1,
        minibatch_turns=64,
        learning_rate=4e-3,
        lr_scheduler_type="constant",
        kl_coef=0.0,
    )
    trainer.policy.sampling = Sampling(max_new_tokens=1)
    before = success(trainer.policy)
    trainer.train()
    history = [entry for entry in trainer.state.log_history if "rollout/return" in entry]
    early, late = (np.mean([entry["rollout/return"] for entry in part]) for part in (history[:3], history[-3:]))
    assert late > early + 0.1
    assert success(trainer.policy) > before + 0.05


def test_the_critic_learns_known_values_through_truncation(run: Callable[..., ActorCriticTrainer]) -> None:
    """A reward of 1 a turn for ever is worth 1 / (1 - γ), though every episode is cut off after six turns."""
    trainer = run(
        critic=lambda observation, action, info: 1.0,
        gamma=0.8,
        iterations=25,
        critic_warmup=25,
        critic_learning_rate=1e-2,
        critic_epochs=10,
        lr_scheduler_type="constant",
        num_envs=8,
        turns_per_env=8,
    )
    trainer.train()
    values = trainer.policy.state_values(["Pick one", "Pick two", "Pick three"], [{"task_id": "pick/x"}] * 3)
    assert values == pytest.approx([5.0] * 3, rel=0.1)


def test_forgetting_truncation_would_show(
    run: Callable[..., ActorCriticTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = following_values
    monkeypatch.setattr(rollouts, "following_values", lambda v, ended, end: np.where(ended, 0.0, right(v, ended, end)))
    with pytest.raises(AssertionError):
        test_the_critic_learns_known_values_through_truncation(run)


# It repeats and resumes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"checker": "separate"}, {"advantage": "token"}, {"trunk_gradient": 0.5}])
def test_equal_seeds_give_equal_curves(run: Callable[..., ActorCriticTrainer], settings: dict[str, Any]) -> None:
    first, second = run(**settings), run(**settings)
    first.train()
    second.train()
    assert curves(first) == curves(second)
    for key, value in weights(first).items():
        assert torch.equal(value, weights(second)[key]), key
    other = run(seed=1, **settings)
    other.train()
    assert curves(first) != curves(other)


def test_curves_do_not_depend_on_what_ran_before(run: Callable[..., ActorCriticTrainer]) -> None:
    """The global generators, of which anything may have drawn, and memory that others have used."""
    first = run()
    first.train()
    random.seed(3)
    np.random.seed(4)  # noqa: NPY002 - the global state is the point
    torch.manual_seed(5)
    used = [torch.rand(size) for size in range(1, 2000, 7)][::2]
    second = run()
    torch.rand(7)
    second.train()
    assert curves(first) == curves(second)
    assert len(used) == 143


@pytest.mark.parametrize(
    "settings", [{}, {"checker": "separate", "reference": "sft"}, {"advantage": "group_relative", "group_size": 2}]
)
def test_resumed_run_equals_uninterrupted_run(
    run: Callable[..., ActorCriticTrainer], tmp_path: Path, settings: dict[str, Any]
) -> None:
    def world() -> gym.Env[Any, Any]:
        return DualMemory(progress_world())

    whole = run(world, iterations=5, save_strategy="steps", save_steps=2, **settings)
    whole.train()
    resumed = run(world, iterations=5, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert curves(resumed) == curves(whole)
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[key]), key
    for one, other in zip(whole.collector.state(), resumed.collector.state(), strict=True):
        assert one[1:] == other[1:]


def test_resume_finds_the_last_checkpoint(run: Callable[..., ActorCriticTrainer]) -> None:
    with pytest.raises(UsageError, match="no checkpoint to resume from"):
        run().train(resume_from_checkpoint=True)
    run(save_strategy="steps", save_steps=1, save_total_limit=1).train()
    resumed = run(iterations=4)
    resumed.train(resume_from_checkpoint=True)
    assert [entry["step"] for entry in resumed.state.log_history] == [1, 2, 3, 4]


def test_checkpoint_is_a_policy(run: Callable[..., ActorCriticTrainer], tmp_path: Path) -> None:
    trainer = run(save_strategy="steps", save_steps=3)
    trainer.train()
    again = LoRAPolicy.load(tmp_path / "checkpoint-3", small_model(), sampling=Sampling(4, temperature=0))
    trainer.policy.sampling = again.sampling
    info: list[Info] = [{"task_id": "pick/x"}]
    assert again.act(["Pick one"], info)[0].sample == trainer.policy.act(["Pick one"], info)[0].sample


# What happens on the way ----------------------------------------------------------------------------------------------


def test_steps_really_happen(run: Callable[..., ActorCriticTrainer]) -> None:
    trainer = run()
    before = weights(trainer)
    trainer.train()
    last = trainer.state.log_history[-1]
    assert last["policy/updates"] == 2 * 2  # epochs x minibatches
    assert last["rollout/turns"] == 16
    assert last["rollout/drift"] == 0
    assert last["policy/logprob_error"] < 1e-4
    for parameter in ("actor", "value_head.state"):
        keys = [key for key in before if parameter in key]
        assert keys
        assert not any(torch.equal(before[key], weights(trainer)[key]) for key in keys if "lora_B" in key)


def test_warmup_leaves_the_actor_alone(run: Callable[..., ActorCriticTrainer]) -> None:
    trainer = run(iterations=2, critic_warmup=2)
    before = [p.clone() for p in trainer.policy.backbone.adapter_parameters(ACTOR)]
    trainer.train()
    after = trainer.policy.backbone.adapter_parameters(ACTOR)
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))
    assert "loss/policy" not in trainer.state.log_history[-1]


def test_learning_rates_decay_linearly_and_apart(run: Callable[..., ActorCriticTrainer]) -> None:
    trainer = run(iterations=4, learning_rate=1e-3, critic_learning_rate=2e-3)
    trainer.train()
    assert [e["policy/learning_rate"] for e in trainer.state.log_history] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == [1e-3, 2e-3]


def test_a_critic_is_three_lines(run: Callable[..., ActorCriticTrainer]) -> None:
    def short(observation: str, action: str, info: Info) -> float:
        return 3.0

    trainer = run(critic=short, critic_weight=0.5)
    trainer.train()
    episodes = [e for e in trainer.state.log_history if e.get("rollout/success") == 0.0]
    assert episodes
    for entry in episodes:  # half of the critic's three a turn, half of the world's score
        assert entry["rollout/return"] == pytest.approx(
            1.5 * entry["rollout/episode_turns"] + 0.5 * entry["rollout/score"]
        )


def test_a_critic_object_judges_the_whole_batch(run: Callable[..., ActorCriticTrainer]) -> None:
    class Judge:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def review(self, observations: Any, actions: Any, infos: Any) -> list[Review]:
            self.sizes.append(len(actions))
            return [Review(reward=-1.0)] * len(actions)

    judge = Judge()
    trainer = run(critic=judge, critic_weight=1.0)
    trainer.train()
    assert judge.sizes == [4] * 12
    assert trainer.state.log_history[-1]["rollout/return"] <= -2


def test_a_critic_of_ones_own_as_value_baseline(run: Callable[..., ActorCriticTrainer]) -> None:
    """Fails when the learned head goes on serving as baseline, or the last state of a rollout is not valued."""
    asked: list[tuple[str, str]] = []

    def value(observation: str, action: str, info: Info) -> float:
        asked.append((observation, action))
        return 0.25

    trainer = run(critic=value, critic_use="value", normalize_advantages=False, gamma=0.5, gae_lambda=0.0)
    rows, metrics = trainer.play()
    assert trainer.checker is None
    assert {action for _, action in asked} == {""}
    assert len(asked) > 16  # every turn's state, and where the rollout broke off
    assert [row.values[0] for row in rows] == [0.25] * 16
    assert metrics["critic/value"] == 0.25
    # δ = r + γ V' - V, and the toy pays nothing before the end: most turns are worth 0.5·0.25 - 0.25.
    assert sorted(row.advantages[0] for row in rows)[0] >= -0.25
    assert -0.125 in [row.advantages[0] for row in rows]
    trainer.train()
    assert trainer.state.global_step == 3


def test_a_critic_of_ones_own_as_potential_and_as_filter(run: Callable[..., ActorCriticTrainer]) -> None:
    """Fails when the two uses leave the environments as they are, or go on blending the reward."""
    potential = run(lambda: PickEnv(reward="outcome"), critic=lambda o, a, i: 2.0, critic_use="potential", gamma=0.5)
    rewards = potential.collector.collect(2).rewards
    assert set(np.unique(rewards)) <= {-1.0, -2.0, -1.0 + 1.0, -2.0 + 1.0, -1.0 + 0.5}
    assert -1.0 in rewards  # 0.5·2 - 2 where nothing else happens
    held = run(critic=lambda o, a, i: -1.0, critic_use="filter", max_revisions=3)
    before = [seat.info["turn"] for seat in held.collector._seats]
    held.collector.collect(3)
    assert [seat.info["turn"] for seat in held.collector._seats] == before  # sent back three times in a row
    held.collector.collect(1)
    assert [seat.info["turn"] for seat in held.collector._seats] == [1] * 4
    held.train()


def test_the_gap_between_critic_and_score_is_logged(run: Callable[..., ActorCriticTrainer]) -> None:
    """Fails when reward hacking would not show: a critic that is always content, in a world where nobody succeeds."""
    trainer = run(critic=lambda o, a, i: 1.0, turns_per_env=7)
    trainer.train()
    gaps = [(e["critic/score_gap"], e["rollout/score"]) for e in trainer.state.log_history if "rollout/score" in e]
    assert gaps
    for gap, score in gaps:
        assert gap == pytest.approx(1.0 - score)


@pytest.mark.parametrize("advantage", ["token", "group_relative", "same_state_group"])
def test_a_baseline_that_would_not_be_used_is_refused(run: Callable[..., ActorCriticTrainer], advantage: str) -> None:
    with pytest.raises(UsageError, match="needs advantage='turn'"):
        run(critic=lambda o, a, i: 0.0, critic_use="value", advantage=advantage, group_size=2)


def test_a_failing_world_ends_its_own_episode_only(
    run: Callable[..., ActorCriticTrainer], caplog: pytest.LogCaptureFixture
) -> None:
    count = iter(range(100))

    def world() -> PickEnv:
        env = PickEnv()
        if next(count) == 0:
            env.step = breaks  # type: ignore[method-assign]
        return env

    def breaks(action: str) -> Any:
        raise RuntimeError("the world broke")

    trainer = run(world)
    trainer.train()
    for entry in trainer.state.log_history:
        assert entry["rollout/failures"] == 4
        assert entry["rollout/turns"] == 12
    assert "the world broke" in caplog.text
    assert "4 episodes were ended by failing environments" in caplog.text


def test_a_world_that_always_fails_is_an_error(run: Callable[..., ActorCriticTrainer]) -> None:
    def world() -> PickEnv:
        env = PickEnv()
        env.step = lambda action: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        return env

    with pytest.raises(BackendError, match="every environment failed"):
        run(world).train()


def test_ctrl_c_finishes_the_iteration_and_saves(run: Callable[..., ActorCriticTrainer], tmp_path: Path) -> None:
    asked: list[bool] = []

    def impatient(observation: str, action: str, info: Info) -> float:
        if not asked and trainer.state.global_step == 1:
            asked.append(True)
            signal.raise_signal(signal.SIGINT)
        return 0.0

    before = signal.getsignal(signal.SIGINT)
    trainer = run(critic=impatient, iterations=4)
    trainer.train()
    assert trainer.state.global_step == 2
    assert signal.getsignal(signal.SIGINT) is before
    resumed = run(critic=lambda observation, action, info: 0.0, iterations=4)
    resumed.train(resume_from_checkpoint=True)
    assert [entry["step"] for entry in resumed.state.log_history] == [1, 2, 3, 4]


@pytest.mark.parametrize("settings", [{}, {"checker": "separate"}, {"advantage": "token"}])
def test_sampling_and_training_agree_with_a_tail(tmp_path: Path, settings: dict[str, Any]) -> None:
    policy = LoRAPolicy(small_model(), adapter=AdapterSettings(rank=8, tail=2))
    args = ActorCriticConfig(**{"output_dir": str(tmp_path), **SMALL, "learning_rate": 1e-2, **settings})
    trainer = ActorCriticTrainer(policy, PickEnv, args)
    trainer.train()
    for entry in trainer.state.log_history[1:]:
        assert entry["policy/logprob_error"] < 1e-4


def test_reports_to_tensorboard(run: Callable[..., ActorCriticTrainer], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    run(report_to="tensorboard").train()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert len(events.Scalars("train/critic/explained_variance")) == 3


def test_evaluates_on_the_way(tmp_path: Path) -> None:
    policy = LoRAPolicy(small_model())
    args = ActorCriticConfig(output_dir=str(tmp_path), eval_strategy="steps", eval_steps=2, **SMALL)
    trainer = ActorCriticTrainer(policy, PickEnv, args, evaluator=lambda policy: {"success": 0.25})
    trainer.train()
    assert [e["step"] for e in trainer.state.log_history if "eval/success" in e] == [2, 3]  # and at the end
    with pytest.raises(UsageError, match="evaluator="):
        ActorCriticTrainer(policy, PickEnv, args)


# Settings and warnings ------------------------------------------------------------------------------------------------


def test_impossible_settings_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="group, token, turn"):
        ActorCriticConfig(output_dir=str(tmp_path), advantage="gae")
    with pytest.raises(UsageError, match="gamma must lie in"):
        ActorCriticConfig(output_dir=str(tmp_path), gamma=1.5)
    with pytest.raises(UsageError, match="multiple of group_size"):
        ActorCriticConfig(output_dir=str(tmp_path), advantage="group_relative", num_envs=6, group_size=4)


def test_warnings_when_a_run_goes_wrong() -> None:
    health = Health()
    fine = {"rollout/valid_action": 0.9, "policy/kl": 0.1, "critic/explained_variance": 0.5}
    assert health.check(fine) == []
    assert "Valid actions fell from 0.90 to 0.50" in health.check({**fine, "rollout/valid_action": 0.5})[0]
    assert "2.00 nats a token" in health.check({**fine, "policy/kl": 2.0})[0]
    said = [health.check({**fine, "critic/explained_variance": 0.0}) for _ in range(8)]
    assert [len(warnings) for warnings in said] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert "raise critic_epochs" in said[4][0]


def test_first_weights_of_the_value_head_come_from_the_seed_alone(run: Callable[..., ActorCriticTrainer]) -> None:
    heads = []
    for seed in (0, 0, 1):
        torch.rand(len(heads) + 1)  # whatever was drawn before
        head = run(seed=seed).policy.backbone.value_head
        assert head is not None
        heads.append(torch.cat([weight.flatten() for weight in head.parameters()]))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
