"""One update, looked at closely: gradients against closed forms, on a real (small) transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import small_model
from torch import Tensor
from torch.autograd import backward
from toy_worlds import PickEnv

from cmat_gym.core.roles import Info, TokenSample
from cmat_gym.policies.backbone import ACTOR, CHECKER, AdapterSettings
from cmat_gym.policies.checker import Checker, CheckerSettings
from cmat_gym.policies.generation import Sampling, pad_left
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers import learner as learner_module
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.batches import Row, collate, count_drift, micro_batches, minibatches
from cmat_gym.trainers.learner import Learner, make_optimizer
from cmat_gym.trainers.losses import policy_terms
from cmat_gym.trainers.meters import Meters

OBSERVATIONS = ["Pick one", "It shows 1 2. Pick two", "Pick three", "Stopped"]
INFOS: list[Info] = [{"task_id": "pick/x"}] * len(OBSERVATIONS)
PLAIN = {"kl_coef": 0.0, "entropy_coef": 0.0, "normalize_advantages": False, "epochs": 1, "clip_range": 0.2}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., ActorCriticConfig]:
    def make(**kwargs: Any) -> ActorCriticConfig:
        return ActorCriticConfig(**{"output_dir": str(tmp_path), "use_cpu": True, **PLAIN, **kwargs})

    return make


def make_policy(mode: str | None = "shared", max_new_tokens: int = 5) -> LoRAPolicy:
    policy = LoRAPolicy(
        small_model(), PickEnv(), adapter=AdapterSettings(rank=4), sampling=Sampling(max_new_tokens), seed=1
    )
    policy.stop_ids = frozenset(range(0, 60, 5))  # so that actions have different lengths
    if mode is not None:
        checker = Checker(policy, CheckerSettings(mode, width=8))
        torch.nn.init.normal_(list(checker.head.state.parameters())[-2])
    generator = torch.Generator().manual_seed(5)
    for name in policy.backbone.adapters:
        for parameter in policy.backbone.adapter_parameters(name):
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return policy


def make_learner(policy: LoRAPolicy, args: ActorCriticConfig) -> Learner:
    return Learner(policy, args, make_optimizer(policy, args), np.random.default_rng(0))


def play(policy: LoRAPolicy) -> list[Row]:
    """Turns with made-up advantages and returns."""
    rows = []
    actions = policy.act(OBSERVATIONS, INFOS)
    for i, action in enumerate(actions):
        value = action.sample.value or 0.0
        rows.append(
            Row(
                sample=action.sample,
                advantages=np.full(len(action.sample.token_ids), [0.7, -1.1, 0.4, 2.0][i]),
                values=np.array([value]),
                returns=np.array([value + [0.7, -1.1, 0.4, 2.0][i]]),
                domain="pick",
                hidden=None if policy.last_hidden is None else policy.last_hidden[i : i + 1],
            )
        )
    return rows


def log_likelihood(policy: LoRAPolicy, sample: TokenSample) -> Tensor:
    """log π(a_t | s_t), written down as directly as possible: one row, no padding, no keeping."""
    ids = torch.tensor([[*sample.prompt_ids, *sample.token_ids]])
    logits = policy.backbone.model(input_ids=ids).logits[0]
    first = len(sample.prompt_ids)
    terms = [torch.log_softmax(logits[first + i - 1], -1)[t] for i, t in enumerate(sample.token_ids)]
    return torch.stack(terms).sum()


def gradients(policy: LoRAPolicy, adapter: str = ACTOR) -> Tensor:
    parameters = policy.backbone.adapter_parameters(adapter)
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])


# The actor's gradient -------------------------------------------------------------------------------------------------


def check_delta_rule(settings: Callable[..., ActorCriticConfig]) -> None:
    """With fresh samples and nothing added, the gradient is the source's: Σ δ_t ∇log π(a_t | s_t)."""
    policy = make_policy()
    rows = play(policy)
    backward(torch.stack([-row.advantages[0] * log_likelihood(policy, row.sample) for row in rows]).sum())
    expected = gradients(policy) / len(rows)
    policy.backbone.zero_grad()
    batch = collate(rows, policy.pad_id, policy.backbone.device)
    backward(make_learner(policy, settings()).actor_loss(batch, turns=len(rows)).loss)
    torch.testing.assert_close(gradients(policy), expected, rtol=1e-3, atol=1e-5)
    assert expected.norm() > 1e-2


