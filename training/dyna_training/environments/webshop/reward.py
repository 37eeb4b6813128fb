"""The reward of the WebShop paper (arXiv 2207.01206, section 3.2): what was bought beside what was asked for.

The reward is ``type × (attributes + options + price met) / (attributes + options asked for + 1)``. The type counts
less where query, departments and title do not match. Texts are compared as thefuzz 0.19 compares sets of words, which
the original requires in this version: later ones give other figures.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from dyna_training.environments.webshop.goals import Goal, Wish
from dyna_training.environments.webshop.nouns import Tagger
from dyna_training.environments.webshop.products import Product

SIMILAR: Final = 85
"""Percentage above which two texts are the same."""
_COLORS: Final = """
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo ivory
    ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow
    """
COLORS: Final = tuple(_COLORS.split())
"""The original's colours, in its order: of an option that holds one, only the first is compared."""
_LATIN_1: Final = dict.fromkeys(range(128, 256))


class Score(NamedTuple):
    """What a purchase is worth, and the parts of it.

    Attributes:
        total: The reward, 0 to 1.
        type: Factor for the type of product: 1, 0.5, 0.1 or 0.
        attributes: Share of the attributes asked for that the product has.
        options: Share of the options asked for that were chosen; 1 where none were.
        price: Whether the price is low enough.
    """

    total: float
    type: float
    attributes: float
    options: float
    price: bool


def score(bought: Product, chosen: Iterable[str], price: float, goal: Goal, nouns: Tagger) -> Score:
    """Return what a purchase is worth.

    Args:
        bought: The product.
        chosen: Values of the options that were chosen.
        price: Its price.
        goal: What was asked for.
        nouns: Finds the words of a title that name things.
    """
    kind = type_reward(bought, goal.product, nouns)
    attributes = sum(_has(bought, attribute) for attribute in goal.attributes)
    values = [normal(value) for value in chosen]
    options = sum(any(alike(value, normal(wish)) for value in values) for wish in goal.options)
    affordable = price <= goal.price_upper
    total = (attributes + options + affordable) / (len(goal.attributes) + len(goal.options) + 1)
    return Score(
        total=total * kind,
        type=kind,
        attributes=attributes / len(goal.attributes),
        options=options / len(goal.options) if goal.options else 1.0,
        price=affordable,
    )


def type_reward(bought: Product, wanted: Product, nouns: Tagger) -> float:
    """Return the factor for the type of product: whether query, departments and title match."""
    share = title_share(nouns(bought.title), nouns(wanted.title))
    if share == 0:
        return 0.0
    if share < 0.1:
        return 0.1
    same_departments = len(_departments(bought) & _departments(wanted)) >= 2
    return 1.0 if bought.query == wanted.query or same_departments or share > 0.2 else 0.5


def title_share(bought: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    """Return the share of the wanted title's nouns that the bought one has; 0.2 where it has none."""
    return len(set(bought) & set(wanted)) / len(wanted) if wanted else 0.2


def normal(option: Wish) -> Wish:
    """Return the first colour that an option holds, else the option itself.

    A wish of name and value holds a colour only if the colour is all of its value, as in the original.
    """
    return next((color for color in COLORS if color in option), option)


@functools.lru_cache(maxsize=1 << 16)
def alike(first: Wish, second: Wish) -> bool:
    """Return whether two texts are the same in all that matters.

    Their words are sorted into what both have and what only one has; the most similar two of these three texts count:
    what both have, and either text with what both have in front.
    """
    ours, theirs = (set(_plain(text).split()) for text in (first, second))
    if not ours or not theirs:
        return False
    both, rest = sorted(ours & theirs), (sorted(ours - theirs), sorted(theirs - ours))
    texts = (" ".join(both), *(" ".join([*both, *only]) for only in rest))
    return any(_similar(*pair) for pair in (texts[:2], texts[::2], texts[1:]))


def _similar(first: str, second: str) -> bool:
    if not first or not second:
        return False
    return round(100 * SequenceMatcher(None, first, second).ratio()) > SIMILAR


def _plain(text: Wish) -> str:
    return re.sub(r"\W", " ", str(text).translate(_LATIN_1)).lower()


def _departments(product: Product) -> frozenset[str]:
    return frozenset(part.strip() for part in product.product_category.split("›"))


def _has(product: Product, attribute: str) -> bool:
    """Return whether a product has an attribute, or its texts say it."""
    return (
        any(alike(own, attribute) for own in product.attributes)
        or attribute in product.title.lower()
        or attribute in " ".join(product.bullets).lower()
        or attribute in product.description.lower()
    )
