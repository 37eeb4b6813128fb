"""Plugins: world models, environments and commands that other packages bring along.

A package announces them as entry points, so that nothing here imports upwards::

    [project.entry-points."dyna_graph.world_models"]
    my_model = "my_package.models:MyWorldModel"
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

from dyna_graph.errors import PluginError, suggestion

COMMANDS = "dyna_graph.commands"
WORLD_MODELS = "dyna_graph.world_models"
ENVIRONMENTS = "dyna_graph.environments"
ADAPTERS = "dyna_graph.adapters"


def plugin_names(group: str) -> list[str]:
    """Return the names of the installed plugins of ``group``, sorted; nothing is imported."""
    return sorted(_points(group))


def entry_point(group: str, name: str) -> EntryPoint:
    """Return the entry point ``name`` of ``group`` without importing it.

    Raises:
        PluginError: There is none; the message names the nearest.
    """
    points = _points(group)
    if name not in points:
        noun = group.rpartition(".")[2].replace("_", " ").removesuffix("s")
        raise PluginError(f"unknown {noun} {name!r}; {suggestion(name, sorted(points), what='installed')}")
    return points[name]


def load_plugin(group: str, name: str) -> Any:
    """Import the plugin ``name`` of ``group`` and return the object it announces.

    Args:
        group: ``dyna_graph.commands``, ``dyna_graph.world_models`` or ``dyna_graph.environments``.
        name: The entry point's name.

    Raises:
        PluginError: There is no such plugin, or importing it failed; the message says which extra installs
            what is missing.
    """
    point = entry_point(group, name)
    try:
        return point.load()
    except Exception as error:
        raise PluginError(
            f"{name!r} ({point.value}) cannot be loaded: {why_not_loaded(error, point.dist)}"
        ) from error


def why_not_loaded(error: Exception, owner: Distribution | None = None) -> str:
    """Say why an import failed and, where a package is missing, how to install it.

    Args:
        error: What the import raised.
        owner: The distribution whose extras are looked through; dyna-graph when None.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if owner is not None and _provides(owner, package):
            return f"its module {error.name!r} does not exist; reinstall {owner.name}"
        return f"{package} is missing: {how_to_install(package, owner)}"
    return f"{type(error).__name__}: {error}"


def how_to_install(package: str, owner: Distribution | None = None) -> str:
    """Return the pip command for ``package``: with the extra for users that lists it, where one does."""
    try:
        owner = owner or distribution("dyna-graph")
    except PackageNotFoundError:
        return f"pip install {package}"
    wanted = _normal(package)
    for requirement in owner.requires or []:
        required = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", requirement)
        if required and extra and extra[1] != "dev" and _normal(required[0]) == wanted:
            return f"pip install '{owner.name}[{extra[1]}]'"
    return f"pip install {package.replace('_', '-')}"


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _provides(owner: Distribution, package: str) -> bool:
    top_level = owner.read_text("top_level.txt") or ""
    return package in top_level.split()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
