"""A sequence-classification model of the user's own as the Checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import save_classifier, word_tokenizer

from cmat_gym.core.critics import state_values
from cmat_gym.core.errors import UsageError
from cmat_gym.policies.classifier import ClassifierCritic

INFOS: list[Any] = [{}] * 3


def test_one_output_is_the_reward(tmp_path: Path) -> None:
    """Fails when padding, batching or cutting changes a judgement, or another token is read."""
    model = save_classifier(tmp_path, labels=1)
    critic = ClassifierCritic(tmp_path, batch_size=2)
    observations, actions = ["Pick one", "It shows 1 2 3 .", "Pick"], ["one", "two three", "a"]
    reviews = critic.review(observations, actions, INFOS)
    tokenizer = word_tokenizer()
    for observation, action, review in zip(observations, actions, reviews, strict=True):
        ids = torch.tensor([tokenizer(observation, action)["input_ids"]])
        assert review.reward == pytest.approx(float(model(ids).logits), abs=1e-4)
        assert review.accept == (review.reward >= 0)
    assert len({review.reward for review in reviews}) == 3
    squeezed = ClassifierCritic(tmp_path, sigmoid=True, threshold=0.5).review(observations, actions, INFOS)
    for plain, review in zip(reviews, squeezed, strict=True):
        assert review.reward == pytest.approx(1 / (1 + 2.718281828**-plain.reward), abs=1e-4)
        assert review.accept == plain.accept
    assert state_values(critic, ["Pick one"], INFOS[:1]) == [critic.review(["Pick one"], [""], INFOS[:1])[0].reward]


def test_several_outputs_give_a_probability(tmp_path: Path) -> None:
    """Fails when another class is taken than the one named, or probabilities do not sum to one."""
    save_classifier(tmp_path, labels=3)
    by_name = [
        ClassifierCritic(tmp_path, label=label).review(["Pick one"], ["one"], INFOS[:1])[0].reward
        for label in ("bad", 1, "great")
    ]
    assert sum(by_name) == pytest.approx(1.0, abs=1e-5)
    assert ClassifierCritic(tmp_path).review(["Pick one"], ["one"], INFOS[:1])[0].reward == by_name[2]


def test_a_chat_template_is_used_where_there_is_one(tmp_path: Path) -> None:
    """Fails when a reward model reads something else than the conversation it was trained on."""
    model = save_classifier(tmp_path, labels=1, chat=True)
    [review] = ClassifierCritic(tmp_path).review(["Pick one"], ["one"], INFOS[:1])
    ids = torch.tensor([word_tokenizer()("user : Pick one > assistant : one > ")["input_ids"]])
    assert review.reward == pytest.approx(float(model(ids).logits), abs=1e-4)


def test_bad_classifiers_are_named(tmp_path: Path) -> None:
    save_classifier(tmp_path, labels=2)
    with pytest.raises(UsageError, match="no class 'excellent'; its classes are"):
        ClassifierCritic(tmp_path, label="excellent")
    with pytest.raises(UsageError, match="no class 2"):
        ClassifierCritic(tmp_path, label=2)
    with pytest.raises(UsageError, match="cannot be loaded"):
        ClassifierCritic(tmp_path / "nowhere")
