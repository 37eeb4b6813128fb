"""What a server loads: the base's folder, or a folder with an adapter merged into it, made once."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, Final

from dyna_nodes.codec import ToolFormat
from dyna_nodes.local import LocalModelError, load_base
from dyna_nodes.local.base import FINGERPRINT_FILE, SMOLLM2, cache_dir, no_progress_bars, resolve_base
from dyna_training.serving.plan import ServeError, ServerPlan, Wanted

LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes for its largest rank."""
_FORMAT: Final = 1
"""Part of the digest of merged folders: another way of making them makes others."""


def weights(plan: ServerPlan, dtype: str) -> str:
    """Return what vLLM loads for a server: a folder, or a model of the hub. Merged weights are made where they lack.

    Raises:
        ServeError: Base or adapter cannot be used.
    """
    try:
        if plan.lora or not plan.adapters:
            for model in plan.adapters:
                _same_base(model)
            return resolve_base(plan.base)
        return str(_merged(plan.adapters[0], dtype))
    except LocalModelError as error:
        raise ServeError(str(error)) from error


def template(plan: ServerPlan) -> str | None:
    """Return the chat template of a server; None where the base's own is right.

    The project's own is right for adapters trained here, and for the embedded base, whose own ignores tools.
    """
    trained = bool(plan.adapters) and not plan.lora
    if not trained and plan.base != SMOLLM2:
        return None
    return chat_template("text" if trained else "template")


def chat_template(tool_format: ToolFormat) -> str:
    """Return the codec's ChatML as a Jinja template; see `dyna_nodes.codec.chat`.

    Args:
        tool_format: How calls are written unless a request says otherwise (``chat_template_kwargs``).
    """
    text = (
        resources.files("dyna_training.serving").joinpath("chat_template.jinja").read_text(encoding="utf-8")
    )
    return f"{{%- set default_tool_format = {tool_format!r} -%}}\n{text}"


def largest_rank(plan: ServerPlan) -> int:
    """Return the smallest rank that vLLM takes and all adapters of a server fit into.

    Raises:
        ServeError: An adapter is no LoRA, or its rank is too large.
    """
    rank = 0
    for model in plan.adapters:
        config = _json(model, "adapter_config.json")
        if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("modules_to_save"):
            raise ServeError(f"{model.adapter}: vLLM serves plain LoRA only; use --merged")
        rank = max(rank, int(config.get("r") or 0), *map(int, (config.get("rank_pattern") or {}).values()))
    fitting = [r for r in LORA_RANKS if r >= rank]
    if not fitting:
        raise ServeError(f"a LoRA of rank {rank} is larger than vLLM takes ({LORA_RANKS[-1]}); use --merged")
    return fitting[0]


def _merged(model: Wanted, dtype: str) -> Path:
    """Return the folder with an adapter merged into its base, in ``dtype``, as the engine in process merges it."""
    assert model.adapter is not None
    file = model.adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise ServeError(f"{model.adapter} holds no adapter: adapter_model.safetensors is missing")
    base = resolve_base(model.base)
    digest = hashlib.sha256(json.dumps([_FORMAT, base, _state(base), dtype]).encode())
    for part in (file, model.adapter / "adapter_config.json"):
        with part.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    target = cache_dir() / "merged" / f"{model.adapter.name}-{digest.hexdigest()[:16]}"
    if (target / "config.json").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".merging-", dir=target.parent))
    try:
        _merge(model, dtype, scratch)
        try:
            scratch.rename(target)
        except OSError:
            if not (target / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _state(base: str) -> list[tuple[str, int, int]]:
    """Return what changes when a base in a folder is written anew: names, sizes and times of its files."""
    files = sorted(file for file in Path(base).glob("*") if file.is_file())
    return [(file.name, status.st_size, status.st_mtime_ns) for file in files if (status := file.stat())]


def _merge(model: Wanted, dtype: str, folder: Path) -> None:
    """Merge in float32, from weights rounded to ``dtype`` and back to it: the weights of the engine in process."""
    from dyna_nodes.local.adapters import Adapters

    assert model.adapter is not None
    base = load_base(model.base, dtype)
    kept = base.model.dtype
    base.model.float()
    merged = Adapters(base).merged(model.adapter).to(kept)
    with no_progress_bars():
        merged.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(chat_template("text"), encoding="utf-8")


def _same_base(model: Wanted) -> None:
    """Refuse an adapter of another base; vLLM would add whatever fits by its shape.

    Only names are compared, so that nothing large is loaded; of a base in a folder nobody knows the name.
    """
    assert model.adapter is not None
    if not (model.adapter / FINGERPRINT_FILE).is_file() or Path(model.base).is_dir():
        return
    made_for = _json(model, FINGERPRINT_FILE).get("base")
    if made_for != model.base:
        raise ServeError(f"{model.adapter} was trained on {made_for!r}, not on {model.base!r}")


def _json(model: Wanted, name: str) -> dict[str, Any]:
    assert model.adapter is not None
    try:
        data = json.loads((model.adapter / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServeError(f"{model.adapter}: {name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ServeError(f"{model.adapter}: {name} holds no object")
    return data
