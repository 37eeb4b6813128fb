"""Model names: ``provider:model`` as `init_chat_model` takes them, ``local:…`` in process, ``vllm:…`` on a
server."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from dyna_graph.errors import ModelError, suggestion
from dyna_graph.plugins import ADAPTERS, entry_point, how_to_install, plugin_names, why_not_loaded

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Folder = str | os.PathLike[str] | None
LOCAL = "local"
VLLM = "vllm"
VLLM_URL = "http://localhost:8000/v1"
"""Where ``vllm serve`` listens unless told otherwise; ``$VLLM_BASE_URL`` overrides it."""


@dataclass(frozen=True)
class ModelName:
    """A model name taken apart.

    Attributes:
        provider: ``local``, ``vllm``, a provider of `init_chat_model`; empty where it is to be inferred.
        model: The provider's name of the model; for ``local``, and for ``vllm`` with an adapter, the base model.
        adapter: For ``local`` and ``vllm``: name or folder of the adapter; None for the bare base.
        url: For ``vllm``: the server's address; None for the default.
    """

    provider: str
    model: str
    adapter: str | None = None
    url: str | None = None

    @property
    def served_as(self) -> str:
        """What a vLLM server calls the model: ``base+adapter``, or the model alone."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter}"

    @property
    def address(self) -> str:
        """Where a ``vllm`` model is served: its own address, ``$VLLM_BASE_URL``, or vLLM's default."""
        return self.url or os.environ.get("VLLM_BASE_URL") or VLLM_URL


def parse_model(name: str) -> ModelName:
    """Take a model name apart.

    Args:
        name: ``provider:model``, ``local:base[+adapter]``, ``vllm:model[@url]`` or ``vllm:base+adapter[@url]``. A
            bare model name is left to `init_chat_model`, which knows a few (``gpt-…``, ``claude-…``).

    Raises:
        ModelError: A part is missing.
    """
    provider, colon, rest = name.strip().partition(":")
    if not colon:
        if provider in {"", LOCAL, VLLM}:
            raise ModelError(f"model {name!r} names no model; write provider:model, such as {LOCAL}:smollm2")
        return ModelName("", provider)
    if not provider or not rest:
        raise ModelError(
            f"model {name!r} lacks the part {'before' if not provider else 'after'} the colon; "
            "write provider:model, such as openai:gpt-5-mini"
        )
    if not re.fullmatch(r"[\w-]+", provider):
        raise ModelError(f"model {name!r}: a provider is one word, not {provider!r}; write provider:model")
    if provider == LOCAL:
        base, plus, adapter = rest.partition("+")
        if not base or (plus and not adapter):
            raise ModelError(f"model {name!r} must read {LOCAL}:base or {LOCAL}:base+adapter")
        return ModelName(LOCAL, base, adapter=adapter or None)
    if provider == VLLM:
        model, at, url = rest.partition("@")
        if not model or (at and not _is_address(url)):
            raise ModelError(f"model {name!r} must read {VLLM}:model or {VLLM}:model@http://host:port/v1")
        base, plus, adapter = model.partition("+")
        if plus and not (base and adapter):
            raise ModelError(f"model {name!r} must read {VLLM}:base+adapter, or {VLLM}:model")
        return ModelName(VLLM, base, adapter=adapter or None, url=url or None)
    return ModelName(provider, rest)


def _is_address(url: str) -> bool:
    try:
        _ = urlsplit(url).port  # raises where it is no number of a port
    except ValueError:
        return False
    return re.match(r"https?://[^/\s]+", url) is not None


def resolve_model(name: str, *, folder: Folder = None, **options: Any) -> BaseChatModel:
    """Turn a model name into a chat model.

    Args:
        name: See `parse_model`.
        folder: What relative paths of local models and adapters are relative to; the working directory when
            None.
        **options: Given to the model as they are, such as ``temperature`` or ``max_tokens``.

    Raises:
        ModelError: The provider is unknown, its package is missing, or the model refuses its options; the
            message says what to do.

    Example:
        ```python
        policy = resolve_model("openai:gpt-5-mini", temperature=0.7)
        world_model = resolve_model("local:smollm2+adapters/world")
        ```
    """
    parsed = check_model(name, folder=folder)
    if parsed.provider == LOCAL:
        return _local(name, parsed, folder, options)
    if parsed.provider == VLLM:
        return _vllm(name, parsed, folder, options)
    return _remote(name, parsed, options)


