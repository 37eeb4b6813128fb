"""Text that others wrote, as text spaces hold it: printable ASCII of a bounded length."""

from __future__ import annotations

import functools
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
    return _STRANGE.sub(lambda match: _plain_letter(match[0]), text)


@functools.cache
def _plain_letter(letter: str) -> str:
    decomposed = unicodedata.normalize("NFKD", letter.translate(_SIGNS))
    return _STRANGE.sub("?", "".join(part for part in decomposed if not unicodedata.combining(part)))


def cut(text: str, longest: int) -> str:
    """Return a text that is no longer than ``longest`` characters; one that was cut says how long it had been."""
    if len(text) <= longest:
        return text
    note = f"... ({len(text):,} characters)"
    return text[: longest - len(note)] + note
