"""Named adapters on one shared base model.

A *merged* adapter is a copy of just those weights that it changes; activating it swaps pointers, and the
forward is that of the bare base. An *unmerged* one is left to peft, which adds its low-rank products in every
forward: less memory, slower decoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dyna_nodes.local.base import FINGERPRINT_FILE, SMOLLM2, Base, LocalModelError

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_SPECIAL = (
    "use_dora",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "trainable_token_indices",
)  # settings with which an adapter is more than one scaled product per weight


class Adapters:
    """The adapters of one base model; used in the engine's thread only, except for ``in`` and iteration.

    Args:
        base: The base model.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._model = base.model
        self._merged: dict[str, dict[str, Tensor]] = {}
        self._folders: dict[str, Path] = {}
        self._original: dict[str, Tensor] = {}
        self._peft: Any = None  # the wrapper, as long as there are unmerged adapters
        self._active: str | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._folders

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._folders))

    def load(self, name: str, folder: Path, merge: bool) -> None:
        """Load an adapter; see `dyna_nodes.local.engine.Engine.load_adapter`."""
        folder = folder.resolve()
        if name in self._folders:
            if self._folders[name] == folder:
                return
            raise LocalModelError(f"adapter {name!r} is loaded from {self._folders[name]}; unload it first")
        config = self._check(folder)
        self.activate(None)
        if merge and _is_plain_lora(config):
            self._merged[name] = self._merge(folder, config)
        else:
            self._attach(name, folder)
        self._folders[name] = folder

    def unload(self, name: str) -> None:
        """Forget an adapter."""
        self.activate(None)
        if self._folders.pop(name, None) is None:
            return
        if self._merged.pop(name, None) is None:
            self._peft.delete_adapter(name)
            if not self._peft.peft_config:
                self._peft = None

    def activate(self, name: str | None) -> None:
        """Make the base compute with this adapter, or alone."""
        if name == self._active:
            return
        if name is not None and name not in self._folders:
            raise LocalModelError(f"adapter {name!r} was unloaded before this request came to its turn")
        for path, weight in self._original.items():
            self._weight(path).data = weight
        self._original = {}
        if self._peft is not None:
            self._peft.base_model.disable_adapter_layers()
        self._active = None
        if name in self._merged:
            for path, weight in self._merged[name].items():
                target = self._weight(path)
                self._original[path] = target.data
                target.data = weight
        elif name is not None:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(name, inference_mode=True)
        self._active = name

    def merged(self, folder: Path) -> Any:
        """Return the base with an adapter merged into it, for saving; these adapters are of no use afterwards.

        Raises:
            LocalModelError: The folder holds no usable adapter, or it belongs to another base.
        """
        self.load("merged", folder, merge=False)
        return self._peft.merge_and_unload()

    def _weight(self, path: str) -> Any:
        module = self._model.get_submodule(path)
        return getattr(module, "base_layer", module).weight

    def _check(self, folder: Path) -> dict[str, Any]:
        """Return the adapter's configuration, if folder and base fit together."""
        from safetensors import SafetensorError, safe_open

        def problem(what: str) -> LocalModelError:
            return LocalModelError(f"cannot load the adapter in {folder}: {what}")

        if not folder.is_dir():
            raise problem("there is no such folder")
        for file in ("adapter_config.json", _WEIGHTS):
            if not (folder / file).is_file():
                raise problem(f"{file} is missing")
        try:
            config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
            with safe_open(folder / _WEIGHTS, framework="pt") as weights:
                keys = list(weights.keys())
                shapes = {key: tuple(weights.get_slice(key).get_shape()) for key in keys}
        except (ValueError, OSError, SafetensorError) as error:
            raise problem(f"it is damaged: {error}") from error
        self._check_base(folder, config, problem)
        if config.get("peft_type") == "LORA":
            if not isinstance(config.get("lora_alpha"), int | float):
                raise problem("adapter_config.json has no lora_alpha")
            if not any(".lora_A." in key for key in shapes):
                raise problem("it holds no LoRA weights")
            for key in shapes:
                if ".lora_A." in key and key.replace(".lora_A.", ".lora_B.") not in shapes:
                    raise problem(f"it has no lora_B that belongs to {key}")
        for key, shape in shapes.items():
            path, _, part = key.removeprefix(_PREFIX).partition(".lora_")
            if not part:
                continue
            try:
                inner, outer = self._weight(path).shape[::-1]
            except AttributeError:
                raise problem(f"it is for another base model: this one has no {path}") from None
            size, wanted = (shape[1], inner) if part.startswith("A") else (shape[0], outer)
            if size != wanted:
                raise problem(f"it is for another base model: {path} has {wanted} there, the adapter {size}")
        return config

    def _check_base(self, folder: Path, config: dict[str, Any], problem: Any) -> None:
        file = folder / FINGERPRINT_FILE
        if file.is_file():
            try:
                made_for = json.loads(file.read_text(encoding="utf-8"))
                same = made_for["fingerprint"] == self._base.fingerprint
            except (ValueError, KeyError) as error:
                raise problem(f"{FINGERPRINT_FILE} is damaged: {error!r}") from error
            if not same:
                raise problem(
                    f"it was trained on {made_for.get('base')} ({made_for['fingerprint']}), this engine runs "
                    f"{self._base.name} ({self._base.fingerprint})"
                )
        elif SMOLLM2 in (config.get("base_model_name_or_path"), self._base.name):
            named = config.get("base_model_name_or_path")
            if named and named != self._base.name:
                raise problem(f"it was trained on {named!r}, this engine runs {self._base.name!r}")

    def _merge(self, folder: Path, config: dict[str, Any]) -> dict[str, Tensor]:
        """Return ``W + scale · B A`` for every weight the adapter changes, summed in float32."""
        from safetensors.torch import load_file

        parts = load_file(folder / _WEIGHTS)
        merged: dict[str, Tensor] = {}
        for key, a in parts.items():
            if not key.endswith(".lora_A.weight"):
                continue
            path = key.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
            weight = self._weight(path).data
            b = parts[key.replace(".lora_A.", ".lora_B.")]
            rank = a.shape[0]
            scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
            change = scale * (b.to(weight.device, torch.float32) @ a.to(weight.device, torch.float32))
            merged[path] = (weight.float() + change).to(weight.dtype)
        return merged

    def _attach(self, name: str, folder: Path) -> None:
        from peft import PeftModel

        device = str(self._model.device)
        try:
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(
                    self._model, str(folder), adapter_name=name, torch_device=device
                )
            else:
                self._peft.load_adapter(str(folder), adapter_name=name, torch_device=device)
        except (ValueError, RuntimeError, TypeError, KeyError) as error:
            raise LocalModelError(f"peft cannot load the adapter in {folder}: {error}") from error
        self._peft.eval()
        self._peft.base_model.disable_adapter_layers()


def _is_plain_lora(config: dict[str, Any]) -> bool:
    """Return whether ``W + scale · B A`` with one scale is all there is to the adapter."""
    plain = config.get("peft_type") == "LORA" and config.get("bias", "none") == "none"
    return plain and not any(config.get(key) for key in _SPECIAL)
