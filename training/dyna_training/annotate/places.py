"""Where a remark can stand in a thinking: after a line of the shared form, or after a sentence of free text."""

from __future__ import annotations

from typing import NamedTuple

from dyna_nodes.codec.thinking import parts
from dyna_training.traces.sentences import sentences


class Unit(NamedTuple):
    """A sentence, a block of code, or a line of the shared form of thinking, which stays whole.

    Attributes:
        start: Where it begins in the thinking, in characters.
        end: Where it ends.
    """

    start: int
    end: int


def units(thinking: str) -> list[Unit]:
    """Return the sentences of a thinking with their places, in order."""
    lines = [Unit(part.start, part.end) for part in parts(thinking) if part.kind != "remark"]
    found: list[Unit] = []
    at = 0
    for sentence in sentences(thinking):
        start = thinking.index(sentence.text, at)
        at = start + len(sentence.text)
        line = next((u for u in lines if u.start <= start < u.end), None)
        unit = Unit(start, at) if line is None or sentence.code else line
        if not found or found[-1] != unit:
            found.append(unit)
    return found


def numbered(thinking: str, places: list[Unit]) -> str:
    """Return a thinking with ``[[id=0]]``, ``[[id=1]]``, … in front of its sentences."""
    text, at = "", 0
    for number, unit in enumerate(places):
        text += f"{thinking[at : unit.start]}[[id={number}]] {thinking[unit.start : unit.end]}"
        at = unit.end
    return text + thinking[at:]


def anchor(thinking: str, places: list[Unit], number: int) -> str:
    """Return a text that ends with a sentence, and whose last occurrence in the thinking is that one.

    It is the sentence itself, with as many of those before it as are needed to tell it from a later one. A
    thinking that begins with a sentence and repeats it gives no way to tell them apart; then the later one is meant.
    """
    end = places[number].end
    for unit in reversed(places[: number + 1]):
        if thinking.rindex(text := thinking[unit.start : end]) == unit.start:
            return text
    return thinking[places[number].start : end]
