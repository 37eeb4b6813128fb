"""The goals of ``dyna/WebShop-v0``, by their kind and their number in the original's order."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.catalogue import WEBSHOP, part_of
from dyna_training.environments.webshop.env import WebShopEnv
from dyna_training.environments.webshop.shop import open_shop
from dyna_training.environments.webshop.splits import SPLITS, Split, games

DEPARTMENTS: Final = ("beauty", "electronics", "fashion", "garden", "grocery")
"""The categories of the products."""
_PROMPT: Final = (
    "Buy what the instruction asks for with the tool `act`, one command at a time: search[words] where there is a "
    "search bar, and click[text] with what the page offers: a product, an option or a button. Choose the options that "
    "are asked for before click[buy now], which ends the task. Before each call, think in one sentence."
)


class Customers:
    """The catalogue of WebShop, see `Catalogue`."""

    environment: str = WEBSHOP
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = DEPARTMENTS
    behaviours: Sequence[str] = ("expert", "noisy", "random")
    prompt: str = _PROMPT
    instead: str = ""

    def draw(
        self,
        split: str,
        number: int,
        *,
        skip: int = 0,
        seed: int = 0,
        wanted: Callable[[str], bool] = lambda task_type: True,
    ) -> list[str]:
        """Return names of goals, drawn by their weights: else most would be of the few products with many options."""
        shop, rng = open_shop(), random.Random(seed)
        names = [name for name in games(cast(Split, split), shop) if wanted(shop.goal(name).product.category)]
        # Drawing one after the other by weight, without putting back (Efraimidis and Spirakis, 2006).
        order = {name: -math.log(1 - rng.random()) / shop.goal(name).weight for name in names}
        return part_of(split, sorted(names, key=order.__getitem__), number, skip)

    def size(self, split: str) -> int | str:
        """Return how many goals a split has."""
        return len(games(cast(Split, split), open_shop()))

    def key(self, game: str) -> str:
        """Return the name itself."""
        return game

    def open(self, game: str, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one goal."""
        return WebShopEnv(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game
