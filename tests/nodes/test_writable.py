"""What arguments can be written down, and what becomes of a message with others."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from dyna_nodes.conversation import well_formed
from dyna_nodes.testing import calls
from dyna_nodes.writable import DEEPEST, unwritable, without_unwritable


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize("value", [{}, {"a": [1.5, None, True, "é😀"]}, {"a": -(2**63)}, nested(DEEPEST)])
def test_what_can_be_written(value: Any) -> None:
    assert unwritable(value) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": ["\udc00"]}, "surrogate"),
        ({"\ud83d": 1}, "surrogate"),
        ({"a": -(2**63) - 1}, "64 bits"),
        (nested(DEEPEST + 1), "64 levels"),
        (nested(100_000), "64 levels"),
    ],
)
def test_what_cannot(value: Any, why: str) -> None:
    assert why in str(unwritable(value))


def test_only_the_unwritable_calls_of_a_message_become_unreadable() -> None:
    message = calls(("a", {"x": 2**70, "y": 1}, "1"), ("b", {"x": 1}, "2"))
    message.content = [
        {"type": "text", "text": "Well."},
        {"type": "tool_use", "id": "1", "name": "a", "input": {"x": 2**70}},
        {"type": "tool_use", "id": "2", "name": "b", "input": {"x": 1}},
    ]
    found = without_unwritable(message)
    assert [c["id"] for c in found.tool_calls] == ["2"]
    (unread,) = found.invalid_tool_calls
    assert (unread["id"], unread["args"]) == ("1", "an object with 'x', 'y'")
    assert [b.get("input") for b in found.content if isinstance(b, dict)] == [None, {}, {"x": 1}]
    assert message.tool_calls[0]["args"] == {"x": 2**70, "y": 1}, "the message of the model stays as it is"


@pytest.mark.parametrize("given", ["x\0", "x\udc00"])
def test_ids_that_cannot_be_written_are_others(given: str) -> None:
    (made,) = well_formed(calls(("a", {}, given)), set()).message.tool_calls
    assert str(made["id"]).startswith("call_")


def test_a_message_that_can_be_written_is_the_same_message() -> None:
    message: AIMessage = calls(("a", {"x": 1}, "1"))
    assert without_unwritable(message) is message
