"""Which servers a configuration needs: one per set of weights, or one per base with the adapters beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dyna_graph.config import DynaConfig
from dyna_graph.errors import DynaError
from dyna_graph.models import LOCAL, VLLM, Folder, ModelName, find_adapter, find_base, parse_model

HTTP_PORT: Final = 80


class ServeError(DynaError):
    """A server cannot be started, or has ended; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """A model that is to be served.

    Attributes:
        name: What the server calls it: ``base``, or ``base+adapter``.
        base: Name, folder or hub id of the base model.
        adapter: Folder of the adapter; None for the bare base.
        port: Where the configuration looks for it; None where that is free to choose.
    """

    name: str
    base: str
    adapter: Path | None = None
    port: int | None = None


@dataclass(frozen=True)
class ServerPlan:
    """A server to start.

    Attributes:
        port: Where it listens.
        base: The base model.
        models: What it serves.
        lora: Whether the adapters are LoRA modules beside the base's weights; otherwise its one adapter is merged.
    """

    port: int
    base: str
    models: tuple[Wanted, ...]
    lora: bool

    @property
    def adapters(self) -> list[Wanted]:
        """The models that have an adapter."""
        return [model for model in self.models if model.adapter is not None]


def wanted(name: str, folder: Folder = None) -> Wanted | None:
    """Return what a model's name asks for; None where it needs no server of ours.

    Args:
        name: ``local:base[+adapter]`` or ``vllm:base[+adapter][@url]``; other providers have servers of their own.
        folder: What relative paths are relative to.

    Raises:
        ModelError: The name cannot be read, or there is no such adapter.
    """
    parsed = parse_model(name)
    if parsed.provider not in (LOCAL, VLLM):
        return None
    adapter = None if parsed.adapter is None else find_adapter(parsed.adapter, folder).resolve()
    base = find_base(parsed.model, folder)
    if Path(base).is_dir():
        base = str(Path(base).resolve())  # vLLM is started in another folder
    return Wanted(parsed.served_as, base, adapter, _port(parsed))


def models_of(config: DynaConfig) -> list[Wanted]:
    """Return the models of a configuration that a vLLM server can serve, each once.

    Raises:
        ConfigError: A model has no such adapter.
        ServeError: There is none.
    """
    config.check()
    names = [model.name for _, model in config.models()]
    found = dict.fromkeys(each for name in names if (each := wanted(name, config.folder)) is not None)
    if not found:
        raise ServeError(
            "the configuration names no model that vLLM could serve: write local:base+adapter or vllm:base+adapter"
        )
    return list(found)


def plan(
    models: Sequence[Wanted], *, lora: bool | None, merge_by_default: bool, port: int
) -> list[ServerPlan]:
    """Return the servers for some models.

    Models whose configuration names one address share a server, those of another address have another.

    Args:
        models: What is to be served.
        lora: Whether adapters are LoRA modules of one server (True), or merged into weights of a server each (False);
            None: as is best.
        merge_by_default: What is best where an address does not say it: merged on a CPU, which is slow at LoRA.
        port: The first port for models without an address; the next ones follow.

    Raises:
        ServeError: An address would need two sets of weights, or there are too few ports.
    """
    groups: dict[tuple[object, ...], list[Wanted]] = {}
    for model in models:
        apart = lora is False or (lora is None and merge_by_default)
        own = (model.base, model.adapter) if apart else (model.base,)
        groups.setdefault(own if model.port is None else (model.port,), []).append(model)
    taken = {model.port for model in models}
    free = (p for p in range(port, 65536) if p not in taken)
    ports = [group[0].port or next(free, None) for group in groups.values()]
    if None in ports:
        raise ServeError(
            f"the {len(ports)} servers need more ports than there are from {port} on; use a lower --port"
        )
    return [
        _server(group, lora, where, merge_by_default)
        for group, where in zip(groups.values(), ports, strict=True)
        if where is not None
    ]


def _server(group: Sequence[Wanted], lora: bool | None, port: int, merge_by_default: bool) -> ServerPlan:
    names = " and ".join(dict.fromkeys(repr(model.name) for model in group))
    bases = list(dict.fromkeys(model.base for model in group))
    if len(bases) > 1:
        raise ServeError(
            f"port {port}: {names} have different bases, which one server cannot hold; use two ports"
        )
    weights = {model.adapter for model in group}
    if len(weights) > 1 and lora is False:
        raise ServeError(
            f"port {port}: merged, {names} are different weights, which one server cannot hold; give each a port "
            "of its own, or use --lora"
        )
    beside = len(weights) > 1 or (bool(lora) if lora is not None else not merge_by_default)
    return ServerPlan(port, bases[0], tuple(dict.fromkeys(group)), lora=beside and weights != {None})


def _port(name: ModelName) -> int | None:
    if name.provider != VLLM or name.url is None:
        return None
    return urlsplit(name.url).port or HTTP_PORT
