"""The families of models in Table 2 that transformers runs, as small random models: `LoRAPolicy` says what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("peft", reason="language models need the extra `train`")
import torch
import transformers
from small_models import word_tokenizer

from cmat_gym.core.testing import CounterEnv
from cmat_gym.policies.base_models import BaseModel
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy

TOKENS = 6


def _common(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.3,
    }


def llama(vocabulary: int) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_common(vocabulary)))


def mistral(vocabulary: int) -> Any:
    return transformers.MistralForCausalLM(transformers.MistralConfig(**_common(vocabulary)))


def opt(vocabulary: int) -> Any:
    config = transformers.OPTConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        word_embed_proj_dim=32,
        num_hidden_layers=2,
        ffn_dim=64,
        num_attention_heads=2,
        max_position_embeddings=512,
        init_std=0.3,
    )
    return transformers.OPTForCausalLM(config)


def mpt(vocabulary: int) -> Any:
    config = transformers.MptConfig(
        vocab_size=vocabulary, d_model=32, n_heads=2, n_layers=2, max_seq_len=512, initializer_range=0.3
    )
    return transformers.MptForCausalLM(config)


def greedy(model: Any, prompt: list[int], stop: frozenset[int]) -> list[int]:
    """The plainest loop there is: no batch, no cache, no adapter."""
    ids: list[int] = []
    while len(ids) < TOKENS and not (ids and ids[-1] in stop):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([prompt + ids])).logits[0, -1].argmax()))
    return ids


@pytest.mark.parametrize("family", [llama, mistral, opt, mpt])
@pytest.mark.parametrize("style", ["plain", "llama-2", "zephyr", "chatml"])
def test_a_batch_with_a_written_out_prompt_says_what_the_model_says(family: Callable[[int], Any], style: str) -> None:
    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    plain = family(len(tokenizer)).eval()
    torch.manual_seed(0)
    base = BaseModel(family(len(tokenizer)).eval(), tokenizer)
    env = CounterEnv()
    _, info = env.reset(seed=0)
    sampling = Sampling(temperature=0.0, max_new_tokens=TOKENS)
    policy = LoRAPolicy(base, env, sampling=sampling, style=style, device="cpu")
    observations = ["up down 3", "7 2 stop left right up up", "Observation 5"]
    actions = policy.act(observations, [info] * 3)
    said = [list(action.sample.token_ids) for action in actions]
    prompts = [policy.prompt_ids(observation, info) for observation in observations]
    assert said == [greedy(plain, prompt, policy.stop_ids) for prompt in prompts]
    assert len({tuple(ids) for ids in said}) > 1, "a model that always says the same would prove little"
