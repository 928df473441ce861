"""Pre-training in miniature: the tokenizer's promises, the lesson plan, and equal seeds giving equal weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmat_gym.policies.base_models import load_base_model
from cmat_gym.trainers.pretrain import (
    SHOP,
    PretrainConfig,
    TextTurn,
    batches,
    build_model,
    collect_turns,
    encode,
    lesson_plan,
    pretrain,
    train_tokenizer,
)

MINIATURE = PretrainConfig(
    worlds=(("cmat/DB-v0", 0.5), ("cmat/WebShop-v0", 1.0)),
    characters=20_000,
    episodes_per_shop=4,
    shop_size=500,
    vocabulary=1500,
    hidden=32,
    layers=2,
    heads=2,
    head_size=16,
    intermediate=64,
    drills=3,
    batch_tokens=1024,
)


@pytest.fixture(scope="module")
def turns() -> list[TextTurn]:
    return list(collect_turns(MINIATURE))


def test_teachers_play_in_every_world_for_its_share(turns: list[TextTurn]) -> None:
    assert list(collect_turns(MINIATURE)) == turns
    characters = {"shop": 0, "database": 0}
    for turn in turns:
        characters["database" if "SELECT" in turn.action or "Answer" in turn.action else "shop"] += len(
            turn.observation
        )
    assert characters["shop"] > 1.3 * characters["database"] > 0


def test_teachers_are_of_mixed_skill() -> None:
    careful, careless = (
        [turn.action for turn in collect_turns(replace(MINIATURE, worlds=((SHOP, 3.0),), mistake_rates=(rate,)))]
        for rate in (0.0, 0.5)
    )
    assert careful.count("click[buy now]") > 2 * careless.count("click[buy now]")


def test_a_misspelt_action_is_no_lesson_but_what_follows_is() -> None:
    config = replace(MINIATURE, worlds=((SHOP, 1.0),), slips=0.4)
    turns = list(collect_turns(config))
    refused = [turn for turn in turns if not turn.clean]
    assert 0.2 < len(refused) / len(turns) < 0.95
    for turn in turns:
        assert (
            turn.action.startswith("search[") or turn.action in turn.possible or len(turn.possible) == config.possible
        )


@pytest.mark.parametrize(
    "text",
    [
        "Observation: Instruction: [SEP] i need B0123456 [SEP] Back to Search",
        "SELECT `Name` FROM `Towns` WHERE `Mayor` = 'O''Neill' AND Area >= 1207.5;",
        "get_relations(m.0abc), Argument_2: #3; intersection(#1,#2)",
        "/tmp/Some-Dir/file_7.TXT\n  indented\tand tabbed\n\n",
        "go to Cabinet 12, then NOT there; ÄÖÜ é 你好",
        "iPhone McDonald USA's [A][b](C)",
    ],
)
def test_text_survives_the_tokenizer(turns: list[TextTurn], text: str) -> None:
    """Decoding gives back what was encoded, whatever its case and signs."""
    tokenizer = train_tokenizer(turns, MINIATURE.vocabulary)
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_pages_and_actions_survive_the_tokenizer(turns: list[TextTurn]) -> None:
    tokenizer = train_tokenizer(turns, MINIATURE.vocabulary)
    for text in {text for turn in turns for text in (turn.observation, turn.action, *turn.possible)}:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_a_word_is_the_same_token_everywhere(turns: list[TextTurn]) -> None:
    tokenizer = train_tokenizer(turns, MINIATURE.vocabulary)
    forms = ["click[black]", "in Black today", "[SEP] Black [SEP]", "'black'", "x.black", "cold_black"]
    ids = [set(tokenizer(form, add_special_tokens=False)["input_ids"]) for form in forms]
    (word,) = tokenizer(" black", add_special_tokens=False)["input_ids"]
    assert all(word in found for found in ids)


def test_the_chat_template_is_the_prompt_of_training(turns: list[TextTurn]) -> None:
    tokenizer = train_tokenizer(turns, MINIATURE.vocabulary)
    messages = [{"role": "system", "content": "left out"}, {"role": "user", "content": turns[0].observation}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == encode(turns[:1], tokenizer)[0].prompt


def test_the_untrained_model_copies(turns: list[TextTurn]) -> None:
    """What stood there once is foretold when it comes again, wherever it stood."""
    config = replace(PretrainConfig(), vocabulary=2000)
    torch.manual_seed(0)
    model = build_model(config, train_tokenizer(turns, config.vocabulary))
    tokens = torch.randperm(1990)[:120]  # none of them twice
    ids = torch.cat([tokens, tokens[40:80]])[None]
    with torch.no_grad():
        foretold = model(input_ids=ids).logits[0, 120:-1].argmax(dim=-1)
    assert (foretold == tokens[41:80]).float().mean() > 0.9
    assert (foretold == tokens[40:79]).float().mean() < 0.1


def test_drills_are_several_possible_actions_of_the_page(turns: list[TextTurn]) -> None:
    tokenizer = train_tokenizer(turns, MINIATURE.vocabulary)
    chosen = [turn for turn in turns if turn.possible][:30]
    for turn, row in zip(chosen, encode(chosen, tokenizer), strict=True):
        assert len(turn.possible) <= MINIATURE.possible
        actions = tokenizer.decode(row.possible, skip_special_tokens=False).split("<|end|><|act|>")
        assert actions == [*turn.possible[:-1], f"{turn.possible[-1]}<|end|>"]


def test_the_plan_begins_with_short_turns_and_then_holds_every_turn_once(turns: list[TextTurn]) -> None:
    data = encode(turns, train_tokenizer(turns, MINIATURE.vocabulary))
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


def test_going_on_keeps_the_tokenizer_and_sharpness_scales_the_logits(tmp_path: Path) -> None:
    short = replace(MINIATURE, characters=6_000, drills=0, sharpness=1.0)
    pretrain(short, tmp_path / "first")
    going_on = replace(short, start=str(tmp_path / "first"), seed=1, matrix_rate=0.0, table_rate=0.0, sharpness=2.0)
    pretrain(going_on, tmp_path / "second")
    first, second = (load_base_model(tmp_path / name, device="cpu") for name in ("first", "second"))
    assert first.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    ids = torch.arange(5, 60)[None]
    with torch.no_grad():
        plain, sharp = first.model(input_ids=ids).logits, second.model(input_ids=ids).logits
    torch.testing.assert_close(sharp, 2 * plain)
