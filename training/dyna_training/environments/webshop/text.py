"""Text in and out: printable ASCII pages, and the searches that an instruction suggests."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PUNCTUATION: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚′‵", "'"),
        **dict.fromkeys("“”„″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("•·●▪■◆★☆✔✓", "*"),
        **dict.fromkeys("\r\v\f\u00ad\u200b\u200c\u200d\ufe0f\ufeff", ""),
        **{"×": "x", "›": ">", "⁄": "/", "®": "(R)", "©": "(C)", "°": " degrees ", "æ": "ae", "ø": "o", "ß": "ss"},
    }
)
_PRICE: Final = re.compile(r", and price lower than [\d.]+ dollars$")
_MOST: Final = 8
"""Searches that are suggested at most."""


def plain(text: str) -> str:
    """Return a text in printable ASCII: letters without accents, plain quotes and dashes, ``?`` for the rest."""
    if text.isascii() and text.isprintable():
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_PUNCTUATION))
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return re.sub(r"[^ -~\n\t]", "?", letters)


def searches(instruction: str) -> list[str]:
    """Return what an instruction suggests to search for: all of it but the price, and its parts.

    Args:
        instruction: What the agent is told.
    """
    wish = _PRICE.sub("", instruction.lower()).removeprefix("find me ")
    parts = [wish, *re.split(r" with |, and |, |\. | and ", wish)]
    parts = [" ".join(re.sub(r"[\[\]]", " ", part).split()) for part in parts]
    return list(dict.fromkeys(part for part in parts if part))[:_MOST]

