"""What the pages of the shop say, in the original's simple text mode: pieces of text between ``[SEP]``.

Empty pieces, and those of white space with a line break, are left out, as they vanish from the original's pages;
other white space leaves an empty piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from dyna_training.environments.webshop.products import Product

SEPARATOR: Final = " [SEP] "
SEARCH: Final = "Search"
BACK: Final = "Back to Search"
NEXT: Final = "Next >"
PREV: Final = "< Prev"
BUY: Final = "Buy Now"
SUB_PAGES: Final = ("Description", "Features", "Reviews", "Attributes")
_WHITE_SPACE: Final = " \n\t\f\r"


def search_page(instruction: str) -> str:
    """Return the page with the search bar."""
    return _joined(["WebShop", *_asked(instruction), SEARCH])


def results_page(instruction: str, products: Sequence[Product], number: int, total: int) -> str:
    """Return a page of results.

    Args:
        instruction: What is asked for.
        products: Those of this page.
        number: Of the page, from 1.
        total: Products found.
    """
    listed = (text for product in products for text in (product.asin, product.title, product.price_tag))
    back = [PREV] if number > 1 else []
    title = f"Page {number} (Total results: {total})"
    return _joined([*_asked(instruction), BACK, title, *back, NEXT, *_shown(listed)])


def item_page(instruction: str, product: Product, attributes_page: bool) -> str:
    """Return the page of a product; it does not say what is chosen.

    Args:
        instruction: What is asked for.
        product: The product.
        attributes_page: Whether there is a page of attributes.
    """
    options = (text for name, values in product.options for text in (name, *values))
    price = f"Price: {product.price_tag}"
    return _joined(
        [
            *_asked(instruction),
            *(BACK, PREV),
            *_shown((*options, product.title)),
            *(price, "Rating: N.A."),
            *sub_pages(attributes_page),
            BUY,
        ]
    )


def sub_pages(attributes_page: bool) -> tuple[str, ...]:
    """Return the names of the pages about a product; attributes are shown only on demand."""
    return SUB_PAGES if attributes_page else SUB_PAGES[:-1]


def sub_page(instruction: str, product: Product, name: str) -> str:
    """Return one of `SUB_PAGES` about a product; there are no reviews in the data, as in the original."""
    texts: Iterable[str] = ()
    if name == "Description":
        texts = (product.description,)
    elif name == "Features":
        texts = (f" {bullet}" for bullet in product.bullets)
    elif name == "Attributes":
        about = (product.category, product.query, product.product_category)
        texts = (*(f" {attribute}" for attribute in product.attributes), *about)
    return _joined([*_asked(instruction), BACK, PREV, *_shown(texts)])


def done_page(asin: str, options: dict[str, str], reward: float) -> str:
    """Return the page after buying, with the original's empty fields and its spelling."""
    chosen = json.dumps(options, sort_keys=True)
    for character in "<>&'":
        chosen = chosen.replace(character, f"\\u{ord(character):04x}")
    purchased = ("asin", asin, "options", chosen, "attrs", "None", "category", "None", "query", "None")
    target = (
        "asin",
        "options",
        "attrs",
        "price upper",
        "instuction text",
        "category",
        "product category",
        "query",
    )
    return _joined(
        [
            *("Thank you for shopping with us!", "Your code:", "None", "(Paste it in your MTurk interface.)"),
            *("Purchased", *purchased, "product category", "None", "Target", *target, "Goal", "None"),
            *("Reward", "Your score (min 0.0, max 1.0)", str(reward), "Reward Details", "None"),
        ]
    )


def _asked(instruction: str) -> list[str]:
    return ["Instruction:", *_shown([instruction])]


def _shown(texts: Iterable[str]) -> list[str]:
    """Return what is seen of texts in a page."""
    return [text.strip() for text in texts if text and not ("\n" in text and not text.strip(_WHITE_SPACE))]


def _joined(pieces: Iterable[str]) -> str:
    return SEPARATOR.join(pieces)
