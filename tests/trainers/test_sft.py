"""Supervised fine-tuning on a toy world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import small_model
from toy_worlds import PickEnv

from cmat_gym.core.errors import UnknownNameError, UsageError
from cmat_gym.core.rollout import rollout
from cmat_gym.core.testing import CounterEnv
from cmat_gym.policies.backbone import ACTOR, AdapterSettings
from cmat_gym.policies.checker import Checker
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.scripted import ExpertPolicy, FunctionPolicy
from cmat_gym.trainers.demonstrations import collect_corrections, collect_expert, demonstrations_of
from cmat_gym.trainers.sft_config import SFTStageConfig
from cmat_gym.trainers.sft_trainer import SFTStage

GREEDY = Sampling(max_new_tokens=4, temperature=0)


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., SFTStage]:
    def build(policy: LoRAPolicy, episodes: int = 8, **settings: Any) -> SFTStage:
        args = SFTStageConfig(**{"output_dir": str(tmp_path), "use_cpu": True, "learning_rate": 1e-2, **settings})
        return SFTStage(policy, collect_expert(PickEnv(), episodes), args)

    return build


def make_policy(virtual_tokens: int = 0) -> LoRAPolicy:
    adapter = AdapterSettings(rank=8, virtual_tokens=virtual_tokens)
    return LoRAPolicy(small_model(), PickEnv(), adapter=adapter, sampling=GREEDY)


def test_imitation_solves_the_world(stage: Callable[..., SFTStage]) -> None:
    policy = make_policy()
    tasks = list(range(9))
    assert not any(t.success for t in rollout([PickEnv(), PickEnv()], policy, tasks))
    stage(policy, episodes=60, num_train_epochs=6).train()
    assert all(t.success for t in rollout([PickEnv(), PickEnv()], policy, tasks))


def test_loss_is_that_of_the_answers_tokens_alone(stage: Callable[..., SFTStage]) -> None:
    policy = make_policy()
    trainer = stage(policy)
    examples = [trainer.train_dataset[i] for i in range(5)]
    batch = trainer._collate(examples)
    expected, count = torch.zeros(()), 0
    for example in examples:
        logits = policy.backbone.model(input_ids=torch.tensor([example["input_ids"]])).logits[0]
        for i, label in enumerate(example["labels"]):
            if label != -100:
                expected = expected - torch.log_softmax(logits[i - 1], -1)[label]
                count += 1
    assert count == 5 * 2, "a word and the end, five times"
    torch.testing.assert_close(trainer.compute_loss(policy.backbone, batch), expected / count, rtol=1e-4, atol=1e-5)


def test_tokens_are_those_the_policy_acts_with(stage: Callable[..., SFTStage]) -> None:
    policy = make_policy()
    shown = collect_expert(PickEnv(), 1)[0]
    example = stage(policy, episodes=1).train_dataset[0]
    prompt = policy.prompt_ids(shown.observation, {"task_id": shown.task_id})
    assert example["input_ids"] == prompt + policy.answer_ids(shown.answer)
    assert policy.text(example["input_ids"][len(prompt) :]) == shown.answer


@pytest.mark.parametrize(("method", "lora", "virtual"), [("lora", 1, 0), ("p-tuning", 0, 1), ("both", 1, 1)])
def test_only_what_should_learn_does(stage: Callable[..., SFTStage], method: str, lora: int, virtual: int) -> None:
    policy = make_policy(virtual_tokens=4)
    Checker(policy)
    before = {key: value.clone() for key, value in policy.backbone.state_dict().items()}
    required = {key: parameter.requires_grad for key, parameter in policy.backbone.named_parameters()}
    loss = [entry["loss"] for entry in trained(stage(policy, method=method, num_train_epochs=4, logging_steps=1))]
    assert loss[-1] < loss[0]
    for key, value in policy.backbone.state_dict().items():
        learns = lora if ".lora_" in key else virtual if key.startswith("prompt_encoder") else 0
        assert torch.equal(value, before[key]) != bool(learns), key
    assert {key: parameter.requires_grad for key, parameter in policy.backbone.named_parameters()} == required
    assert all(parameter.grad is None for parameter in policy.backbone.parameters())


def trained(trainer: SFTStage) -> list[dict[str, float]]:
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(("method", "rate"), [("p-tuning", 3e-2), ("both", 1e-2)])
def test_virtual_tokens_learn(stage: Callable[..., SFTStage], method: str, rate: float) -> None:
    """Fails when the virtual tokens get no gradient, or when training and acting put them in different places."""
    policy = make_policy(virtual_tokens=4)
    asked = ["Pick one", "Pick two", "Pick three"]
    trainer = stage(policy, episodes=60, num_train_epochs=8, method=method, learning_rate=rate)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    after = policy.act(asked, [{"task_id": "pick/x"}] * 3)
    assert all(action in ("one", "two", "three") for action in after), after
    assert method == "p-tuning" or after == ["one", "two", "three"]


def test_virtual_tokens_are_saved_with_the_policy(stage: Callable[..., SFTStage], tmp_path: Path) -> None:
    policy = make_policy(virtual_tokens=4)
    stage(policy, method="both").train()
    policy.save(tmp_path / "policy")
    again = LoRAPolicy.load(tmp_path / "policy", small_model(), sampling=GREEDY)
    info = [{"task_id": "pick/x"}]
    assert again.act(["Pick one"], info)[0].sample == policy.act(["Pick one"], info)[0].sample


def test_equal_seeds_train_equal_adapters(stage: Callable[..., SFTStage]) -> None:
    first, second = make_policy(), make_policy()
    stage(first).train()
    stage(second).train()
    pairs = zip(first.backbone.adapter_parameters(ACTOR), second.backbone.adapter_parameters(ACTOR), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)


# Demonstrations -------------------------------------------------------------------------------------------------------


def test_the_expert_is_shown_even_where_a_mistake_is_made() -> None:
    shown = collect_expert(PickEnv(), 20, mistakes=0.5, seed=3)
    assert len(shown) > 2 * 20, "mistakes cost turns"
    assert all(turn.observation == f"Pick {turn.answer}" for turn in shown)


def test_another_policy_acts_and_the_expert_comments() -> None:
    envs = [PickEnv() for _ in range(3)]
    shown = collect_corrections(envs, FunctionPolicy(lambda observation, info: "nonsense"), 5)
    assert len(shown) == 5 * 2, "of six turns with one answer, two are kept"
    assert {turn.answer for turn in shown} <= {"one", "two", "three"}
    assert all(turn.observation.endswith(f"Pick {turn.answer}") for turn in shown)
    assert collect_corrections(envs[:1], ExpertPolicy(envs[0]), 5, seed=7) == collect_corrections(
        envs[:1], ExpertPolicy(envs[0]), 5, seed=7
    )


def test_only_successful_episodes_are_imitated() -> None:
    env = CounterEnv()
    good = rollout([env], ExpertPolicy(env), [0, 1])
    bad = rollout([env], FunctionPolicy(lambda observation, info: "up"), [0])
    assert len(demonstrations_of([*good, *bad])) == sum(len(t.turns) for t in good)


def test_nothing_to_imitate_and_unknown_methods_are_refused(tmp_path: Path) -> None:
    args = SFTStageConfig(output_dir=str(tmp_path), use_cpu=True)
    with pytest.raises(UsageError, match="nothing to imitate"):
        SFTStage(make_policy(), [], args)
    with pytest.raises(UnknownNameError, match="both, lora, p-tuning"):
        SFTStageConfig(output_dir=str(tmp_path), method="prefix")
    with pytest.raises(UsageError, match="virtual_tokens"):
        SFTStage(
            make_policy(),
            collect_expert(PickEnv(), 1),
            SFTStageConfig(output_dir=str(tmp_path), use_cpu=True, method="both"),
        )
