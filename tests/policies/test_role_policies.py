"""Several roles on one backbone, and different models in different roles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import small_model
from toy_worlds import PickEnv

from cmat_gym.core.collaboration import Collaboration
from cmat_gym.core.critics import PolicyCritic
from cmat_gym.core.errors import UsageError
from cmat_gym.core.memory import DualMemory, MemoryConfig
from cmat_gym.core.reflection import PolicyReflector, RuleReflector
from cmat_gym.core.rollout import rollout
from cmat_gym.core.user import PolicyUser
from cmat_gym.policies.backbone import ACTOR, AdapterSettings
from cmat_gym.policies.checker import Checker
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.roles import RolePolicy
from cmat_gym.policies.scripted import FunctionPolicy
from cmat_gym.trainers.demonstrations import Demonstration, collect_expert
from cmat_gym.trainers.sft_config import SFTStageConfig
from cmat_gym.trainers.sft_trainer import SFTStage

GREEDY = Sampling(max_new_tokens=4, temperature=0)
INFO = {"task_id": "pick/x"}


def make_policy() -> LoRAPolicy:
    return LoRAPolicy(small_model(), PickEnv(), adapter=AdapterSettings(rank=8), sampling=GREEDY)


def test_a_role_begins_as_the_base_model_and_learns_apart(tmp_path: Path) -> None:
    """Fails when a role speaks through the actor's adapter, trains it, or is trained through it."""
    policy = make_policy()
    args = SFTStageConfig(output_dir=str(tmp_path), use_cpu=True, learning_rate=1e-2, num_train_epochs=6)
    SFTStage(policy, collect_expert(PickEnv(), 60), args).train()
    actor = [parameter.clone() for parameter in policy.backbone.adapter_parameters(ACTOR)]
    feedback = RolePolicy(policy, "feedback", instructions="say")
    with policy.backbone.use(None):
        ids = torch.tensor([feedback.prompt_ids("Pick one", INFO)])
        base = policy.backbone(ids, torch.ones_like(ids), keep=1).logits
    with policy.backbone.use("feedback"):
        torch.testing.assert_close(policy.backbone(ids, torch.ones_like(ids), keep=1).logits, base)
    words = [Demonstration(f"Pick {word}", f"say {word}", "pick/x") for word in ("one", "two", "three")] * 20
    SFTStage(feedback, words, args).train()
    assert feedback.act(["Pick one", "Pick two"], [INFO] * 2) == ["say one", "say two"]
    assert policy.backbone.active == ACTOR
    for before, after in zip(actor, policy.backbone.adapter_parameters(ACTOR), strict=True):
        assert torch.equal(before, after)
    assert all(t.success for t in rollout([PickEnv()], policy, list(range(9))))
    policy.save(tmp_path / "saved")
    loaded = LoRAPolicy.load(tmp_path / "saved", small_model(), sampling=GREEDY)
    again = RolePolicy(loaded, "feedback", instructions="say")
    assert again.act(["Pick two"], [INFO]) == ["say two"]


def test_all_roles_on_one_backbone(tmp_path: Path) -> None:
    """Fails when switching adapters between the roles leaves the wrong one on for the actor."""
    policy = make_policy()
    args = SFTStageConfig(output_dir=str(tmp_path), use_cpu=True, learning_rate=1e-2, num_train_epochs=6)
    SFTStage(policy, collect_expert(DualMemory(PickEnv(), MemoryConfig(window=0)), 60), args).train()
    collaboration = Collaboration(
        policy,
        user=PolicyUser(RolePolicy(policy, "user")),
        checker=Checker(policy),
        reflector=PolicyReflector(RolePolicy(policy, "reflection"), fallback=RuleReflector()),
    )
    envs = [DualMemory(PickEnv(), MemoryConfig(window=0)) for _ in range(3)]
    records = collaboration.play(envs, list(range(9)))
    assert [record.success for record in records] == [True] * 9
    assert all(record.turns[0].sample is not None for record in records)
    assert "value" in records[0].turns[0].notes["review"]
    assert policy.backbone.adapters == [ACTOR, "user", "reflection"]


def test_different_models_in_different_roles() -> None:
    """Fails when a role takes its tokenizer, weights or adapter from another role's model."""
    judge = LoRAPolicy(small_model(seed=5, hidden=16), sampling=GREEDY)
    critic = PolicyCritic(judge)
    pick = FunctionPolicy(lambda observation, info: observation.split()[-1])
    records = Collaboration(pick, checker=critic, user=PolicyUser(make_policy())).play([PickEnv()], [0, 1])
    assert all(record.success for record in records)
    assert critic.unreadable == sum(len(record.turns) for record in records)  # a random model mumbles


@pytest.mark.parametrize("name", ["actor", "checker", "reference", "lora_A", "layers", "two words", "a.b", ""])
def test_names_that_cannot_be_told_apart_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="adapter"):
        RolePolicy(make_policy(), name)


def test_budgets_in_the_models_own_tokens() -> None:
    """Fails when `count_tokens` counts characters or the prompt's other parts."""
    policy = make_policy()
    assert policy.count_tokens("Pick one, 12") == 5
    env = DualMemory(PickEnv(), MemoryConfig(window=3, window_budget=9, count=policy.count_tokens))
    env.reset(seed=0)
    for _ in range(3):
        page = env.step("one")[0]
    turns = [line for line in page.splitlines() if " -> " in line]
    assert turns
    assert len(turns) == 1 or sum(policy.count_tokens(turn) + 1 for turn in turns) <= 9
