"""Recipes: each reads from top to bottom like a lab protocol, and is run by ``dyna train``.

A module of this package is a recipe when it has settings and ``train``; `RECIPES` names it. A YAML file
beside it is a recipe with its settings filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

RECIPES: Final = {
    "world-model": ("dyna_training.recipes.world_model", "WorldModelSettings"),
    "policy": ("dyna_training.recipes.policy", "PolicySettings"),
}
"""Name of each recipe, with its module and the class of its settings."""


class Recipe(NamedTuple):
    """A recipe: its name, its settings, and what runs it."""

    name: str
    settings: type[BaseModel]
    train: Callable[[Any], dict[str, Any]]


def load_recipe(name: str) -> Recipe:
    """Return a recipe; imports torch and what else it needs.

    Raises:
        KeyError: There is no such recipe.
    """
    module, settings = RECIPES[name]
    loaded = import_module(module)
    return Recipe(name, getattr(loaded, settings), loaded.train)