def test_delta_rule(settings: Callable[..., ActorCriticConfig]) -> None:
    check_delta_rule(settings)


def test_micro_batches_sum_to_the_whole(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy()
    rows = play(policy)
    learner = make_learner(policy, settings(entropy_coef=0.1))
    backward(learner.actor_loss(collate(rows, 0, policy.backbone.device), turns=len(rows)).loss)
    whole = gradients(policy)
    policy.backbone.zero_grad()
    for micro in micro_batches(rows, tokens=30):
        backward(learner.actor_loss(collate(micro, 0, policy.backbone.device), turns=len(rows)).loss)
    torch.testing.assert_close(gradients(policy), whole, rtol=1e-3, atol=1e-6)


def test_critic_rule(settings: Callable[..., ActorCriticConfig]) -> None:
    """The critic's gradient is the source's: -Σ δ_t ∇V(s_t)."""
    policy = make_policy("separate")
    rows = play(policy)
    with policy.backbone.use(CHECKER):
        total = torch.zeros(())
        for row in rows:
            ids, mask = pad_left([row.sample.prompt_ids], 0, policy.backbone.device)
            value = policy.backbone.value_head(policy.backbone(ids, mask, keep=1).hidden[:, -1])  # type: ignore[misc]
            total = total - float(row.returns[0] - row.values[0]) * value.sum()
    backward(total)
    expected = gradients(policy, CHECKER) / len(rows)
    policy.backbone.zero_grad()
    learner = make_learner(policy, settings(checker="separate"))
    batch = collate(rows, 0, policy.backbone.device)
    with policy.backbone.use(CHECKER):
        backward(learner._value_terms(learner._forward(batch).hidden, batch).sum() / len(rows))
    torch.testing.assert_close(gradients(policy, CHECKER), expected, rtol=1e-3, atol=1e-5)
    assert expected.norm() > 1e-2


def bandit_rows(policy: LoRAPolicy, rewards: Tensor) -> tuple[list[Row], Tensor]:
    """Every one-token action once, weighed by its probability: the expectation over actions, without chance."""
    prompt = tuple(policy.prompt_ids("Pick one", INFOS[0]))
    ids, mask = pad_left([prompt], 0, policy.backbone.device)
    probabilities = policy.backbone(ids, mask, keep=1).logits[0, -1].softmax(-1)
    rows = []
    for token, probability in enumerate(probabilities.tolist()):
        sample = TokenSample(prompt, (token,), (float(np.log(probability)),))
        advantage = probability * (float(rewards[token]) - 0.37)  # any baseline will do
        rows.append(Row(sample, np.array([advantage]), np.zeros(1), np.zeros(1), "pick"))
    return rows, probabilities


def test_bandit_gradient_is_the_gradient_of_the_expected_reward(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy(None)
    rewards = torch.linspace(-1, 1, policy.backbone.config.vocab_size)
    rows, probabilities = bandit_rows(policy, rewards)
    backward(-(probabilities * rewards).sum())
    exact = gradients(policy)
    policy.backbone.zero_grad()
    backward(make_learner(policy, settings()).actor_loss(collate(rows, 0, policy.backbone.device), turns=1).loss)
    torch.testing.assert_close(gradients(policy), exact, rtol=1e-3, atol=1e-6)


def test_bandit_gradient_from_samples(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy(None, max_new_tokens=1)
    rewards = torch.linspace(-1, 1, policy.backbone.config.vocab_size)
    _, probabilities = bandit_rows(policy, rewards)
    backward(-(probabilities * rewards).sum())
    exact = gradients(policy)
    policy.backbone.zero_grad()
    actions = policy.act(["Pick one"] * 4000, [INFOS[0]] * 4000)
    rows = [
        Row(a.sample, np.array([float(rewards[a.sample.token_ids[0]])]), np.zeros(1), np.zeros(1), "pick")
        for a in actions
    ]
    learner = make_learner(policy, settings())
    for micro in micro_batches(rows, tokens=4000):
        backward(learner.actor_loss(collate(micro, 0, policy.backbone.device), turns=len(rows)).loss)
    assert torch.cosine_similarity(gradients(policy), exact, dim=0) > 0.95


# Planted bugs ---------------------------------------------------------------------------------------------------------


def shifted(logits: Tensor, tokens: Tensor) -> Tensor:
    """Reads each token's probability one position late."""
    logits = torch.cat([logits[:, 1:], logits[:, -1:]], dim=1)
    return logits.gather(-1, tokens[..., None]).squeeze(-1) - logits.logsumexp(-1)


def wrong_sign(logprobs: Tensor, old: Tensor, advantages: Tensor, clip_range: float) -> Any:
    return policy_terms(logprobs, old, -advantages, clip_range)


@pytest.mark.parametrize(("name", "bug"), [("log_probabilities", shifted), ("policy_terms", wrong_sign)])
def test_planted_bugs_break_the_delta_rule(
    settings: Callable[..., ActorCriticConfig], monkeypatch: pytest.MonkeyPatch, name: str, bug: Any
) -> None:
    monkeypatch.setattr(learner_module, name, bug)
    with pytest.raises(AssertionError):
        check_delta_rule(settings)


def test_a_shifted_mask_is_drift() -> None:
    policy = make_policy()
    rows = play(policy)
    batch = collate(rows, 0, policy.backbone.device)
    assert len({len(row.sample.token_ids) for row in rows}) > 1
    assert count_drift(batch, rows) == 0
    assert count_drift(batch._replace(action_mask=torch.roll(batch.action_mask, 1, dims=1)), rows) > 0
    retokenised = [replace(rows[0], sample=replace(rows[0].sample, token_ids=(1, 2, 3))), *rows[1:]]
    assert count_drift(batch, retokenised) == 1


# A whole update -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["shared", "separate"])
def test_everything_that_should_learn_moves_and_nothing_else(
    settings: Callable[..., ActorCriticConfig], mode: str
) -> None:
    policy = make_policy(mode)
    args = settings(checker=mode, kl_coef=0.1, entropy_coef=0.01, critic_epochs=2)
    learner = make_learner(policy, args)
    before = {key: value.clone() for key, value in policy.backbone.state_dict().items()}
    rows = play(policy)
    learner.update_critic(rows, warmup=False)
    metrics = learner.update_actor(rows)
    for key, value in policy.backbone.state_dict().items():
        should_learn = ".lora_" in key or key.startswith(("value_head.state", "value_head.action"))
        assert torch.equal(value, before[key]) != should_learn, key
    assert metrics["policy/updates"] == 4  # all that 256 turns make in minibatches of 64
    assert metrics["policy/kl"] > 0


def test_warming_up_moves_the_critic_only(settings: Callable[..., ActorCriticConfig]) -> None:
    for mode, trunk in (("shared", 0.0), ("shared", 0.5), ("separate", 0.0)):
        policy = make_policy(mode)
        learner = make_learner(policy, settings(checker=mode, trunk_gradient=trunk))
        rows = play(policy)
        actor = [p.clone() for p in policy.backbone.adapter_parameters(ACTOR)]
        head = [p.clone() for p in policy.backbone.value_head.state.parameters()]  # type: ignore[union-attr]
        learner.update_critic(rows, warmup=True)
        assert all(torch.equal(p, q) for p, q in zip(policy.backbone.adapter_parameters(ACTOR), actor, strict=True))
        moved = policy.backbone.value_head.state.parameters()  # type: ignore[union-attr]
        assert not any(torch.equal(p, q) for p, q in zip(moved, head, strict=True))


def test_trunk_gradient_reaches_the_actor_in_proportion(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy()
    rows = play(policy)
    for row in rows:
        row.advantages = np.zeros_like(row.advantages)  # so that the value loss is all there is
    found = {}
    for scale in (0.0, 0.5, 1.0):
        learner = make_learner(policy, settings(trunk_gradient=scale))
        backward(learner.actor_loss(collate(rows, 0, policy.backbone.device), turns=4).loss)
        found[scale] = gradients(policy)
        policy.backbone.zero_grad()
    assert found[0.0].norm() == 0
    assert found[1.0].norm() > 1e-3
    torch.testing.assert_close(2 * found[0.5], found[1.0], rtol=1e-3, atol=1e-6)


def test_sampled_logprobs_equal_recomputed_ones_before_the_first_step(
    settings: Callable[..., ActorCriticConfig],
) -> None:
    policy = make_policy()
    learner = make_learner(policy, settings())
    metrics = learner.update_actor(play(policy))
    assert metrics["policy/logprob_error"] < 1e-4
    assert metrics["rollout/drift"] == 0


def test_stale_samples_show_as_logprob_error(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy()
    rows = play(policy)
    for parameter in policy.backbone.adapter_parameters(ACTOR):
        parameter.data += 0.05
    assert make_learner(policy, settings()).update_actor(rows)["policy/logprob_error"] > 1e-2


def test_fresh_actor_is_its_own_reference(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = LoRAPolicy(small_model(), PickEnv(), sampling=Sampling(5))
    learner = make_learner(policy, settings(kl_coef=0.1, learning_rate=0.0))
    rows = play(policy)
    assert learner.update_actor(rows)["policy/kl"] == pytest.approx(0.0, abs=1e-6)
    for row in rows:
        assert row.reference == pytest.approx(np.array(row.sample.logprobs), abs=1e-4)


def test_epochs_end_at_the_target_divergence(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy()
    free = make_learner(policy, settings(epochs=4, learning_rate=1e-2)).update_actor(play(policy))
    policy = make_policy()
    held = make_learner(policy, settings(epochs=4, learning_rate=1e-2, target_kl=1e-6)).update_actor(play(policy))
    assert (free["policy/updates"], held["policy/updates"]) == (16, 4)


def test_actor_and_critic_are_clipped_apart(settings: Callable[..., ActorCriticConfig]) -> None:
    policy = make_policy("separate")
    args = settings(checker="separate", max_grad_norm=1e-3, critic_max_grad_norm=10.0)
    learner = make_learner(policy, args)
    rows = play(policy)
    backward(learner.actor_loss(collate(rows, 0, policy.backbone.device), turns=1).loss)
    critic = policy.backbone.adapter_parameters(CHECKER)
    for parameter in critic:
        parameter.grad = torch.full_like(parameter, 1e-3)
    norms: dict[str, float] = {}

    def note(*_: Any) -> None:
        norms["actor"], norms["critic"] = float(gradients(policy).norm()), float(gradients(policy, CHECKER).norm())

    learner.optimizer.register_step_pre_hook(note)
    learner._step(Meters())
    assert norms["actor"] == pytest.approx(1e-3, rel=1e-2)
    assert norms["critic"] == pytest.approx(1e-3 * sum(p.numel() for p in critic) ** 0.5, rel=1e-4)


def test_minibatches_use_each_turn_once() -> None:
    parts = list(minibatches(10, 3, np.random.default_rng(0)))
    assert sorted(i for part in parts for i in part) == list(range(10))
    assert [len(part) for part in parts] == [4, 3, 3]


def test_micro_batches_keep_to_their_budget() -> None:
    rows = [
        Row(TokenSample((1,) * length, (2,), (0.0,)), np.zeros(1), np.zeros(1), np.zeros(1), "pick")
        for length in (3, 50, 7, 12, 9)
    ]
    batches = list(micro_batches(rows, tokens=30))
    assert [[row.length for row in batch] for batch in batches] == [[51], [13, 10], [8, 4]]
