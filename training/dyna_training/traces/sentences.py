"""Sentences of thinking: split, taken out, and put together again without changing a word."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

_FENCE: Final = re.compile(r"^(```|~~~)", re.MULTILINE)
_END: Final = re.compile(
    r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bvs\.)(?<!^\d\.)(?<!^\d\d\.)"
    r"(?<=[.!?…。！？])(?:[\"'”’)\]*`]*)(?:\s+|(?<=[。！？]))(?=\S)"
)


class Sentence(NamedTuple):
    """A sentence, a line of a list, or a fenced block of code.

    Attributes:
        text: Its text, without space around it.
        gap: The space between it and the next one.
        code: Whether it is a block of code.
    """

    text: str
    gap: str
    code: bool = False


def sentences(text: str) -> list[Sentence]:
    """Split a text; lines end sentences, and a block of code is one sentence."""
    found: list[Sentence] = []
    for piece, code in _pieces(text):
        if code:
            found.append(Sentence(piece.strip("\n"), "\n", True))
            continue
        for line in re.findall(r"[^\n]*\n\s*|[^\n]+", piece):
            body = line.strip()
            if not body:
                if found:
                    found[-1] = found[-1]._replace(gap=found[-1].gap + line)
                continue
            start = 0
            for match in _END.finditer(body):
                found.append(Sentence(body[start : match.end()].strip(), " "))
                start = match.end()
            found.append(Sentence(body[start:], line[len(line.rstrip()) :] or " "))
    return found


def _pieces(text: str) -> list[tuple[str, bool]]:
    """Split a text into prose and fenced code; a fence that is never closed is prose."""
    fences = [m.start() for m in _FENCE.finditer(text)]
    pieces: list[tuple[str, bool]] = []
    at = 0
    for opened, closed in zip(fences[::2], fences[1::2], strict=False):
        end = text.find("\n", closed)
        end = len(text) if end < 0 else end + 1
        pieces += [(text[at:opened], False), (text[opened:end], True)]
        at = end
    return [*pieces, (text[at:], False)]


def joined(parts: Sequence[Sentence], keep: Collection[int]) -> str:
    """Return the text of the kept sentences; where some are missing, the widest gap among them stays."""
    order = sorted(keep)
    text: list[str] = []
    for place, index in enumerate(order):
        if place:
            breaks = max(parts[i].gap.count("\n") for i in range(order[place - 1], index))
            text.append("\n" * min(breaks, 2) if breaks else " ")
        text.append(parts[index].text)
    return "".join(text)


def is_selection(short: str, full: str) -> bool:
    """Tell whether the sentences of ``short`` are sentences of ``full``, in their order."""
    rest = iter([s.text for s in sentences(full)])
    return all(any(own.text == other for other in rest) for own in sentences(short))
