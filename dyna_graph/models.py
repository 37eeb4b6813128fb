"""Model names: ``provider:model`` as `init_chat_model` takes them, ``local:…`` in process, ``vllm:…`` on a
server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_graph.errors import ModelError, suggestion
from dyna_graph.plugins import how_to_install, why_not_loaded

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

LOCAL = "local"
VLLM = "vllm"
VLLM_URL = "http://localhost:8000/v1"
"""Where ``vllm serve`` listens unless told otherwise; ``$VLLM_BASE_URL`` overrides it."""


@dataclass(frozen=True)
class ModelName:
    """A model name taken apart.

    Attributes:
        provider: ``local``, ``vllm``, a provider of `init_chat_model`; empty where it is to be inferred.
        model: The provider's name of the model; for ``local`` the base model.
        adapter: For ``local``: name or folder of the adapter; None for the bare base.
        url: For ``vllm``: the server's address; None for the default.
    """

    provider: str
    model: str
    adapter: str | None = None
    url: str | None = None


def parse_model(name: str) -> ModelName:
    """Take a model name apart.

    Args:
        name: ``provider:model``, ``local:base[+adapter]`` or ``vllm:model[@url]``. A bare model name is left
            to `init_chat_model`, which knows a few (``gpt-…``, ``claude-…``).

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
    if provider == LOCAL:
        base, plus, adapter = rest.partition("+")
        if not base or (plus and not adapter):
            raise ModelError(f"model {name!r} must read {LOCAL}:base or {LOCAL}:base+adapter")
        return ModelName(LOCAL, base, adapter=adapter or None)
    if provider == VLLM:
        model, at, url = rest.partition("@")
        if not model or (at and not re.match(r"https?://[^/\s]+", url)):
            raise ModelError(f"model {name!r} must read {VLLM}:model or {VLLM}:model@http://host:port/v1")
        return ModelName(VLLM, model, url=url or None)
    return ModelName(provider, rest)


def resolve_model(
    name: str, *, folder: str | os.PathLike[str] | None = None, **options: Any
) -> BaseChatModel:
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
    parsed = parse_model(name)
    if parsed.provider == LOCAL:
        return _local(name, parsed, folder, options)
    if parsed.provider == VLLM:
        return _vllm(name, parsed, options)
    return _remote(name, parsed, options)


def _local(
    name: str, parsed: ModelName, folder: str | os.PathLike[str] | None, options: dict[str, Any]
) -> BaseChatModel:
    try:
        from dyna_nodes.local import LocalChatModel
    except ImportError as error:
        raise ModelError(f"model {name!r} runs in this process; {why_not_loaded(error)}") from error
    adapter = parsed.adapter and _near(parsed.adapter, folder)
    try:
        return LocalChatModel(base=_near(parsed.model, folder), adapter=adapter, **options)
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"model {name!r}: {error}") from error


def _near(name: str, folder: str | os.PathLike[str] | None) -> str:
    """Return ``name`` as a path when ``folder`` holds such a thing, else as it is."""
    near = Path(folder or ".") / Path(name).expanduser()
    return str(near) if near.exists() else name


def _vllm(name: str, parsed: ModelName, options: dict[str, Any]) -> BaseChatModel:
    try:
        from langchain_openai import ChatOpenAI
    except ImportError as error:
        raise ModelError(
            f"model {name!r} is reached through the OpenAI protocol; {why_not_loaded(error)}"
        ) from error
    url = parsed.url or os.environ.get("VLLM_BASE_URL") or VLLM_URL
    key = os.environ.get("VLLM_API_KEY") or "none"  # the client insists on one
    given = {"base_url": url, "api_key": key, **options}
    try:
        return ChatOpenAI(model=parsed.model, **given)
    except (ValueError, TypeError) as error:
        raise ModelError(f"model {name!r}: {error}") from error


def _remote(name: str, parsed: ModelName, options: dict[str, Any]) -> BaseChatModel:
    from langchain.chat_models import base as table
    from langchain.chat_models import init_chat_model

    providers: dict[str, tuple[str, ...]] = getattr(table, "_BUILTIN_PROVIDERS", {})
    provider = parsed.provider.replace("-", "_").lower()
    if provider and providers and provider not in providers:
        known = [LOCAL, VLLM, *sorted(providers)]
        hint = suggestion(provider, known)
        raise ModelError(f"unknown provider {parsed.provider!r} in model {name!r}; {hint}")
    package = providers[provider][0].partition(".")[0] if provider in providers else ""
    if package and find_spec(package) is None:
        raise ModelError(f"model {name!r} needs a package that is missing: {how_to_install(package)}")
    try:
        return init_chat_model(parsed.model, model_provider=provider or None, **options)
    except ImportError as error:
        raise ModelError(f"model {name!r}: {why_not_loaded(error)}") from error
    except Exception as error:  # every provider raises its own kind
        if not provider and "infer model provider" in str(error):
            hint = f"write provider:model, such as openai:{parsed.model} or {LOCAL}:{parsed.model}"
            raise ModelError(f"model {name!r} names no provider; {hint}") from error
        raise ModelError(f"model {name!r} cannot be used: {error}") from error
