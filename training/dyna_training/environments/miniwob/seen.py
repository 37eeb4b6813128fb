"""Observations read back: the elements and texts of a page, as one who plays reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_STRING: Final = r'"((?:[^"\\]|\\.)*)"'
_KINDS: Final = r"text area|radio button|list of several|[a-z]+ field|[\w.#()-]+"
_ELEMENT: Final = re.compile(rf" *\[(\d+)\] ({_KINDS})(?: {_STRING})?(?: with {_STRING})?(.*)")
_TEXT: Final = re.compile(rf" *{_STRING}")
_OPTION: Final = re.compile(rf"{_STRING}( selected)?")


@dataclass(frozen=True, slots=True)
class Element:
    """A line of the page: an element, or a text, which has no number.

    Attributes:
        ref: Its number; 0 for a text.
        kind: What it is: ``button``, ``text field``, ``span.alink``; ``""`` for a text.
        label: What it says.
        value: What a field contains.
        state: The rest of the line: ``checked``, ``open``, ``coloured red``.
    """

    ref: int
    kind: str
    label: str
    value: str
    state: str

    def says(self, word: str) -> bool:
        """Return whether its state has a word."""
        return word in self.state.split()

    @property
    def options(self) -> dict[str, bool]:
        """Options of a list, each with whether it is selected."""
        return {_string(text): bool(chosen) for text, chosen in _OPTION.findall(self.state)}

    @property
    def is_field(self) -> bool:
        """Whether text can be typed into it."""
        return self.kind.endswith((" field", "text area"))


class Seen:
    """What an observation shows.

    Attributes:
        lines: Elements and texts in their order.
        texts: The texts alone.
    """

    def __init__(self, observation: str) -> None:
        self.lines = tuple(filter(None, map(_read, observation.splitlines())))
        self.texts = tuple(line.label for line in self.lines if not line.ref)

    def all(self, kind: str) -> list[Element]:
        """Return the elements of a kind; ``field`` is any that can be typed into."""
        if kind == "field":
            return [line for line in self.lines if line.is_field]
        return [line for line in self.lines if line.ref and line.kind == kind]

    def first(self, wanted: Callable[[Element], bool]) -> Element | None:
        """Return the first element that fits."""
        return next((line for line in self.lines if line.ref and wanted(line)), None)

    def labelled(self, label: str) -> Element | None:
        """Return the first element that says this, in this case or else in any; fields are not meant."""
        return self.first(lambda one: one.label == label and not one.is_field) or self.first(
            lambda one: one.label.lower() == label.lower() and not one.is_field
        )

    def after(self, text: str, wanted: Callable[[Element], bool]) -> Element | None:
        """Return the first element that fits after the line that says a text."""
        places = [index for index, line in enumerate(self.lines) if line.label == text]
        rest = self.lines[places[0] :] if places else ()
        return next((line for line in rest if line.ref and wanted(line)), None)


def _read(line: str) -> Element | None:
    if found := _ELEMENT.fullmatch(line):
        ref, kind, label, value, state = found.groups()
        return Element(int(ref), kind, _string(label), _string(value), state)
    if found := _TEXT.fullmatch(line):
        return Element(0, "", _string(found[1]), "", "")
    return None


def _string(text: str | None) -> str:
    return str(json.loads(f'"{text}"')) if text else ""
