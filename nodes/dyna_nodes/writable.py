"""Arguments that no checkpoint, journal or log can hold: found before anything is done with them.

JSON can say what MessagePack and UTF-8 cannot: half of a surrogate pair, integers of any length, values nested
without end. A model that writes such a call is told so; otherwise the first checkpoint would end the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, InvalidToolCall

DEEPEST = 64
"""Levels of lists and objects in arguments; checkpoints hold about 250, of which the state takes its share."""
SMALLEST, GREATEST = -(2**63), 2**64 - 1
"""The integers that MessagePack holds."""
_HALF = re.compile("[\ud800-\udfff]")
_CALLS = frozenset({"tool_use", "tool_call"})
"""Types of the content blocks in which providers repeat a call."""


def unwritable(arguments: Any) -> str | None:
    """Return why arguments cannot be written down; None when they can."""
    rest: list[tuple[Any, int]] = [(arguments, 1)]
    while rest:
        value, level = rest.pop()
        if isinstance(value, str):
            if not value.isascii() and _HALF.search(value):
                return "its arguments hold half of a surrogate pair, which is no text"
        elif isinstance(value, int):
            if not SMALLEST <= value <= GREATEST:
                return "its arguments hold an integer of more than 64 bits"
        elif isinstance(value, Mapping | list | tuple):
            if level > DEEPEST:
                return f"its arguments are nested more than {DEEPEST} levels deep"
            parts = [*value, *value.values()] if isinstance(value, Mapping) else value
            rest.extend((part, level + 1) for part in parts)
    return None


def without_unwritable(message: AIMessage) -> AIMessage:
    """Return a message whose unwritable calls are unreadable ones, as if the provider had not parsed them."""
    why = [unwritable(call["args"]) for call in message.tool_calls]
    if not any(why):
        return message
    readable = [call for call, reason in zip(message.tool_calls, why, strict=True) if reason is None]
    unreadable = [
        InvalidToolCall(
            name=call["name"],
            args=f"an object with {', '.join(map(ascii, call['args']))}",
            id=call["id"],
            error=reason,
            type="invalid_tool_call",
        )
        for call, reason in zip(message.tool_calls, why, strict=True)
        if reason is not None
    ]
    content = message.content
    if not isinstance(content, str):
        content = [_without_arguments(block) for block in content]
    return message.model_copy(
        update={
            "content": content,
            "tool_calls": readable,
            "invalid_tool_calls": [*message.invalid_tool_calls, *unreadable],
        }
    )


def _without_arguments(block: Any) -> Any:
    """Return a content block without arguments that cannot be written."""
    if not isinstance(block, dict) or block.get("type") not in _CALLS:
        return block
    return {k: {} if k in ("input", "args") and unwritable(v) else v for k, v in block.items()}
