"""What can be done to a page, as text.

| action | what it does |
|---|---|
| ``click [3]``, ``click 80,120`` | clicks on an element, or on a point of the page |
| ``hover [3]``, ``hover 80,120`` | moves the mouse there |
| ``type [3] "some text"`` | replaces what a field contains; a date or a time is typed as people write it |
| ``select [3] "an option"`` | chooses from a list; in a list of several it adds or takes away |
| ``press Enter`` | presses a key where the focus is |
| ``drag [3] to [5]``, ``drag 10,90 to 60,90``, ``drag [3] by 40,0`` | presses the mouse, moves it, lets it go |
| ``scroll [3] down``, ``scroll [3] up`` | scrolls by nine tenths of what is seen |
| ``highlight [3]``, ``highlight [3] "words"`` | selects the text of an element, or words in it |
| ``wait`` | does nothing; every action lets one second pass |

Texts are JSON strings, in actions as in observations: ``"caf\\u00e9"``, ``"two \\"quoted\\" words"``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

Action = Mapping[str, Any]
"""An action as the script of the page takes it."""

LONGEST: Final = 1000
"""Characters of the longest action."""
KEYS: Final = (
    *("Enter", "Tab", "Backspace", "Delete", "Escape", "Space", "Home", "End", "PageUp", "PageDown"),
    *("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"),
)
USAGE: Final = (
    'The actions are click [n], hover [n], type [n] "text", select [n] "option", press KEY, drag [n] to [m], '
    "drag [n] by X,Y, scroll [n] up, scroll [n] down, highlight [n], wait."
)

_UNREADABLE = re.compile(r"[^ -~]")
_WHERE = r"(\[\d{1,6}\]|-?\d{1,4},-?\d{1,4})"
_REF = r"(\[\d{1,6}\])"
_TEXT = r'("(?:[^"\\]|\\.)*")'


class NoAction(ValueError):
    """A text is no action; the message says why."""


def _where(text: str) -> dict[str, int]:
    if text.startswith("["):
        return {"ref": int(text[1:-1])}
    x, y = map(int, text.split(","))
    return {"x": x, "y": y}


def _string(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise NoAction(f"{text} is no JSON string.") from None


def _point(found: Sequence[str]) -> Action:
    return {"where": _where(found[0])}


def _text(found: Sequence[str]) -> Action:
    return {"where": _where(found[0]), "text": _string(found[1]) if found[1] else ""}


def _drag(found: Sequence[str]) -> Action:
    source, goal, by = found
    if goal:
        return {"from": _where(source), "to": _where(goal)}
    return {"from": _where(source), "by": [int(part) for part in by.split(",")]}


def _press(found: Sequence[str]) -> Action:
    key = found[0]
    if key not in KEYS and len(key) != 1:
        raise NoAction(f"There is no key {key[:20]!r}; there are {', '.join(KEYS)} and single characters.")
    return {"key": key}


_FORMS: Final[Mapping[str, tuple[re.Pattern[str], Callable[[Sequence[str]], Action]]]] = MappingProxyType(
    {
        "click": (re.compile(_WHERE), _point),
        "hover": (re.compile(_WHERE), _point),
        "type": (re.compile(rf"{_REF} {_TEXT}"), _text),
        "select": (re.compile(rf"{_REF} {_TEXT}"), _text),
        "press": (re.compile(r"(\S+)"), _press),
        "drag": (re.compile(rf"{_WHERE} (?:to {_WHERE}|by (-?\d{{1,4}},-?\d{{1,4}}))"), _drag),
        "scroll": (
            re.compile(rf"{_REF} (up|down)"),
            lambda found: {"where": _where(found[0]), "direction": found[1]},
        ),
        "highlight": (re.compile(rf"{_REF}(?: {_TEXT})?"), _text),
        "wait": (re.compile(""), lambda found: {}),
    }
)


def parse(text: str) -> Action:
    """Return an action as the script of the page takes it.

    Raises:
        NoAction: The text is none.
    """
    if len(text) > LONGEST:
        raise NoAction(f"An action has at most {LONGEST} characters; this one has {len(text)}.")
    verb, _, rest = text.strip().partition(" ")
    if verb not in _FORMS:
        raise NoAction(USAGE)
    form, read = _FORMS[verb]
    found = form.fullmatch(rest.strip())
    if found is None:
        raise NoAction(USAGE)
    return {"do": verb, **read([part or "" for part in found.groups()])}


def readable(text: str) -> str:
    """Return a text in printable ASCII, with other characters escaped as in JSON, so that they can be typed."""
    return _UNREADABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)
