"""`Backbone`: one causal language model that is actor, checker and reference at once.

The weights of the base model are frozen and shared. What differs is the LoRA adapter that is switched on: `actor`,
`checker`, `reference`, or none (the base model itself). The value head and the virtual tokens of P-Tuning live in the
same module, so whatever trains, clips or saves this module sees them.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PromptEncoder, PromptEncoderConfig, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cmat_gym.core.errors import TaskError, UsageError, choose
from cmat_gym.policies.value_head import ValueHead

__all__ = ["ACTOR", "CHECKER", "REFERENCE", "AdapterSettings", "Backbone", "Forward", "Page"]

ACTOR, CHECKER, REFERENCE = "actor", "checker", "reference"
_HEADS_FILE, _SETTINGS_FILE, _ADAPTER_FILE = "heads.safetensors", "cmat.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class AdapterSettings:
    """Shape of the adapters.

    Attributes:
        rank: Rank r of LoRA.
        alpha: Its scale: the update is alpha / rank · B A.
        targets: `all-linear`, or names of modules separated by commas.
        virtual_tokens: Virtual tokens of P-Tuning in front of the actor's prompt; 0 for none.
        tail: Tokens at the end of the prompt from which on LoRA is active; None: from the start. What lies before is
            read with the base weights, so it needs no gradient: on long pages an update costs a fraction
            (Greenewald et al., 2025, "Activated LoRA"). Such adapters are plain LoRA files, used in this way.
    """

    rank: int = 16
    alpha: int = 32
    targets: str = "all-linear"
    virtual_tokens: int = 0
    tail: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that mean nothing."""
        if self.rank < 1 or self.virtual_tokens < 0 or (self.tail is not None and self.tail < 1):
            raise UsageError(f"rank >= 1, virtual_tokens >= 0 and tail >= 1 (or None) are expected, got {self}")
        if self.virtual_tokens and self.tail is not None:
            raise UsageError("virtual_tokens and tail exclude each other: virtual tokens stand before everything")

    def lora_config(self) -> LoraConfig:
        """The same as PEFT's configuration; without dropout, so that probabilities repeat exactly."""
        targets: str | list[str] = self.targets if self.targets == "all-linear" else self.targets.split(",")
        return LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"
        )


class Forward(NamedTuple):
    """What a pass gives for the last `keep` positions of each row.

    Attributes:
        logits: Next-token logits, fp32. [batch, keep, vocabulary]
        hidden: What the language-model head read, in the model's type. [batch, keep, hidden]
        cache: Keys and values, if asked for.
    """

    logits: Tensor
    hidden: Tensor
    cache: Any


