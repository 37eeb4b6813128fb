"""The model that a recipe trains: a base, with LoRA on it, set up for the machine."""

from __future__ import annotations

import functools
import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils import parse_flag_from_env
from peft import LoraConfig, PeftModel, get_peft_model

from dyna_graph.models import find_adapter
from dyna_nodes.local.base import FINGERPRINT_FILE, Base, load_base
from dyna_training import attention
from dyna_training.lora import make_lean
from dyna_training.recipes.settings import SftSettings

logger = logging.getLogger(__name__)
S = TypeVar("S", bound=SftSettings)


def prepare(settings: SftSettings) -> tuple[Base, Any]:
    """Load the base and put what is to be trained on it.

    Returns:
        The base, and the model to train: a peft model, or the base's own for ``method: full``.

    Raises:
        ValueError: The base cannot be loaded, or ``adapter`` was trained on another one.
        ModelError: There is no adapter of that name.
    """
    torch.manual_seed(settings.seed)
    base = load_base(settings.base, dtype=settings.dtype, device="cpu")
    if not torch.cuda.is_available():
        base.model.set_attn_implementation(attention.register())
    if settings.method == "full":
        return base, base.model.train().requires_grad_(True)
    # What peft asks a model for is deprecated in transformers; who trains can do nothing about it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # ZeRO-3 gathers weights of one precision only, and keeps float32 copies in the optimiser itself.
    one_precision = parse_flag_from_env("ACCELERATE_USE_DEEPSPEED")
    if settings.adapter is not None:
        adapter = find_adapter(str(settings.adapter))
        _refuse_other_base(adapter, base)
        try:
            model = PeftModel.from_pretrained(
                base.model,
                str(adapter),
                is_trainable=True,
                autocast_adapter_dtype=not one_precision,
            )
        except RuntimeError as error:  # an adapter from elsewhere carries no fingerprint, but its shapes tell
            raise ValueError(f"the adapter in {adapter} does not fit {base.name}: {error}") from error
    else:
        model = get_peft_model(base.model, lora_config(settings), autocast_adapter_dtype=not one_precision)
    # Asked to decide for itself, peft looks the base model up on the hub, at every checkpoint.
    model.save_pretrained = functools.partial(model.save_pretrained, save_embedding_layers=False)
    # FSDP and ZeRO gather the weights of a layer when that layer is called; the lean ones do not call theirs.
    in_parts = one_precision or parse_flag_from_env("ACCELERATE_USE_FSDP")
    if not torch.cuda.is_available() and not in_parts:
        make_lean(model)
    return base, model


def within_context(settings: S, base: Base) -> S:
    """Return the settings with no longer rows than the base reads; what is longer is left out and counted."""
    context: int = base.model.config.get_text_config().max_position_embeddings
    if settings.max_tokens <= context:
        return settings
    if os.environ.get("RANK", "0") == "0":
        logger.warning(
            "%s reads no more than %d tokens: that is max_tokens now, not %d",
            base.name,
            context,
            settings.max_tokens,
        )
    return settings.model_copy(update={"max_tokens": context})


def lora_config(settings: SftSettings) -> LoraConfig:
    """Return the adapter of a recipe: LoRA on all linear layers but the output layer."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=settings.base,
    )


def _refuse_other_base(adapter: Path, base: Base) -> None:
    file = adapter / FINGERPRINT_FILE
    if not (adapter / "adapter_config.json").is_file():
        raise ValueError(f"{adapter} holds no adapter: adapter_config.json is missing")
    made_for = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if made_for and made_for.get("fingerprint") != base.fingerprint:
        raise ValueError(
            f"the adapter in {adapter} was trained on {made_for.get('base')} "
            f"({made_for.get('fingerprint')}), "
            f"not on {base.name} ({base.fingerprint}); name its own base, or train a fresh adapter"
        )
