"""Random Llamas of a few thousand parameters and a word tokenizer: what policy and trainer tests run on."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from cmat_gym.policies.base_models import BaseModel

_TEXT = (
    "<end> <unknown> Answer with up down or stop Bring the counter to It shows Stopped Pick one two three a b c d "
    "Invalid action say , . : > - Task Recent turns Observation 0 1 2 3 4 5 6 7 8 9 Thought Action left right"
)
_WORDS = _TEXT.split()


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, one a digit."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"\d|[a-zA-Z]+|[^a-zA-Z\d]"), "isolated")]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unknown>", eos_token="<end>")
    fast.pad_token = "<end>"
    fast.padding_side = "left"
    return fast


def small_model(seed: int = 0, hidden: int = 32, layers: int = 2) -> BaseModel:
    """A random Llama over the word tokenizer, in fp32 on the CPU."""
    tokenizer = word_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(_WORDS),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BaseModel(LlamaForCausalLM(config).eval(), tokenizer)


def save_classifier(folder: Path, labels: int, chat: bool = False) -> LlamaForSequenceClassification:
    """Write a random classifier and its tokenizer into a folder; returns the model."""
    tokenizer = word_tokenizer()
    if chat:
        tokenizer.chat_template = "{% for m in messages %}{{ m.role }} : {{ m.content }} > {% endfor %}"
    torch.manual_seed(0)
    names = {0: "bad", 1: "good", 2: "great"}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.5,
        num_labels=labels,
        id2label={i: names[i] for i in range(labels)},
        label2id={names[i]: i for i in range(labels)},
    )
    model = LlamaForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model
