"""Recipes: each reads from top to bottom like a lab protocol, and is run by ``dyna train``.

A module of this package is a recipe when it has settings and ``train``; `RECIPES` names it. A YAML file
beside it is a recipe with its settings filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from dyna_training.recipes import settings
from dyna_training.recipes.settings import SftSettings

RECIPES: Final = {
    "world-model": ("dyna_training.recipes.world_model", "WorldModelSettings"),
    "ddt": ("dyna_training.recipes.ddt", "DdtSettings"),
    "policy": ("dyna_training.recipes.policy", "PolicySettings"),
}
"""Name of each recipe, with its module and the class of its settings."""


def settings_of(name: str) -> type[SftSettings]:
    """Return the class of a recipe's settings; torch is not needed for it.

    Raises:
        KeyError: There is no such recipe.
    """
    found: type[SftSettings] = getattr(settings, RECIPES[name][1])
    return found


def train_of(name: str) -> Callable[[Any], dict[str, Any]]:
    """Return what runs a recipe; imports torch and whatever else it needs.

    Raises:
        KeyError: There is no such recipe.
    """
    found: Callable[[Any], dict[str, Any]] = import_module(RECIPES[name][0]).train
    return found
