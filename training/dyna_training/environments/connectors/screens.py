"""Accessibility trees as text that can be read: one line for each thing that is seen, with where it is.

    [Files]
    push-button "Home" at 120,80
    entry "Search" = "report" at 400,80 focused

Whatever is neither visible nor says or does anything is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple
from xml.etree import ElementTree

Platform = Literal["Ubuntu", "Windows"]
LONGEST_LABEL: Final = 120
MOST: Final = 200
"""Things that are listed at most."""
_NUMBERS: Final = re.compile(r"-?\d+")
_STATES: Final = ("focused", "selected", "checked", "expanded")
_ACTIVE: Final = (
    "button",
    "item",
    "entry",
    "link",
    "text",
    "box",
    "tab",
    "menu",
    "slider",
    "icon",
    "field",
    "cell",
)
"""How the roles end of what can be acted on, even where it says nothing."""


class Seen(NamedTuple):
    """Something on a screen.

    Attributes:
        line: How it is described.
        x: Middle, in pixels.
        y: Middle, in pixels.
        active: Whether it can be acted on.
    """

    line: str
    x: int
    y: int
    active: bool


class UnreadableScreen(ValueError):
    """A tree is none; the message says what it begins with."""


def desktop(tree: str, platform: Platform = "Ubuntu") -> list[Seen | str]:
    """Read the accessibility tree of a desktop, as OSWorld's server writes it.

    Args:
        tree: XML.
        platform: Whose conventions it follows.

    Returns:
        What is seen, in the tree's order, after the name of the application that it is in.

    Raises:
        UnreadableScreen: It is no XML.
    """
    try:
        root = ElementTree.fromstring(tree)
    except ElementTree.ParseError as error:
        raise UnreadableScreen(
            f"the accessibility tree is no XML ({error}); it begins with {tree[:60]!r}"
        ) from error
    found: list[Seen | str] = []
    for application in root:
        things = [seen for node in application.iter() if (seen := _of_node(node, platform)) is not None]
        if things:
            found.append(f"[{application.get('name', application.tag)}]")
            found += things
    return found


def phone(elements: Sequence[Any], size: tuple[int, int]) -> list[Seen]:
    """Describe the elements of AndroidWorld's state; the number in front is the index that actions take.

    Args:
        elements: Its ``ui_elements``.
        size: Width and height of the screen.
    """
    return [
        seen
        for index, element in enumerate(elements)
        if (seen := _of_element(index, element, size)) is not None
    ]


def written(screen: Sequence[Seen | str]) -> str:
    """Return a screen as text."""
    lines = [seen if isinstance(seen, str) else seen.line for seen in screen[:MOST]]
    if len(screen) > MOST:
        lines.append(f"... and {len(screen) - MOST} more")
    return "\n".join(lines) or "(nothing is seen)"


def _of_node(node: ElementTree.Element, platform: Platform) -> Seen | None:
    # Namespaces differ between platforms and versions; the names in them do not.
    facts = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
    shown = facts.get("visible") == "true" and (platform == "Windows" or facts.get("showing") == "true")
    corner, size = _pair(facts.get("screencoord")), _pair(facts.get("size"))
    if not shown or corner is None or size is None or min(corner) < 0 or min(size) <= 0:
        return None
    name = _label(facts.get("name"))
    text = _label(node.text or facts.get("value"))
    active = node.tag.endswith(_ACTIVE)
    says = name or text or active
    if len(node) > 0:  # what is in it speaks for itself
        says = text or (name and active)
    if not says:
        return None
    said = f' "{name}"' if name else ""
    value = f' = "{text}"' if text and text != name else ""
    x, y = corner[0] + size[0] // 2, corner[1] + size[1] // 2
    states = [state for state in _STATES if facts.get(state) == "true"]
    if platform == "Ubuntu" and active and facts.get("enabled") != "true":
        states.append("disabled")
    return Seen(" ".join([f"{node.tag}{said}{value} at {x},{y}", *states]), x, y, active)


def _of_element(index: int, element: Any, size: tuple[int, int]) -> Seen | None:
    box = element.bbox_pixels
    if box is None or element.is_visible is False:
        return None
    left, right = max(0, int(box.x_min)), min(size[0], int(box.x_max))
    top, bottom = max(0, int(box.y_min)), min(size[1], int(box.y_max))
    if left >= right or top >= bottom:
        return None
    label = _label(element.text or element.content_description or element.hint_text)
    clickable = bool(element.is_clickable or element.is_editable or element.is_checkable)
    if not (label or clickable or element.is_scrollable):
        return None
    role = (element.class_name or "View").rpartition(".")[2]
    said = f' "{label}"' if label else ""
    name = (
        ""
        if label
        else f" ({(element.resource_name or '').rpartition('/')[2]})"
        if element.resource_name
        else ""
    )
    states = list(_states(element))
    return Seen(
        " ".join([f"{index} {role}{said}{name}", *states]),
        (left + right) // 2,
        (top + bottom) // 2,
        clickable,
    )


def _states(element: Any) -> Iterator[str]:
    if element.is_editable:
        yield "editable"
    if element.is_checkable:
        yield "on" if element.is_checked else "off"
    if element.is_selected:
        yield "selected"
    if element.is_focused:
        yield "focused"
    if element.is_scrollable:
        yield "scrollable"
    if element.is_enabled is False:
        yield "disabled"


def _label(text: str | None) -> str:
    label = " ".join((text or "").replace("\ufffc", "").split())
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 3] + "..."


def _pair(text: str | None) -> tuple[int, int] | None:
    numbers = _NUMBERS.findall(text or "")
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else None
