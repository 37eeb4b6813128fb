"""The searches that an instruction suggests."""

from __future__ import annotations

import re
from typing import Final

_PRICE: Final = re.compile(r", and price lower than [\d.]+ dollars$")
_MOST: Final = 8
"""Searches that are suggested at most."""


def searches(instruction: str) -> list[str]:
    """Return what an instruction suggests to search for: all of it but the price, and its parts.

    Args:
        instruction: What the agent is told.
    """
    wish = _PRICE.sub("", instruction.lower()).removeprefix("find me ")
    parts = [wish, *re.split(r" with |, and |, |\. | and ", wish)]
    parts = [" ".join(re.sub(r"[\[\]]", " ", part).split()) for part in parts]
    return list(dict.fromkeys(part for part in parts if part))[:_MOST]
