"""Pre-training of the `tiny` base model: `python -m cmat_gym.trainers.pretrain --out FOLDER`.

`tiny` is a Llama of a few million parameters with its own tokenizer, small enough for laptops and CI. It learns, from
scratch, what a big model brings along: the words of the worlds, what a valid action looks like, and to copy from the
page. Its teacher is an agent of mixed skill, who is sometimes an expert and often distracted, on training tasks only
(and in shops that no evaluation uses). So the base acts validly but not well, as a pre-trained model does.

Everything is seeded: equal arguments on one machine type give equal weights.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import string
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cmat_gym.trainers.demonstrations import Slips

__all__ = ["PretrainConfig", "collect_turns", "pretrain", "train_tokenizer"]

SHOP = "cmat/WebShop-v0"
_SETTINGS = "pretrain.json"
ACT, END = "<|act|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}" + ACT + "{% elif "
    "message['role'] == 'assistant' %}{{ message['content'] }}" + END + "{% endif %}{% endfor %}"
)
"""The observation, then the action; a system prompt is left out, because the model knows these worlds by heart."""


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides the weights.

    Attributes:
        start: Folder of a model to go on with, saved with sharpness 1; empty for a fresh one.
        worlds: The worlds the teacher plays in, and the share of each: the long and varied ones need more lessons.
        characters: Characters of pages and actions that are collected in a world whose share is 1.
        episodes_per_shop: Episodes in one catalogue of the shop; then comes another one.
        shop_size: Products of each.
        first_shop_seed: Seed of the first catalogue; evaluation uses seed 0, so this stays above it.
        mistake_rates: Teachers of mixed skill; each episode draws one of these rates of random valid actions.
        slips: Chance of an action that is refused; it is no lesson itself, but what the teacher does after it is.
        stale: Share of the slips that are actions of other pages and tasks; the rest are misspelt.
        stubborn: Chance that a slip is made once more, and so on.
        epochs: Passes over the turns.
        batch_tokens: Tokens per optimizer step, padding included.
        heads: Attention heads of a layer, `head_size` wide each; two of them start as an induction circuit.
        drills: Steps of copying drills before the first lesson: scraps of pages that stand twice in a row.
        possible: Possible actions of a page that a drill asks for, at most.
        possible_share: Share of such drills among the first lessons; it falls to 0 by the last.
        short: A turn of at most this many tokens is a short one.
        short_share: Share of the steps, at the beginning, that see short turns only: copying is learned on those.
        matrix_rate: Learning rate of Muon for the layers' matrices.
        table_rate: Learning rate of AdamW for everything else.
        prompt_share: Share of the page's tokens that are predicted too.
        prompt_weight: Weight of their loss beside the action's.
        sharpness: What the finished model's logits are multiplied by. A small model is unsure which of a thousand
            numbers to copy, so one sampled action in five would be refused; sampling at temperature 1 is then what
            sampling at 1 / sharpness was in training.
    """

    seed: int = 0
    start: str = ""
    worlds: tuple[tuple[str, float], ...] = (
        ("cmat/OS-v0", 0.15),
        ("cmat/DB-v0", 1.0),
        ("cmat/KG-v0", 1.0),
        ("cmat/ALFWorld-v0", 1.0),
        (SHOP, 1.5),
        ("cmat/Mind2Web-v0", 1.0),
    )
    characters: int = 9_000_000
    episodes_per_shop: int = 60
    shop_size: int = 500
    first_shop_seed: int = 1000
    mistake_rates: tuple[float, ...] = (0.0, 0.1, 0.3)
    slips: float = 0.2
    stale: float = 0.6
    stubborn: float = 0.5
    vocabulary: int = 4096
    hidden: int = 192
    layers: int = 4
    heads: int = 4
    head_size: int = 64
    rope_theta: float = 1e6
    intermediate: int = 512
    epochs: int = 1
    batch_tokens: int = 4096
    drills: int = 20
    possible: int = 8
    possible_share: float = 0.5
    short: int = 130
    short_share: float = 0.1
    matrix_rate: float = 0.006
    table_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 60
    prompt_share: float = 0.3
    prompt_weight: float = 0.3
    sharpness: float = 2.0


class TextTurn(NamedTuple):
    """What the teacher saw and did, and some of what else could be done there.

    `clean` while nothing misspelt stands in the observation.
    """

    observation: str
    action: str
    possible: tuple[str, ...] = ()
    clean: bool = True


