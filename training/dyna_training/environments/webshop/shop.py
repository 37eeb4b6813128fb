"""A shop: products, their prices, the search over them, and the goals of its customers. Read once per process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dyna_training.environments.base import GameFileError
from dyna_training.environments.webshop.goals import KINDS, Goal, Kind, make_goals
from dyna_training.environments.webshop.nouns import Nouns, Tagger, tagger
from dyna_training.environments.webshop.products import (
    HOW_TO_GET,
    HUMAN_FILE,
    Product,
    data_files,
    documents,
    load_products,
)
from dyna_training.environments.webshop.search import Index

PAGE: Final = 10
"""Products on a page of results."""


@dataclass(frozen=True, eq=False)
class Shop:
    """What all sessions share.

    Attributes:
        source: File of products and the words that reward goes by; with them another process opens the same shop.
        products: In the order of the file.
        prices: Price of each product, by its id.
        goals: Goals of each kind, in the original's order.
        by_asin: Number of each product, by its id in lower case.
        index: The search.
        nouns: Finds the words of a title that name things.
    """

    source: tuple[Path, Nouns]
    products: Sequence[Product]
    prices: Mapping[Kind, Mapping[str, float]]
    goals: Mapping[Kind, Sequence[Goal]]
    by_asin: Mapping[str, int]
    index: Index
    nouns: Tagger

    def __reduce__(self) -> tuple[Callable[..., Shop], tuple[Path, Nouns]]:
        return open_file, self.source

    def goal(self, name: str) -> Goal:
        """Return a goal by its name, ``synthetic/12``: its kind, and its number in the original's order.

        Raises:
            GameFileError: There is no such goal.
        """
        kind, number = parse(name)
        if number >= len(self.goals[kind]):
            hint = f" Human goals are in {HUMAN_FILE}. {HOW_TO_GET}" if kind == "human" else ""
            raise GameFileError(
                f"{name!r}: {self.source[0]} has {len(self.goals[kind])} {kind} goals, numbered from 0.{hint}"
            )
        return self.goals[kind][number]


def parse(name: str) -> tuple[Kind, int]:
    """Return the kind and number of a goal's name.

    Raises:
        GameFileError: It is not named ``synthetic/<number>`` or ``human/<number>``.
    """
    kind, _, number = name.partition("/")
    for known in KINDS:
        if kind == known and number.isascii() and number.isdigit() and len(number) < 10:
            return known, int(number)
    raise GameFileError(f"{name[:100]!r} names no goal; expected synthetic/<number> or human/<number>.")


def open_shop(data_dir: str | Path | None = None, nouns: Nouns = "words") -> Shop:
    """Return the shop of some data files; it is read once per process.

    Args:
        data_dir: Folder with the files, or the file of products; default ``$WEBSHOP_DATA``.
        nouns: How the words of a title that name things are found, see `nouns.tagger`.

    Raises:
        GameFileError: The files are missing or broken.
        PackageMissing: ``nouns="spacy"``, and the model is not installed.
    """
    return open_file(data_files(data_dir)[0].resolve(), nouns)


@functools.lru_cache(maxsize=2)
def open_file(products_file: Path, nouns: Nouns) -> Shop:
    """Return the shop of a file of products, see `open_shop`."""
    found_by = tagger(nouns)
    products = load_products(products_file)
    made = {kind: make_goals(products, kind) for kind in KINDS}
    return Shop(
        source=(products_file, nouns),
        products=products,
        prices={kind: prices for kind, (_, prices) in made.items()},
        goals={kind: goals for kind, (goals, _) in made.items()},
        by_asin={product.asin.lower(): number for number, product in enumerate(products)},
        index=Index(documents(products)),
        nouns=found_by,
    )
