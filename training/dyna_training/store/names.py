"""Names out of recorded episodes, as a person can be shown them."""

from __future__ import annotations

from typing import Final

MOST: Final = 60
"""Characters of a name that are shown."""


def printable(name: str) -> str:
    """Return a name on one line, no longer than `MOST` characters, with escapes for what no terminal can show.

    Recorded names may hold anything: control sequences, half a surrogate pair, an action of a hundred kilobytes.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name[:MOST])
    return shown if len(name) <= MOST and len(shown) <= MOST else f"{shown[: MOST - 1]}…"
