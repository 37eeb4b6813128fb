"""Text that others wrote, as text spaces hold it: printable ASCII of a bounded length."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("•·★", "*"),
        "›": ">",
        "…": "...",
        "×": "x",
        "°": " degrees ",
        "\ufffc": "",  # stands for an embedded object
        "\r": "",
    }
)
_STRANGE: Final = re.compile(r"[^\n\t -~]")


def plain(text: str) -> str:
    """Return a text in printable ASCII: letters without accents, plain quotes and dashes, ``?`` for the rest."""
    if _STRANGE.search(text) is None:
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    return _STRANGE.sub("?", "".join(letter for letter in decomposed if not unicodedata.combining(letter)))


def cut(text: str, longest: int) -> str:
    """Return a text that is no longer than ``longest`` characters; one that was cut says how long it had been."""
    if len(text) <= longest:
        return text
    note = f"... ({len(text):,} characters)"
    return text[: longest - len(note)] + note
