"""Goals: what a user asks for, made from products as the original makes them.

A goal of a product with options is one choice of all of them; each has an upper price, drawn from the tens of dollars
above the product's own. The original draws prices with whatever state Python's generator happens to be in; here the
seed is fixed, so that a goal's number means the same goal everywhere. The order of the goals is the original's.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from dyna_training.environments.webshop.products import Product

Kind = Literal["synthetic", "human"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PRICE_SEED: Final = 0
"""Seeds the drawing of prices."""
_ORDER_SEED: Final = 233
"""The original's seed of the order of goals."""
_STEPS: Final = tuple(10.0 * step for step in range(1, 100))
_NO_LIMIT: Final = 1_000_000.0

Wish = str | tuple[str, str]
"""An option that is wished for: its value, or its name and value."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be bought.

    Attributes:
        product: What the goal was made from; buying it with the right options is worth 1.
        instruction: What the agent is told.
        attributes: Attributes that are asked for.
        options: Options that are asked for.
        price_upper: What it may cost at most.
        weight: How often it is drawn: seldom-asked attributes count more.
    """

    product: Product
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[Wish, ...]
    price_upper: float
    weight: float = 1.0


def make_goals(products: Sequence[Product], kind: Kind) -> tuple[list[Goal], dict[str, float]]:
    """Return all goals in the original's order, and the price of every product by its id.

    Args:
        products: All products.
        kind: Goals made up by rules, or written by people.
    """
    rng = random.Random(PRICE_SEED)
    prices = {
        product.asin: rng.uniform(*product.prices) if len(product.prices) > 1 else product.prices[0]
        for product in products
    }
    make = _synthetic if kind == "synthetic" else _human
    goals = make(products, prices, rng)
    random.Random(_ORDER_SEED).shuffle(goals)
    return goals, prices


def _synthetic(products: Sequence[Product], prices: Mapping[str, float], rng: random.Random) -> list[Goal]:
    goals: list[Goal] = []
    for product in products:
        if not product.instruction:
            continue
        limit, said = _limit(prices[product.asin], rng)
        options = sorted(product.options)
        for values in itertools.product(*(values for _, values in options)):
            chosen = tuple((name, value) for (name, _), value in zip(options, values, strict=True))
            named = ", and ".join(f"{name}: {value}" for name, value in chosen)
            instruction = f"{product.instruction}{f' with {named}' if named else ''}{said}"
            goals.append(Goal(product, instruction, product.wanted, chosen, limit))
    asked = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [
        replace(goal, weight=sum(1 / asked[name] for name in goal.attributes) / len(goal.attributes))
        for goal in goals
    ]


def _human(products: Sequence[Product], prices: Mapping[str, float], rng: random.Random) -> list[Goal]:
    goals: list[Goal] = []
    for product in products:
        for written in product.human:
            if written.attributes:
                limit, said = _limit(prices[product.asin], rng)
                instruction = written.instruction + said
                goals.append(Goal(product, instruction, written.attributes, written.options, limit))
    return goals


def _limit(price: float, rng: random.Random) -> tuple[float, str]:
    """Return an upper price and how it is said: one of the next four tens of dollars, but not the very next."""
    above = [step for step in _STEPS if step > price][:4]
    if len(above) < 2:
        return _NO_LIMIT, ""
    limit = max(rng.sample(above, 2))
    return limit, f", and price lower than {limit:.2f} dollars"
