"""Text of observations: printable ASCII, cut where it is too long for a model to read."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 8192
"""Characters of the longest observation."""
OVER: Final = "The conversation is over."
_PUNCTUATION: Final = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "-", "–": "-", "…": "...", "°": " degrees "}
)
_STRANGE: Final = re.compile(r"[^\n\t -~]")


def plain(text: str) -> str:
    """Return a text in printable ASCII: what has a counterpart there is replaced by it, the rest by question marks."""
    if _STRANGE.search(text) is None:
        return _cut(text)
    decomposed = unicodedata.normalize("NFKD", text.translate(_PUNCTUATION))
    return _cut(_STRANGE.sub("?", "".join(c for c in decomposed if not unicodedata.combining(c))))


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    note = f"... ({len(text):,} characters)"
    return text[: LONGEST - len(note)] + note
