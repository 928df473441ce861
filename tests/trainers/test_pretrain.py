"""Pre-training in miniature: the tokenizer's promises, the lesson plan, and equal seeds giving equal weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmat_gym.policies.base_models import load_base_model
from cmat_gym.trainers.pretrain import (
    PretrainConfig,
    TextTurn,
    batches,
    collect_turns,
    encode,
    lesson_plan,
    pretrain,
    train_tokenizer,
)

MINIATURE = PretrainConfig(
    episodes=12, shops=2, vocabulary=800, hidden=32, layers=1, heads=2, intermediate=64, drills=3, batch_tokens=1024
)


@pytest.fixture(scope="module")
def turns() -> list[TextTurn]:
    return list(collect_turns(MINIATURE))


def test_teachers_are_of_mixed_skill_and_play_in_several_shops(turns: list[TextTurn]) -> None:
    again = list(collect_turns(MINIATURE))
    assert again == turns
    careful = list(collect_turns(replace(MINIATURE, mistake_rates=(0.0,))))
    assert len(careful) < len(turns)
    assert all(turn.action != "click[back to search]" for turn in careful)


def test_actions_survive_the_tokenizer(turns: list[TextTurn]) -> None:
    """Decoding gives back what was encoded, in lower case, which is how the shop reads it."""
    tokenizer = train_tokenizer(turns, 2000)
    for turn in turns:
        ids = tokenizer(turn.action, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == turn.action.lower()


def test_a_word_is_the_same_token_everywhere(turns: list[TextTurn]) -> None:
    tokenizer = train_tokenizer(turns, 2000)
    forms = ["click[black]", "in Black today", "[SEP] BLACK [SEP]", "x [SEP] Black"]
    ids = [set(tokenizer(form, add_special_tokens=False)["input_ids"]) for form in forms]
    (word,) = tokenizer(" black", add_special_tokens=False)["input_ids"]
    assert all(word in found for found in ids)


def test_the_chat_template_is_the_prompt_of_training(turns: list[TextTurn]) -> None:
    tokenizer = train_tokenizer(turns, 800)
    messages = [{"role": "system", "content": "left out"}, {"role": "user", "content": turns[0].observation}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == encode(turns[:1], tokenizer)[0].prompt


def test_the_plan_begins_with_short_turns_and_then_holds_every_turn_once(turns: list[TextTurn]) -> None:
    data = encode(turns, train_tokenizer(turns, 800))
    config = replace(MINIATURE, short=150, short_share=0.5)
    plan = lesson_plan(data, config, np.random.default_rng(0))
    everything = batches(data, config.batch_tokens, np.random.default_rng(0))
    begin = len(plan) - len(everything)
    assert begin == len(everything) // 2
    assert all(len(data[i].prompt) + len(data[i].action) <= 150 for batch in plan[:begin] for i in batch)
    assert sorted(i for batch in plan[begin:] for i in batch) == list(range(len(data)))


def test_equal_seeds_give_equal_weights_that_load_as_a_base_model(tmp_path: Path) -> None:
    last = [pretrain(MINIATURE, tmp_path / name) for name in ("first", "second")]
    assert last[0] == last[1]
    first, second = (load_base_model(tmp_path / name, device="cpu") for name in ("first", "second"))
    for (name, weight), other in zip(first.model.named_parameters(), second.model.parameters(), strict=True):
        assert torch.equal(weight, other), name
    assert first.tokenizer.padding_side == "left"
    other_seed = pretrain(replace(MINIATURE, seed=1), tmp_path / "third")
    assert other_seed != last[0]