class Page:
    """Keys and values of the beginning of prompts, to go on from as often as one likes."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def cache(self) -> Any:
        """A cache that begins with them; what is added to it leaves them alone."""
        fresh = copy.copy(self._cache)
        fresh.layers = [copy.copy(layer) for layer in self._cache.layers]  # adding replaces a layer's tensors
        return fresh


class Backbone(nn.Module):
    """A base model with its adapters, value head and virtual tokens.

    Args:
        model: Any causal language model of transformers; its weights are frozen.
        settings: Shape of the adapters.
    """

    value_head: ValueHead | None

    def __init__(self, model: Any, settings: AdapterSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or AdapterSettings()
        self.model = get_peft_model(model, self.settings.lora_config(), adapter_name=ACTOR)
        self.config = self.model.get_base_model().config
        self.value_head = None
        self.prompt_encoder = self._make_prompt_encoder()
        self.active: str | None = ACTOR
        self._captured: Tensor | None = None
        self._swapped: list[tuple[nn.Parameter, Tensor, Tensor]] = []  # while merged: weight, original, with adapter
        self._parameters_of: dict[str, list[nn.Parameter]] = {}
        # A model without positions, such as one with ALiBi, counts padding between tokens as distance.
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        head = self.model.get_base_model().get_output_embeddings()
        head.register_forward_pre_hook(self._capture)
        self._activate(ACTOR)

    # Running the model ----------------------------------------------------------------------------------------------

    def forward(
        self,
        ids: Tensor,  # [batch, new]
        mask: Tensor,  # [batch, past + new], without the virtual tokens
        *,
        keep: int,
        cache: Any = None,
        use_cache: bool = False,
        page: Page | None = None,
    ) -> Forward:
        """Run the active adapter over `ids`; padding may stand anywhere, positions count what is not padding.

        Where the model takes no positions (`takes_positions`), padding may stand on the left and on the right only.

        With a `tail`, everything but the tail and the last `keep - 1` tokens is read with the base weights first, or
        taken from `page`, what `read_page` returned for these very arguments.
        """
        before = self._before_tail(ids, keep)
        if page is not None:
            return self._run(ids[:, before:], mask, keep, page.cache(), use_cache=True)
        if before > 0 and self.active is not None:
            past = mask.shape[1] - ids.shape[1]
            with torch.no_grad(), self._base_weights():
                cache = self._run(ids[:, :before], mask[:, : past + before], 1, cache, use_cache=True).cache
            return self._run(ids[:, before:], mask, keep, cache, use_cache=True)
        return self._run(ids, mask, keep, cache, use_cache)

    @torch.no_grad()
    def read_page(self, ids: Tensor, mask: Tensor, *, keep: int) -> Page | None:
        """What lies before the tail, read with the base weights: the same for every adapter and every update.

        None where nothing does.
        """
        before = self._before_tail(ids, keep)
        if before <= 0:
            return None
        with self._base_weights():
            return Page(self._run(ids[:, :before], mask[:, :before], 1, None, use_cache=True).cache)

    def _before_tail(self, ids: Tensor, keep: int) -> int:
        return 0 if self.settings.tail is None else ids.shape[1] - (keep - 1) - self.settings.tail

    def read(self, ids: Tensor, mask: Tensor) -> Any:
        """Keys and values of the beginning of prompts that end later, for `forward` to go on from."""
        if self.settings.tail is None:
            return self._run(ids, mask, 1, None, use_cache=True).cache
        with self._base_weights():
            return self._run(ids, mask, 1, None, use_cache=True).cache

    def _run(self, ids: Tensor, mask: Tensor, keep: int, cache: Any, use_cache: bool) -> Forward:
        model = self.model.get_base_model()
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]  # [batch, new]
        inputs: dict[str, Any] = {"input_ids": ids}
        if self.prompt_encoder is not None and self.active in (ACTOR, REFERENCE):
            virtual = self.settings.virtual_tokens
            mask = torch.cat([mask.new_ones(len(mask), virtual), mask], dim=1)
            positions = positions + virtual
            if cache is None:
                embeddings = torch.cat([self._virtual_embeddings(len(ids)), model.get_input_embeddings()(ids)], dim=1)
                inputs = {"inputs_embeds": embeddings}
                first = torch.arange(virtual, device=ids.device).expand(len(ids), -1)
                positions = torch.cat([first, positions], dim=1)
        output = model(
            **inputs,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=use_cache,
            logits_to_keep=keep,
        )
        hidden, self._captured = self._captured, None
        if hidden is None or hidden.shape[1] != keep:
            raise UsageError(f"{type(model).__name__} does not compute logits for the last positions only")
        return Forward(output.logits.float(), hidden, output.cache if use_cache else None)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def add_model_tags(self, tags: Any) -> None:
        """TRL's trainers label what they train; the label goes where PEFT writes its model cards."""
        self.model.add_model_tags(tags)

    @contextmanager
    def use(self, adapter: str | None) -> Iterator[None]:
        """Run with another adapter, or with None: the base model."""
        before = self.active
        self._activate(adapter)
        try:
            yield
        finally:
            self._activate(before)

    @contextmanager
    def merged(self, adapter: str) -> Iterator[None]:
        """Run with the adapter added into the weights: a fifth faster, for sampling.

        The frozen weights are put back afterwards as they were, not by subtracting, so nothing drifts. In half
        precision the sum would round, and sampling would no longer match training: there it is the same as `use`.
        """
        layers = [m for m in self.model.modules() if isinstance(m, LoraLayer) and adapter in m.lora_A]
        weights = [layer.get_base_layer().weight for layer in layers]
        if any(weight.dtype != torch.float32 for weight in weights):
            with self.use(adapter):
                yield
            return
        with torch.no_grad():
            self._swapped = [
                (weight, weight.data, weight.data + layer.get_delta_weight(adapter))
                for layer, weight in zip(layers, weights, strict=True)
            ]
        with self.use(None):
            self.active = adapter
            try:
                for weight, _, merged in self._swapped:
                    weight.data = merged
                yield
            finally:
                for weight, original, _ in self._swapped:
                    weight.data = original
                self._swapped = []

    @contextmanager
    def _base_weights(self) -> Iterator[None]:
        """The base model for a moment, merged or not; the adapter stays the active one, virtual tokens and all."""
        active = self.active
        for weight, original, _ in self._swapped:
            weight.data = original
        if not self._swapped:
            self.model.base_model.disable_adapter_layers()
        try:
            yield
        finally:
            for weight, _, merged in self._swapped:
                weight.data = merged
            if not self._swapped:
                self._activate(active)

    # Adapters -------------------------------------------------------------------------------------------------------

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters there are."""
        return list(self.model.peft_config)

    def add_adapter(self, name: str, copy_of: str | None = None) -> None:
        """Add an adapter: a fresh one, which changes nothing yet, or a copy."""
        if name not in self.adapters:
            self.model.add_adapter(name, self.settings.lora_config())
        if copy_of is not None:
            set_peft_model_state_dict(
                self.model, get_peft_model_state_dict(self.model, adapter_name=copy_of), adapter_name=name
            )
        self.model.to(self.device)
        self._activate(self.active)

    def add_value_head(self, width: int) -> ValueHead:
        """Add the critic's head, in full precision."""
        self.value_head = ValueHead(self.config.get_text_config().hidden_size, width).to(self.device)
        return self.value_head

    def adapter_parameters(self, name: str) -> list[nn.Parameter]:
        """The LoRA matrices of one adapter."""
        if name not in self._parameters_of:
            named = self.model.named_parameters()
            self._parameters_of[name] = [parameter for key, parameter in named if f".{name}." in key]
        return self._parameters_of[name]

    def prompt_parameters(self) -> list[nn.Parameter]:
        """The virtual tokens' parameters."""
        return [] if self.prompt_encoder is None else list(self.prompt_encoder.parameters())

    def _activate(self, adapter: str | None) -> None:
        if adapter is None:
            self.model.base_model.disable_adapter_layers()
        else:
            choose("adapter", adapter, self.adapters)
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(adapter)
        self.active = adapter
        # PEFT freezes whatever is switched off, which would silently zero the gradient of the adapter whose forward
        # pass came first. The reference alone stays frozen.
        for name in self.adapters:
            for parameter in self.adapter_parameters(name):
                parameter.requires_grad_(name != REFERENCE)

    # Virtual tokens -------------------------------------------------------------------------------------------------

    def _make_prompt_encoder(self) -> PromptEncoder | None:
        if not self.settings.virtual_tokens:
            return None
        size = self.config.get_text_config().hidden_size
        config = PromptEncoderConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.settings.virtual_tokens,
            token_dim=size,
            num_transformer_submodules=1,
            encoder_hidden_size=size,
        )
        return PromptEncoder(config).to(self.device)

    def _virtual_embeddings(self, batch: int) -> Tensor:
        assert self.prompt_encoder is not None
        embeddings = self.prompt_encoder(torch.arange(self.settings.virtual_tokens, device=self.device))
        table = self.model.get_base_model().get_input_embeddings().weight
        expanded: Tensor = embeddings.to(table.dtype).expand(batch, -1, -1)  # [batch, virtual, hidden]
        return expanded

    def _capture(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._captured = arguments[0]

    # Files ----------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write adapters (in PEFT's own layout, one folder each), value head and virtual tokens."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder, selected_adapters=self.adapters)
        heads = {key: value.contiguous() for key, value in self.state_dict().items() if _is_head(key)}
        save_file(heads, folder / _HEADS_FILE)
        record = {
            "adapters": self.adapters,
            "settings": asdict(self.settings),
            "value_head": None if self.value_head is None else self.value_head.width,
        }
        (folder / _SETTINGS_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def saved_settings(folder: str | Path) -> AdapterSettings:
        """The shape of the adapters in a folder written by `save`.

        Raises:
            TaskError: It is no such folder.
        """
        return AdapterSettings(**_read_record(folder)["settings"])

    def load(self, folder: str | Path) -> None:
        """Read what `save` wrote into this backbone, adding the adapters and the head it does not have yet.

        Raises:
            TaskError: It is no such folder.
            UsageError: Its adapters have another shape.
        """
        record = _read_record(folder)
        if AdapterSettings(**record["settings"]) != self.settings:
            raise UsageError(f"The adapters in {folder} have settings {record['settings']}, expected {self.settings}")
        for name in record["adapters"]:
            self.add_adapter(name)
            # PEFT writes the adapter called "default" beside the folders of all others; ours all have a name.
            state = load_file(Path(folder) / name / _ADAPTER_FILE, device=str(self.device))
            set_peft_model_state_dict(self.model, state, adapter_name=name)
        if record["value_head"] is not None and self.value_head is None:
            self.add_value_head(record["value_head"])
        heads = load_file(Path(folder) / _HEADS_FILE, device=str(self.device))
        self.load_state_dict(heads, strict=False)


def _is_head(key: str) -> bool:
    return key.startswith(("value_head.", "prompt_encoder."))


def _read_record(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / _SETTINGS_FILE
    if not path.is_file():
        raise TaskError(f"{folder} holds no adapters written by LoRAPolicy.save ({_SETTINGS_FILE} is missing)")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
