"""Messages of chat logs in one form, whoever serialised them: OpenAI's dictionaries and LangChain's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from dyna_nodes.nouns import Action, canonical_json
from dyna_training.traces.thinking import split_thinking

Role = Literal["system", "user", "assistant", "tool"]
ROLES: Final[Mapping[str, Role]] = {
    **dict.fromkeys(("system", "developer", "SystemMessage"), "system"),
    **dict.fromkeys(("user", "human", "HumanMessage", "HumanMessageChunk"), "user"),
    **dict.fromkeys(("assistant", "ai", "AIMessage", "AIMessageChunk", "model"), "assistant"),
    **dict.fromkeys(("tool", "function", "ToolMessage", "FunctionMessage"), "tool"),
}
"""Names of roles and of LangChain's message types."""
THINKING_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message that hold thinking as text."""


class MessageError(ValueError):
    """Something is no message; the text says what was found."""


class Call(NamedTuple):
    """A tool call: its id, and the action or why it could not be read."""

    id: str
    action: Action | None
    problem: str = ""


class Message(NamedTuple):
    """A message of any log.

    Attributes:
        role: Who speaks.
        text: What is said, without thinking.
        thinking: The thinking; empty where there is none.
        closed: False when the thinking, or the whole message, was cut off.
        calls: Tool calls of the assistant.
        answers: Id of the call that a tool message answers.
        failed: A tool message that says the tool failed.
    """

    role: Role
    text: str = ""
    thinking: str = ""
    closed: bool = True
    calls: tuple[Call, ...] = ()
    answers: str = ""
    failed: bool = False

    @property
    def key(self) -> str:
        """What tells messages apart, thinking left out, since logs seldom feed it back."""
        calls = [c.action.digest if c.action else c.problem for c in self.calls]
        return canonical_json([self.role, self.text, calls])


def role_of(value: Any) -> Role | None:
    """Return the role of a serialised message; None where it has none that is known."""
    if not isinstance(value, Mapping):
        return None
    if value.get("lc") and isinstance(value.get("id"), Sequence) and value["id"]:
        return ROLES.get(str(value["id"][-1]))
    named = value.get("role") or value.get("type")
    return ROLES.get(str(named))


def read_message(value: Any) -> Message:
    """Read one serialised message.

    Args:
        value: ``{"role", "content", …}``, ``{"type", "data"}``, ``{"type", "content"}`` or LangChain's
            constructor form ``{"lc", "id", "kwargs"}``.

    Raises:
        MessageError: It is none of them.
    """
    role = role_of(value)
    if role is None:
        raise MessageError(f"no message with a known role: {_short(value)}")
    body = value
    for inner in ("kwargs", "data"):
        if isinstance(value.get(inner), Mapping) and "content" not in value:
            body = value[inner]
    text, thinking = _content(body.get("content"))
    extra = body.get("additional_kwargs")
    places = [body, extra] if isinstance(extra, Mapping) else [body]
    thinking += [
        place[key]
        for place in places
        for key in THINKING_KEYS
        if isinstance(place.get(key), str) and place[key]
    ]
    reply = split_thinking(text) if role == "assistant" else None
    if reply is not None:
        text = reply.answer
        thinking.append(reply.thinking)
    return Message(
        role=role,
        text=text,
        thinking="\n\n".join(dict.fromkeys(t.strip() for t in thinking if t.strip())),
        closed=(reply is None or reply.closed) and not _cut_off(body, value),
        calls=tuple(_calls(places)) if role == "assistant" else (),
        answers=str(body.get("tool_call_id") or body.get("name") or "") if role == "tool" else "",
        failed=role == "tool" and _failed(body, text),
    )


def _content(content: Any) -> tuple[str, list[str]]:
    """Return text and thinking of a content, which is a text or a list of blocks."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    if not isinstance(content, Sequence):
        raise MessageError(f"content is neither a text nor a list: {_short(content)}")
    text: list[str] = []
    thinking: list[str] = []
    for block in content:
        if isinstance(block, str):
            text.append(block)
        elif isinstance(block, Mapping):
            kind = block.get("type")
            if kind in ("thinking", "reasoning", "reasoning_content"):
                thinking.append(_block_text(block))
            elif isinstance(block.get("text"), str):
                text.append(block["text"])
    return "".join(text), thinking


def _block_text(block: Mapping[str, Any]) -> str:
    for key in ("thinking", "reasoning", "text", "reasoning_content"):
        value = block.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping) and isinstance(value.get("text"), str):
            return str(value["text"])
    parts = _list(block.get("summary") or block.get("content"))
    return "\n\n".join(p["text"] for p in parts if isinstance(p, Mapping) and isinstance(p.get("text"), str))


def _list(value: Any) -> Sequence[Any]:
    """Return a list as it is, nothing as an empty one, and anything else as its only element."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _calls(places: Sequence[Mapping[str, Any]]) -> list[Call]:
    for place in places:
        calls = [_call(c) for c in _list(place.get("tool_calls"))]
        calls += [
            _call(c, str(c.get("error") or "")) if isinstance(c, Mapping) else _call(c)
            for c in _list(place.get("invalid_tool_calls"))
        ]
        if isinstance(place.get("function_call"), Mapping):
            calls.append(
                _call({"id": place["function_call"].get("name"), "function": place["function_call"]})
            )
        if calls:
            return calls
    return []


def _call(value: Any, error: str = "") -> Call:
    if not isinstance(value, Mapping):
        return Call("", None, f"no call: {_short(value)}")
    function = value.get("function") if isinstance(value.get("function"), Mapping) else value
    assert isinstance(function, Mapping)
    id, name = str(value.get("id") or ""), function.get("name")
    arguments = function.get("arguments", function.get("args", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as problem:
            return Call(id, None, error or f"the arguments of {name!r} are not JSON: {problem}")
    if not isinstance(name, str) or not isinstance(arguments, Mapping) or error:
        return Call(id, None, error or f"no name and arguments in the call: {_short(value)}")
    return Call(id, Action(tool=name, arguments=arguments))


_FAILURES: Final = (
    "error:",
    "error invoking tool",
    "error executing tool",
    "traceback (most recent call last)",
)


def _failed(body: Mapping[str, Any], text: str) -> bool:
    return (
        body.get("status") == "error"
        or bool(body.get("is_error"))
        or text.lstrip().lower().startswith(_FAILURES)
    )


def _cut_off(*places: Mapping[str, Any]) -> bool:
    metadata = [p.get("response_metadata") for p in places]
    found = [*places, *(m for m in metadata if isinstance(m, Mapping))]
    return any(p.get("finish_reason", p.get("stop_reason")) in ("length", "max_tokens") for p in found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
