"""The goals of ``dyna/WebShop-v0``, by their kind and their number in the original's order."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final, cast

from dyna_training.environments.catalogue import WEBSHOP, NamedGames
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


class Customers(NamedGames):
    """The catalogue of WebShop, see `Catalogue`."""

    kind = WebShopEnv
    environment: str = WEBSHOP
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = DEPARTMENTS
    prompt: str = _PROMPT

    def games(self, split: str) -> Sequence[str]:
        """Return the names of the goals of a split."""
        return games(cast(Split, split), open_shop())

    def task_type(self, game: str) -> str:
        """Return the department of a goal's product."""
        return open_shop().goal(game).product.category

    def shuffled(self, games: list[str], rng: random.Random) -> list[str]:
        """Return goals in an order drawn by their weights: else most first ones would be of products with many options.

        One is drawn after the other, without putting back (Efraimidis and Spirakis, 2006).
        """
        shop = open_shop()
        order = {name: -math.log(1 - rng.random()) / shop.goal(name).weight for name in games}
        return sorted(games, key=order.__getitem__)
