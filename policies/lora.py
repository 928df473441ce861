"""`LoRAPolicy`: a causal language model with a LoRA adapter as the actor."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError, choose
from cmat_gym.core.roles import Info, SampledAction, TokenSample
from cmat_gym.policies import prompts
from cmat_gym.policies.backbone import ACTOR, CHECKER, AdapterSettings, Backbone
from cmat_gym.policies.base_models import BaseModel, load_base_model
from cmat_gym.policies.generation import Completion, Sampling, generate, pad_left

__all__ = ["LoRAPolicy"]

logger = logging.getLogger(__name__)
_PROMPTS_FILE = "prompts.json"


class LoRAPolicy:
    """Acts by sampling text from a language model; its actions remember their tokens.

    The prompt is the world's system prompt and the observation, through the tokenizer's chat template where it has one.
    The answer is the action itself, or `Thought: …` and `Action: …` for a model trained that way.

    Args:
        model: A name for `load_base_model`, or what it returned.
        env: A world to take the system prompt from; see `read_system_prompt`.
        adapter: Shape of the adapters.
        sampling: How actions are drawn.
        style: Name of a prompt in `prompts.STYLES` to use in the place of the tokenizer's chat template, with the texts
            that end its answers; `chat` insists on the template, None takes it where there is one.
        max_prompt_tokens: Longer prompts lose the beginning of the observation; it says so in its place.
        seed: Seed of the fresh adapters and of the sampling.
        device: Where the model runs; CUDA where there is one by default.
        dtype: Type of the base weights; bf16 on GPU and fp32 on CPU by default.
    """

    def __init__(
        self,
        model: str | Path | BaseModel = "tiny",
        env: gym.Env[Any, Any] | None = None,
        *,
        adapter: AdapterSettings | None = None,
        sampling: Sampling | None = None,
        style: str | None = None,
        max_prompt_tokens: int = 2048,
        seed: int = 0,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        base = model if isinstance(model, BaseModel) else load_base_model(model, device, dtype)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.backbone = Backbone(base.model, adapter)
        self.adapter = ACTOR
        self.tokenizer = base.tokenizer
        self.style = _style(base.tokenizer, style)
        self.sampling = sampling or Sampling()
        self.max_prompt_tokens = min(max_prompt_tokens, _context_length(base.model) - self.sampling.max_new_tokens)
        self.generator = torch.Generator(self.backbone.device).manual_seed(seed)
        self.system_prompts: dict[str, str] = {}
        self.cut_prompts = 0
        self.last_hidden: Tensor | None = None
        self.stop_ids = _stop_ids(base) | self._stop_marks()
        if env is not None:
            self.read_system_prompt(env)

    @property
    def pad_id(self) -> int:
        """The token that fills rows up."""
        return int(self.tokenizer.pad_token_id)

    def to(self, device: torch.device) -> None:
        """Move the model; the sampling generator starts anew there, from the same seed."""
        if device.type != self.backbone.device.type:
            self.backbone.to(device)
        self._follow_device()

    def read_system_prompt(self, env: gym.Env[Any, Any]) -> None:
        """Learn how to introduce the world of `env`; tasks of its domain get its system prompt from now on."""
        world = base_env(env)
        self.system_prompts[world.domain] = world.system_prompt

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[SampledAction]:
        """Sample one action for each observation.

        Where the backbone has a value head, the samples carry V(s_t): of the same pass where the checker shares the
        actor's trunk, of a second one where it has its own adapter. `last_hidden` keeps what a shared checker read.
        """
        asked = [self.prompt_ids(o, i) for o, i in zip(observations, infos, strict=True)]
        with self.backbone.merged(self.adapter):
            completions = self._generate(asked)
        values = self._values(asked, completions)
        return [
            SampledAction(self.text(c.token_ids), TokenSample(tuple(ids), tuple(c.token_ids), tuple(c.logprobs), value))
            for ids, c, value in zip(asked, completions, values, strict=True)
        ]

    def state_values(self, observations: Sequence[str], infos: Sequence[Info]) -> list[float]:
        """V(s) of each observation, without sampling.

        Raises:
            UsageError: There is no value head yet; a `Checker` brings one.
        """
        asked = [self.prompt_ids(o, i) for o, i in zip(observations, infos, strict=True)]
        return self._head_values(self._read(asked)).tolist() if asked else []

    # Text and tokens ------------------------------------------------------------------------------------------------

    def prompt_ids(self, observation: str, info: Info) -> list[int]:
        """Token ids of the prompt for an observation; too long ones lose the beginning of the observation."""
        system = self.system_prompt(info)
        ids = self._encode(self._render(system, observation))
        if len(ids) <= self.max_prompt_tokens:
            return ids
        self.cut_prompts += 1
        if self.cut_prompts == 1:
            logger.warning(
                "A prompt of %d tokens is cut to max_prompt_tokens=%d: the observation loses its beginning. "
                "cut_prompts counts how often this happens.",
                len(ids),
                self.max_prompt_tokens,
            )
        body, mark = self._encode(observation), len(self._encode(prompts.CUT))
        room = max(0, self.max_prompt_tokens - (len(ids) - len(body)) - mark)
        shorter = prompts.CUT + self.tokenizer.decode(body[len(body) - room :])
        # The slice only bites where the seam tokenises differently, or where the system prompt alone is too long.
        return self._encode(self._render(system, shorter))[-self.max_prompt_tokens :]

    def system_prompt(self, info: Info) -> str:
        """What the model is told before the observation: how the world of the task works."""
        return self.system_prompts.get(str(info["task_id"]).partition("/")[0], "")

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, for budgets such as `MemoryConfig.count`."""
        return len(self._encode(text))

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer, as the policy would have sampled it: with the stop token."""
        return [*self._encode(answer), int(self.tokenizer.eos_token_id)]

    def text(self, token_ids: Sequence[int]) -> str:
        """The answer that sampled tokens say."""
        text = str(self.tokenizer.decode(token_ids, skip_special_tokens=True))
        return (text if self.style is None else prompts.cut_at(text, self.style.stop)).strip()

    def _render(self, system: str, observation: str) -> str:
        if self.style is not None:
            return str(self.tokenizer.bos_token or "") + self.style.render(system, observation)
        if self.tokenizer.chat_template is None:
            return prompts.PLAIN_PROMPT.format(system=system, observation=observation)
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": observation})
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _stop_marks(self) -> frozenset[int]:
        """Marks of the prompt that are special tokens: the model stops there, and they leave no text to cut at."""
        marks = self.style.stop if self.style is not None else ()
        special = self.tokenizer.all_special_ids
        return frozenset(ids[0] for mark in marks if len(ids := self._encode(mark)) == 1 and ids[0] in special)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    # The model ------------------------------------------------------------------------------------------------------

    def _follow_device(self) -> None:
        """Draw where the model is: another role on the same backbone may have moved it."""
        if self.generator.device.type != self.backbone.device.type:
            self.generator = torch.Generator(self.backbone.device).manual_seed(self.generator.initial_seed())

    def _generate(self, asked: Sequence[Sequence[int]]) -> list[Completion]:
        self._follow_device()
        return generate(
            self.backbone,
            asked,
            self.sampling,
            stop_ids=self.stop_ids,
            pad_id=self.pad_id,
            generator=self.generator,
        )

    def _values(self, asked: Sequence[Sequence[int]], completions: Sequence[Completion]) -> Sequence[float | None]:
        if self.backbone.value_head is None or not completions:
            return [None] * len(completions)
        if CHECKER in self.backbone.adapters:
            self.last_hidden = self._read(asked)
        else:
            self.last_hidden = torch.stack([completion.hidden for completion in completions])
        return self._head_values(self.last_hidden).tolist()

    @torch.no_grad()
    def _read(self, asked: Sequence[Sequence[int]]) -> Tensor:
        """Hidden state of each prompt's last token, as the checker sees it. [batch, hidden]"""
        adapter = CHECKER if CHECKER in self.backbone.adapters else ACTOR
        ids, mask = pad_left(asked, self.pad_id, self.backbone.device)
        with self.backbone.merged(adapter):
            hidden: Tensor = self.backbone(ids, mask, keep=1).hidden[:, -1]
            return hidden

    @torch.no_grad()
    def _head_values(self, hidden: Tensor) -> Tensor:
        if self.backbone.value_head is None:
            raise UsageError("This policy has no value head yet: make a Checker for it first")
        values: Tensor = self.backbone.value_head(hidden)
        return values

    # Files ----------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the adapters, the value head and the system prompts; the base model is not written."""
        self.backbone.save(folder)
        text = json.dumps(self.system_prompts, ensure_ascii=False, indent=1)
        (Path(folder) / _PROMPTS_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, model: str | Path | BaseModel = "tiny", **kwargs: Any) -> LoRAPolicy:
        """Read what `save` wrote, on top of the base model it was trained on; `kwargs` as for the class."""
        policy = cls(model, adapter=Backbone.saved_settings(folder), **kwargs)
        policy.restore(folder)
        return policy

    def restore(self, folder: str | Path) -> None:
        """Read what `save` wrote into this policy."""
        self.backbone.load(folder)
        saved: Mapping[str, str] = json.loads((Path(folder) / _PROMPTS_FILE).read_text(encoding="utf-8"))
        self.system_prompts.update(saved)


def _style(tokenizer: Any, name: str | None) -> prompts.PromptStyle | None:
    """The prompt to write out, or None for the tokenizer's own chat template.

    Raises:
        UsageError: `chat` for a tokenizer without a template.
        UnknownNameError: There is no such prompt.
    """
    if name == "chat" and tokenizer.chat_template is None:
        raise UsageError(f"The tokenizer has no chat template; write the prompt out: {', '.join(prompts.STYLES)}")
    if name in (None, "chat"):
        return None
    return prompts.STYLES[choose("prompt style", str(name), ["chat", *prompts.STYLES])]


def _context_length(model: Any) -> int:
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))


def _stop_ids(base: BaseModel) -> frozenset[int]:
    """The tokenizer's end token and whatever else the model's own generation settings stop at."""
    configured = base.model.generation_config.eos_token_id
    more = configured if isinstance(configured, list) else [configured]
    return frozenset(int(i) for i in [base.tokenizer.eos_token_id, *more] if i is not None)