def check_model(name: str, *, folder: Folder = None) -> ModelName:
    """Find out whether a name can lead to a model, as far as that can be known without loading or asking one.

    Args:
        name: See `parse_model`.
        folder: What relative paths of local models and adapters are relative to; None: the working directory.

    Returns:
        The name taken apart.

    Raises:
        ModelError: The provider is unknown, its package is missing, or there is no such adapter.
    """
    parsed = parse_model(name)
    provider = parsed.provider.replace("-", "_").lower()
    if provider == LOCAL:
        packages = ["torch", "transformers", "peft"]
        if parsed.adapter is not None:
            find_adapter(parsed.adapter, folder)
    elif provider == VLLM:
        packages = ["langchain_openai"] if parsed.adapter is None else ["httpx", "transformers"]
    else:
        providers = _providers()
        if provider and provider not in providers:
            hint = suggestion(provider, [LOCAL, VLLM, *sorted(providers)])
            raise ModelError(f"unknown provider {parsed.provider!r} in model {name!r}; {hint}")
        packages = [providers[provider]] if provider else []
    for package in packages:
        if _is_missing(package):
            raise ModelError(f"model {name!r} needs {package}, which is missing: {how_to_install(package)}")
    return parsed


def _providers() -> dict[str, str]:
    """Return the package of each provider that `init_chat_model` knows."""
    from langchain.chat_models import base

    return {name: entry[0].partition(".")[0] for name, entry in base._BUILTIN_PROVIDERS.items()}


def _is_missing(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is None
    return find_spec(package) is None


def find_base(name: str, folder: Folder = None) -> str:
    """Return the folder of a base model that lies near the configuration, or else ``name`` as it is."""
    near = Path(folder or ".") / Path(name).expanduser()
    return str(near) if near.is_dir() else name


def find_adapter(name: str, folder: Folder = None) -> Path:
    """Return the folder of an adapter.

    Args:
        name: A folder, or the name of an adapter that an installed package brings along: entry points of the
            group ``dyna_graph.adapters`` name packages that hold adapter folders.
        folder: What a relative folder is relative to; the working directory when None.

    Raises:
        ModelError: There is no such adapter.
    """
    near = Path(folder or ".") / Path(name).expanduser()
    if near.is_dir():
        return near
    shipped = shipped_adapters()
    if name in shipped:
        return shipped[name]
    known = f"; installed are: {', '.join(sorted(shipped))}" if shipped else " and no adapter is installed"
    raise ModelError(f"no adapter {name!r}: there is no such folder{known}")


def shipped_adapters() -> dict[str, Path]:
    """Return the adapters that installed packages bring along, by name; nothing is loaded."""
    found = {}
    for package in plugin_names(ADAPTERS):
        spec = find_spec(entry_point(ADAPTERS, package).value)
        for root in spec.submodule_search_locations or () if spec else ():
            found.update({file.parent.name: file.parent for file in Path(root).glob("*/adapter_config.json")})
    return found


def _local(name: str, parsed: ModelName, folder: Folder, options: dict[str, Any]) -> BaseChatModel:
    from dyna_nodes.local import LocalChatModel

    adapter = None if parsed.adapter is None else find_adapter(parsed.adapter, folder)
    try:
        return LocalChatModel(base=find_base(parsed.model, folder), adapter=adapter, **options)
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"model {name!r}: {_in_one_line(error)}") from error


def api_key() -> str:
    """Return the key for vLLM servers, ``$VLLM_API_KEY``; clients insist on one."""
    return os.environ.get("VLLM_API_KEY") or "none"


def _vllm(name: str, parsed: ModelName, folder: Folder, options: dict[str, Any]) -> BaseChatModel:
    """Return a model behind a server: one that was trained here is asked by the codec, others by their own template."""
    model: BaseChatModel
    try:
        if parsed.adapter is not None:
            from dyna_nodes.served import ServedChatModel

            base = find_base(parsed.model, folder)
            given = {"url": parsed.address, "api_key": api_key(), "base": base, **options}
            model = ServedChatModel(model=parsed.served_as, **given)
        else:
            from dyna_graph.vllm import VllmChatModel

            given = {"base_url": parsed.address, "api_key": api_key(), **options}
            model = VllmChatModel(model=parsed.model, **given)
    except (ValueError, TypeError) as error:
        raise ModelError(f"model {name!r}: {_in_one_line(error)}") from error
    return model


def _remote(name: str, parsed: ModelName, options: dict[str, Any]) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    try:
        model: BaseChatModel = init_chat_model(
            parsed.model, model_provider=parsed.provider or None, **options
        )
    except ImportError as error:
        raise ModelError(f"model {name!r}: {why_not_loaded(error)}") from error
    except Exception as error:  # every provider raises its own kind, for a missing key above all
        if not parsed.provider and "infer model provider" in str(error):
            hint = f"write provider:model, such as openai:{parsed.model} or {LOCAL}:{parsed.model}"
            raise ModelError(f"model {name!r} names no provider; {hint}") from error
        raise ModelError(f"model {name!r} cannot be used: {_in_one_line(error)}") from error
    return model


def _in_one_line(error: Exception) -> str:
    """Return what an error says; of pydantic's, only what is wrong with which option."""
    if isinstance(error, ValidationError):
        wrong = error.errors(include_url=False)
        return "; ".join(f"{'.'.join(map(str, w['loc'])) or 'options'}: {w['msg']}" for w in wrong)
    return str(error)
