"""What may happen to a run: it is killed, the disk is full, a number is none, a critic or a world breaks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import small_model
from toy_worlds import PickEnv

from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.core.memory import DualMemory
from cmat_gym.core.roles import Info, Review
from cmat_gym.policies.backbone import AdapterSettings
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers import learner
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.actor_critic_trainer import ActorCriticTrainer
from cmat_gym.trainers.losses import policy_terms

Build = Callable[..., ActorCriticTrainer]


def build(folder: Path, make: Any = None, *, critic: Any = None, **settings: Any) -> ActorCriticTrainer:
    """A miniature run that writes a checkpoint after every iteration."""
    small: dict[str, Any] = {
        "iterations": 4,
        "num_envs": 4,
        "turns_per_env": 4,
        "max_new_tokens": 2,
        "minibatch_turns": 8,
        "critic_warmup": 1,
        "use_cpu": True,
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": 1,
    }
    policy = LoRAPolicy(small_model(), adapter=AdapterSettings(rank=8))
    args = ActorCriticConfig(**{"output_dir": str(folder), **small, **settings})
    return ActorCriticTrainer(policy, make or (lambda: DualMemory(PickEnv())), args, critic=critic)


@pytest.fixture
def run(tmp_path: Path) -> Build:
    """A function that builds such a run in the test's folder."""
    return lambda *args, **settings: build(tmp_path, *args, **settings)


def curves(trainer: ActorCriticTrainer) -> str:
    """Everything that was logged but the clock; as text, in which NaN equals itself."""
    history = trainer.state.log_history
    return json.dumps(
        [{k: v for k, v in entry.items() if not k.startswith("time/")} for entry in history], sort_keys=True
    )


def finite(trainer: ActorCriticTrainer) -> bool:
    return all(bool(torch.isfinite(weight).all()) for weight in trainer.policy.backbone.state_dict().values())


# Killed ---------------------------------------------------------------------------------------------------------------


def train_until_killed(folder: Path, moment: str) -> None:
    """Run in a process of its own: ends it with SIGKILL in the third iteration."""
    torch.set_num_threads(1)
    trainer = build(folder)
    step, save = trainer.collector._step, torch.save

    def kill(*args: Any, **kwargs: Any) -> Any:
        if trainer.state.global_step == (2 if moment == "playing" else 3):
            os.kill(os.getpid(), signal.SIGKILL)
        return (step if moment == "playing" else save)(*args, **kwargs)  # type: ignore[operator]

    if moment == "playing":
        trainer.collector._step = kill  # type: ignore[method-assign]
    else:  # weights and trainer state are written, the optimizer is not
        torch.save = kill  # type: ignore[assignment]
    trainer.train()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["playing", "saving"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, moment: str) -> None:
    """In the middle of an iteration, and in the middle of writing the checkpoint that replaces the only one."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    program = f"from test_robustness import *; train_until_killed(Path({str(killed)!r}), {moment!r})"
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert [path.name for path in killed.glob("checkpoint-*")] == ["checkpoint-2"]

    resumed = build(killed)
    resumed.train(resume_from_checkpoint=True)
    uninterrupted = build(whole)
    uninterrupted.train()
    assert curves(resumed) == curves(uninterrupted)
    others = uninterrupted.policy.backbone.state_dict()
    assert all(torch.equal(weight, others[name]) for name, weight in resumed.policy.backbone.state_dict().items())
    assert sorted(path.name for path in killed.iterdir()) == ["checkpoint-4"], "what the killed process left is gone"


# A full disk ----------------------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of the write instead of a signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("size", [100, 30_000, 50_000])  # nothing fits; small files do; all but the optimizer's do
def test_a_full_disk_leaves_a_loadable_checkpoint(run: Build, tmp_path: Path, size: int) -> None:
    trainer = run()
    trainer.train()
    trainer.state.global_step = 5
    with files_of_at_most(size), pytest.raises(BackendError, match=r"checkpoint-5 cannot be written.*checkpoint-4"):
        trainer.save_checkpoint()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4"]
    resumed = run(iterations=5)
    resumed.train(resume_from_checkpoint=True)
    assert [entry["step"] for entry in resumed.state.log_history] == [1, 2, 3, 4, 5]


# Numbers that are none ------------------------------------------------------------------------------------------------


def test_a_gradient_that_is_not_finite_moves_nothing(
    run: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def now_and_then(*args: Any) -> Any:
        calls.append(len(calls))
        terms = policy_terms(*args)
        return terms._replace(surrogate=terms.surrogate * (float("nan") if len(calls) == 2 else 1.0))

    monkeypatch.setattr(learner, "policy_terms", now_and_then)
    trainer = run()
    trainer.train()
    assert finite(trainer)
    skipped = [entry.get("policy/skipped_updates") for entry in trainer.state.log_history]
    assert skipped == [None, 0.25, 0.0, 0.0]  # one of four updates of the first iteration after the warm-up
    assert "25% of the policy's updates were left out" in caplog.text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_ends_its_episode(run: Build, number: float) -> None:
    class Odd(PickEnv):
        def step(self, action: str) -> Any:
            observation, _, terminated, truncated, info = super().step(action)
            return observation, number if self.done else 0.0, terminated, truncated, info

    trainer = run(Odd)
    trainer.train()
    assert finite(trainer)
    failures = [entry["rollout/failures"] for entry in trainer.state.log_history]
    assert sum(failures) > 0
    assert all(
        entry["rollout/turns"] == 16 - failed for entry, failed in zip(trainer.state.log_history, failures, strict=True)
    )


# A critic that breaks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("advantage", "disliked"), [("turn", "01234"), ("group_relative", "01")])
def test_a_critic_that_fails_ends_the_episodes_it_could_not_judge(
    run: Build, caplog: pytest.LogCaptureFixture, advantage: str, disliked: str
) -> None:
    def picky(observation: str, action: str, info: Info) -> float:
        if info["task_id"][-1] in disliked:  # of nine tasks
            raise LookupError("no opinion on this task")
        return 1.0

    trainer = run(critic=picky, advantage=advantage, group_size=2)
    trainer.train()
    unjudged = [entry["rollout/unjudged"] for entry in trainer.state.log_history]
    assert sum(unjudged) > 0
    assert [entry["rollout/failures"] for entry in trainer.state.log_history] == unjudged
    if advantage == "turn":
        assert [entry["rollout/turns"] for entry in trainer.state.log_history] == [16 - failed for failed in unjudged]
    assert "LookupError: no opinion on this task" in caplog.text
    assert "episodes were ended" in caplog.text
    assert finite(trainer)


def test_a_critic_that_always_fails_is_an_error(run: Build) -> None:
    def broken(observation: str, action: str, info: Info) -> float:
        raise LookupError("no opinion at all")

    with pytest.raises(BackendError, match="the critic on each action"):
        run(critic=broken).train()


def test_a_critic_with_too_few_reviews_is_a_callers_mistake(run: Build) -> None:
    class Short:
        def review(self, observations: Any, actions: Any, infos: Any) -> list[Review]:
            return [Review(reward=1.0)]

    with pytest.raises(UsageError, match="1 reviews for 4 actions"):
        run(critic=Short()).train()