def collect_turns(config: PretrainConfig) -> Iterator[TextTurn]:
    """Play the teacher's episodes, world after world."""
    for number, (world, share) in enumerate(config.worlds):
        generator = np.random.default_rng([config.seed, number])
        slips = Slips(generator, config.slips, config.stale, config.stubborn)
        env: gym.Env[str, str] | None = None
        episodes = characters = 0
        while characters < share * config.characters:
            if env is None or (world == SHOP and episodes % config.episodes_per_shop == 0):
                env = _open(world, config, shop=episodes // config.episodes_per_shop)
            episodes += 1
            for turn in _play(env, config, generator, slips):
                characters += len(turn.observation) + len(turn.action)
                yield turn
        assert env is not None
        env.close()


def _open(world: str, config: PretrainConfig, shop: int) -> gym.Env[str, str]:
    """A world on its training tasks; a shop with a catalogue of its own, as all tasks of one are about its products."""
    if world != SHOP:
        return gym.make(world, split="train")
    seed, size = config.first_shop_seed + shop, config.shop_size
    return gym.make(world, split="train", catalogue_seed=seed, catalogue_size=size)


def _play(
    env: gym.Env[str, str], config: PretrainConfig, generator: np.random.Generator, slips: Slips
) -> Iterator[TextTurn]:
    """One episode of a teacher of some skill."""
    expert = env.get_wrapper_attr("expert_action")
    rate = generator.choice(config.mistake_rates)
    observation, info = env.reset(seed=int(generator.integers(2**31)))
    slips.begin()
    done, clean = False, True
    while not done:
        possible = [str(action) for action in generator.permutation(info.get("admissible_actions", []))]
        action = possible[0] if possible and generator.random() < rate else expert()
        slip = slips.instead_of(action)
        if slip is None:
            yield TextTurn(observation, action, tuple(possible[: config.possible]), clean)
        clean = clean and slip is None
        observation, _, terminated, truncated, info = env.step(action if slip is None else slip)
        done = terminated or truncated


JOIN, CAPITAL = "\u2040", "\u2191"
"""Marks of the tokenizer: a word that follows without a space, and a capital letter; no text may hold them itself."""
JOINING = "[('\"/.,_-=#$@\n"
"""Signs after which a word is the same token as after a space."""
_PIECES = rf"\d{{1,3}}| ?\p{{L}}+|{CAPITAL}|{JOIN}| ?[^\s\p{{L}}\d{CAPITAL}{JOIN}]{JOIN}?|\s"


def train_tokenizer(turns: Sequence[TextTurn], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE over whole words, and numbers of up to three digits, that loses nothing.

    A word has one token wherever it stands: whatever its case (a capital letter is a token of its own before it), and
    with or without a space before it (what joins it to a bracket belongs to the bracket). That makes copying from page
    to action a matter of one token. Words in capitals that are frequent, such as commands, have tokens of their own.
    """
    texts = [f"{turn.observation}\n{turn.action}" for turn in turns]
    shouted = Counter(word for text in texts for word in re.findall(r"(?<![A-Za-z])[A-Z]{2,}(?![A-Za-z])", text))
    commands = [word for word, count in sorted(shouted.items()) if count >= max(2, len(texts) // 500)]
    whole = [
        " [SEP]",
        "Thought:",
        "Action:",
        "Observation:",
        *(f"{gap}{word}" for word in commands for gap in (" ", "")),
    ]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(f"{re.escape(sign)}(?=[A-Za-z])"), f"{sign}{JOIN} ") for sign in JOINING]
        + [normalizers.Replace(f" {letter}", f"{CAPITAL} {letter.lower()}") for letter in string.ascii_uppercase]
        + [normalizers.Replace(letter, f"{CAPITAL}{letter.lower()}") for letter in string.ascii_uppercase]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    capitals = [
        decoders.Replace(f"{before}{letter.lower()}", f"{after}{letter}")
        for before, after in ((f"{JOIN}{CAPITAL} ", ""), (f"{CAPITAL} ", " "), (CAPITAL, ""))
        for letter in string.ascii_uppercase
    ]
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), *capitals, decoders.Replace(f"{JOIN} ", "")])
    trainer = BpeTrainer(
        vocab_size=vocabulary - len(whole),
        special_tokens=[END, ACT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    numbers = [f"{number:03}" for number in range(1000)] * (1 + len(texts) // 500)  # each stays one token
    tokenizer.train_from_iterator([*texts, *numbers], trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in whole])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
    )


def build_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A fresh Llama with tied embeddings, whose first two layers start out able to copy."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            head_dim=config.head_size,
            attention_bias=True,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.get_input_embeddings().weight.data *= 0.2 / model.config.initializer_range
    model.model.norm.weight.data *= 3.0  # what is copied must stand out among all words of its kind
    plant_induction(model)
    return model


@torch.no_grad()
def plant_induction(model: LlamaForCausalLM) -> None:
    """Start one head of each of the first two layers as an induction circuit, which copies what stood there before.

    Layer 0 looks one token back and notes which token it saw; layer 1 looks for places whose note is the current token,
    and says what stands there (Olsson et al., 2022: In-context Learning and Induction Heads). Tokens are told apart by
    a random projection of their embeddings. Training goes on from there; from noise, the circuit takes hundreds of
    steps to appear.
    """
    config = model.config
    size, hidden = config.head_dim, config.hidden_size
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2) / size)  # radians a token
    basis = torch.linalg.qr(torch.randn(hidden, hidden)).Q
    token, note = basis[:size], basis[size : 2 * size]  # [head, hidden] each: what a token is, what stood before it
    previous, match = model.model.layers[0].self_attn, model.model.layers[-1].self_attn
    for layer in (previous, match):
        layer.q_proj.weight[:size] = layer.k_proj.weight[:size] = 0.0

    # Queries and keys that do not depend on the token, turned against each other by one step of the fast rotations.
    strength = math.sqrt(7.0 * math.sqrt(size))
    fast = torch.arange(6)
    previous.q_proj.bias[fast] = strength
    previous.k_proj.bias[fast] = strength * frequencies[:6].cos()
    previous.k_proj.bias[fast + size // 2] = strength * frequencies[:6].sin()
    previous.v_proj.weight[:size] = token
    previous.o_proj.weight[:, :size] = 0.4 * note.T

    # Only slow rotations carry what a token is, or its likeness would fade with distance.
    slow = torch.nonzero(frequencies < 0.004).squeeze(1)
    slow = torch.cat([slow, slow + size // 2])
    match.q_proj.weight[slow] = 3.0 * token[slow]
    match.k_proj.weight[slow] = note[slow]
    match.v_proj.weight[:size] = token
    match.o_proj.weight[:, :size] = 5.0 * token.T


class Encoded(NamedTuple):
    """One turn as token ids: the prompt up to and including `<|act|>`, then the action and `<|end|>`.

    `possible` is another answer to the same prompt, a drill: several possible actions, one after the other.
    """

    prompt: list[int]
    action: list[int]
    possible: list[int]


def encode(turns: Sequence[TextTurn], tokenizer: PreTrainedTokenizerFast) -> list[Encoded]:
    """Tokenise prompts and actions apart, exactly as a policy does."""
    act, end = tokenizer.convert_tokens_to_ids(ACT), tokenizer.eos_token_id
    prompts = tokenizer([t.observation for t in turns], add_special_tokens=False)["input_ids"]
    actions = tokenizer([t.action for t in turns], add_special_tokens=False)["input_ids"]
    possible = [tokenizer(list(t.possible), add_special_tokens=False)["input_ids"] if t.possible else [] for t in turns]
    drills = [[token for action in row for token in (*action, end, act)][:-1] for row in possible]
    return [Encoded([*p, act], [*a, end], d) for p, a, d in zip(prompts, actions, drills, strict=True)]


def batches(data: Sequence[Encoded], batch_tokens: int, generator: np.random.Generator) -> list[list[int]]:
    """Indices of batches of similar length, in random order."""
    lengths = np.array([len(row.prompt) + len(row.action) for row in data])
    order = np.argsort(lengths + generator.uniform(0, 8, len(lengths)), kind="stable")
    found: list[list[int]] = []
    current: list[int] = []
    for index in order:
        if current and (len(current) + 1) * lengths[index] > batch_tokens:
            found.append(current)
            current = []
        current.append(int(index))
    found.append(current)
    return [found[i] for i in generator.permutation(len(found))]


def lesson_plan(data: Sequence[Encoded], config: PretrainConfig, generator: np.random.Generator) -> list[list[int]]:
    """Indices of every batch, in order: short turns first, then all of them; the drills come before."""
    everything = [b for _ in range(config.epochs) for b in batches(data, config.batch_tokens, generator)]
    short = [i for i, (prompt, action, _) in enumerate(data) if len(prompt) + len(action) <= config.short]
    lessons: list[list[int]] = []
    while short and len(lessons) < config.short_share * len(everything):
        lessons += [[short[i] for i in b] for b in batches([data[i] for i in short], config.batch_tokens, generator)]
    return lessons[: int(config.short_share * len(everything))] + everything


def build_optimizers(model: LlamaForCausalLM, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms.

    Copying drills are learned far sooner this way than with AdamW for everything.
    """
    matrices = [p for name, p in model.model.layers.named_parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, config.matrix_rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(others, config.table_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(config: PretrainConfig, folder: Path) -> dict[str, float]:
    """Collect, tokenise, train and save; returns the last losses.

    The folder is what `from_pretrained` reads: weights in half precision, the tokenizer, and `pretrain.json` with the
    configuration, and that of the model it went on with.
    """
    torch.manual_seed(config.seed)
    generator = np.random.default_rng([config.seed, 1])
    start = time.perf_counter()
    turns = list(collect_turns(config))
    clean = [turn for turn in turns if turn.clean]
    if config.start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(config.start)
        model = LlamaForCausalLM.from_pretrained(config.start, dtype=torch.float32)
    else:
        tokenizer = train_tokenizer(clean[:: max(1, len(clean) // 20_000)], config.vocabulary)
        model = build_model(config, tokenizer)
    data = encode(turns, tokenizer)
    tokens = sum(len(row.prompt) + len(row.action) for row in data)
    print(f"{len(turns)} turns, {tokens} tokens, {time.perf_counter() - start:.0f} s", flush=True)

    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    optimizers = build_optimizers(model, config)
    plan = lesson_plan(data, config, generator)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _warmup_cosine(step, config.drills + len(plan), config.warmup)
        )
        for optimizer in optimizers
    ]
    scraps = np.array([token for prompt, *_ in data[:: max(1, len(data) // 1000)] for token in prompt])
    history: list[tuple[float, float]] = []
    for step in range(-config.drills, len(plan)):
        if step < 0:
            action_loss = prompt_loss = _drill(model, scraps, config, generator)
        else:
            rows = [data[i] for i in plan[step]]
            if generator.random() < config.possible_share * (1 - step / len(plan)):
                rows = [Encoded(row.prompt, row.possible, []) for row in rows]
            action_loss, prompt_loss = _losses(model, rows, config, generator)
        torch.autograd.backward(action_loss + config.prompt_weight * prompt_loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        history.append((action_loss.item(), prompt_loss.item()))
        if step % 50 == 0 or step == len(plan) - 1:
            action, prompt = np.mean(history[-50:], axis=0)
            elapsed = time.perf_counter() - start
            print(f"step {step}/{len(plan)}  action {action:.3f}  prompt {prompt:.3f}  {elapsed:.0f} s", flush=True)
        if step > 0 and step % 250 == 0:
            _save(model, tokenizer, config, folder)
    _save(model, tokenizer, config, folder)
    action, prompt = np.mean(history[-50:], axis=0)
    return {"action_loss": float(action), "prompt_loss": float(prompt), "tokens": float(tokens)}


def _drill(
    model: LlamaForCausalLM, scraps: npt.NDArray[np.int64], config: PretrainConfig, generator: np.random.Generator
) -> torch.Tensor:
    """Cross-entropy of the second copy of random scraps, where only copying helps.

    Without drills, copying from pages appears much later.
    """
    length = int(generator.integers(8, 64))
    scrap = generator.choice(scraps, (config.batch_tokens // (2 * length), length))
    ids = torch.from_numpy(np.concatenate([scrap, scrap], axis=1))  # [batch, 2 * length]
    hidden = model.model(input_ids=ids).last_hidden_state[:, length:-1]
    return torch.nn.functional.cross_entropy(model.lm_head(hidden).flatten(0, 1), ids[:, length + 1 :].flatten())


def _losses(
    model: LlamaForCausalLM, rows: Sequence[Encoded], config: PretrainConfig, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy of the action tokens, and of a random share of the page's tokens."""
    length = max(len(p) + len(a) for p, a, _ in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)  # [batch, time], padded on the right
    is_prompt = torch.zeros(len(rows), length, dtype=torch.bool)
    is_action = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, (prompt, action, _) in enumerate(rows):
        end = len(prompt) + len(action)
        ids[i, :end] = torch.tensor([*prompt, *action])
        is_prompt[i, : len(prompt)] = True
        is_action[i, len(prompt) : end] = True
    is_prompt &= torch.from_numpy(generator.random((len(rows), length)) < config.prompt_share)

    # Padding stands on the right, where a causal model cannot see it, so no mask is needed.
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]  # [batch, time - 1, hidden]
    losses = []
    for chosen in (is_action[:, 1:], is_prompt[:, 1:]):
        logits = model.lm_head(hidden[chosen])  # only the predicted positions ever get logits
        losses.append(torch.nn.functional.cross_entropy(logits, ids[:, 1:][chosen]))
    return losses[0], losses[1]


def _warmup_cosine(step: int, total: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, config: PretrainConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.model.norm.weight.data *= config.sharpness
    half.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = asdict(config)
    if config.start:
        settings["start"] = json.loads((Path(config.start) / _SETTINGS).read_text())
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Pre-train the tiny base model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and tokenizer")
    for name, value in asdict(PretrainConfig()).items():
        if isinstance(value, int | float | str):
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--share", action="append", default=[], metavar="WORLD=X", help="another share of a world")
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    given = {world: float(share) for world, _, share in (item.partition("=") for item in arguments.pop("share"))}
    worlds = tuple({**dict(PretrainConfig.worlds), **given}.items())
    print(pretrain(PretrainConfig(worlds=worlds, **arguments), out))


if __name__ == "__main__":
    main()
