"""dyna_graph: the state machine, configuration and command line of dyna-graph.

The public names are imported when they are first used, so that the command line starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyna_graph.agent import DynaGraph, create_dyna_agent
    from dyna_graph.config import DynaConfig
    from dyna_graph.errors import ConfigError, DynaError, ModelError, PluginError
    from dyna_graph.middleware import DynaMiddleware
    from dyna_graph.models import resolve_model

__all__ = [
    "ConfigError",
    "DynaConfig",
    "DynaError",
    "DynaGraph",
    "DynaMiddleware",
    "ModelError",
    "PluginError",
    "create_dyna_agent",
    "resolve_model",
]

_HOMES = {
    "ConfigError": "dyna_graph.errors",
    "DynaConfig": "dyna_graph.config",
    "DynaError": "dyna_graph.errors",
    "DynaGraph": "dyna_graph.agent",
    "DynaMiddleware": "dyna_graph.middleware",
    "ModelError": "dyna_graph.errors",
    "PluginError": "dyna_graph.errors",
    "create_dyna_agent": "dyna_graph.agent",
    "resolve_model": "dyna_graph.models",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*globals(), *__all__])
