"""How actions are written in text and read back.

Two formats. ``text`` is short, for small models trained here: thinking first, then one line per call that
begins with ``> ``; a text environment's command stands bare (``> open fridge 1``), any other tool as ``>
search({"query": "x"})``. ``template`` is the tagged JSON that most chat models were trained on
(``<tool_call>{…}</tool_call>``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.messages import InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call

from dyna_nodes.nouns import COMMAND_TOOL, Action, new_id

ToolFormat = Literal["text", "template"]

_CALL = re.compile(r"^([A-Za-z_][\w.\-]*)\((.*)\)$", re.DOTALL)
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)


class ParsedReply(NamedTuple):
    """A model's reply taken apart: the thinking, the calls, and the calls that could not be read."""

    thought: str
    calls: list[ToolCall]
    invalid: list[InvalidToolCall]


def format_calls(thought: str, calls: Sequence[ToolCall], tool_format: ToolFormat) -> str:
    """Write an assistant turn; `parse_reply` reads it back."""
    if not calls:
        return thought
    if tool_format == "text":
        lines = [f"> {Action(tool=c['name'], arguments=c['args']).text}" for c in calls]
    else:
        lines = [
            "<tool_call>\n{}\n</tool_call>".format(
                json.dumps({"name": c["name"], "arguments": c["args"]}, ensure_ascii=False)
            )
            for c in calls
        ]
    return "\n".join([thought, *lines] if thought else lines)


def parse_reply(text: str, tool_format: ToolFormat, tools: Sequence[str] = ()) -> ParsedReply:
    """Read an assistant turn.

    Args:
        text: What the model wrote.
        tool_format: The format it was asked for.
        tools: Names of the known tools. Without the command tool among them, a bare command is an invalid
            call; empty means that every name is accepted.

    Returns:
        Thinking, calls with fresh ids, and unreadable calls with the reason.
    """
    return _parse_text(text, tools) if tool_format == "text" else _parse_template(text, tools)


def parse_action(text: str) -> Action:
    """Read the canonical text of one action, the inverse of `Action.text`.

    Raises:
        ValueError: The text is empty, or it looks like a call whose arguments are not a JSON object.
    """
    text = text.strip()
    if not text:
        raise ValueError("empty action")
    match = _CALL.match(text)
    if match is None:
        return Action.command(text)
    try:
        arguments = json.loads(match[2] or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments of {match[1]!r} are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of {match[1]!r} are {type(arguments).__name__}, not a JSON object")
    return Action(tool=match[1], arguments=arguments)


def _parse_text(text: str, tools: Sequence[str]) -> ParsedReply:
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for line in text.strip().splitlines():
        if not line.startswith(">"):
            thoughts.append(line)
            continue
        try:
            action = parse_action(line[1:])
        except ValueError as error:
            invalid.append(_invalid(line[1:].strip(), str(error)))
            continue
        _sort_in(action.tool, dict(action.arguments), line[1:].strip(), tools, calls, invalid)
    return ParsedReply("\n".join(thoughts).strip(), calls, invalid)


def _parse_template(text: str, tools: Sequence[str]) -> ParsedReply:
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for body in _TAGGED.findall(text):
        try:
            data: Any = json.loads(body)
        except json.JSONDecodeError as error:
            invalid.append(_invalid(body, f"not JSON: {error}"))
            continue
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            invalid.append(_invalid(body, 'expected {"name": …, "arguments": {…}}'))
        elif not isinstance(data.get("arguments", {}), dict):
            invalid.append(_invalid(body, "arguments are not a JSON object"))
        else:
            _sort_in(data["name"], data.get("arguments", {}), body, tools, calls, invalid)
    return ParsedReply(_TAGGED.sub("", text).strip(), calls, invalid)


def _sort_in(
    name: str,
    arguments: dict[str, Any],
    source: str,
    tools: Sequence[str],
    calls: list[ToolCall],
    invalid: list[InvalidToolCall],
) -> None:
    if tools and name not in tools:
        known = ", ".join(tools)
        what = "a bare command" if name == COMMAND_TOOL else f"tool {name!r}"
        invalid.append(_invalid(source, f"{what} is not known here; the tools are: {known}", name))
    else:
        calls.append(tool_call(name=name, args=arguments, id=new_id()))


def _invalid(source: str, error: str, name: str | None = None) -> InvalidToolCall:
    return invalid_tool_call(name=name, args=source, id=new_id(), error=error)
