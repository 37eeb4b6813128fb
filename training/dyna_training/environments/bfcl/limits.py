"""Calls that would not end, or not in this life: refused before they run.

The package runs whatever it is asked for. Numbers of a billion digits, and copies of copies of folders that a search
then walks through one by one, would hold an episode for hours.
"""

from __future__ import annotations

import math
from typing import Any, Final

from dyna_training.environments.calls import Call

DIGITS: Final = 4300
"""Digits of the longest whole number that Python writes; the package answers longer ones with this same error."""
PRECISION: Final = 10_000
"""Digits of the highest precision that is computed."""
FILES: Final = 2_000
"""Files and folders of the largest folder that is copied."""


def refusal(instance: Any, call: Call) -> str | None:
    """Return why a call is not run; None where it is."""
    if call.name == "power":
        base, exponent = (_number(call, at, name) for at, name in enumerate(("base", "exponent")))
        if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 0:
            digits = exponent * math.log10(abs(base)) if exponent < 10**9 else math.inf
            if digits > DIGITS:
                return f"Exceeds the limit ({DIGITS} digits) for integer string conversion"
    elif call.name in ("logarithm", "square_root", "round_number"):
        at, name = {
            "logarithm": (2, "precision"),
            "square_root": (1, "precision"),
            "round_number": (1, "decimal_places"),
        }[call.name]
        if abs(_number(call, at, name)) > PRECISION:
            return f"{name} is more than {PRECISION} digits"
    elif call.name == "cp":
        source = call.kwargs.get("source", call.args[0] if call.args else None)
        there = instance._current_dir.contents
        item = there.get(source) if isinstance(source, str) else None
        if item is not None and _larger_than(item, FILES):
            return f"'{source}' has more than {FILES} files and folders"
    return None


def _number(call: Call, at: int, name: str) -> float:
    value = call.kwargs.get(name, call.args[at] if len(call.args) > at else 0)
    return value if isinstance(value, int | float) else 0


def _larger_than(item: Any, most: int) -> bool:
    """Return whether a tree has more nodes than ``most``; a folder that holds itself has."""
    waiting, seen = [item], 0
    while waiting and seen <= most:
        seen += 1
        waiting.extend(getattr(waiting.pop(), "contents", {}).values())
    return seen > most
