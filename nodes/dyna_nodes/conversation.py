"""Reading and writing the conversation: what was executed, what is a hint, which calls are well formed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import ToolCall

from dyna_nodes.nouns import Action, Step, new_id
from dyna_nodes.writable import unwritable, without_unwritable

MARK = "dyna"
"""Key in ``additional_kwargs`` of the messages that the loop itself writes; a dict with ``kind``."""
_THINKING = frozenset({"reasoning", "reasoning_content", "reasoning_details", "thinking"})
"""Keys in which providers' models hand over what they thought, in ``additional_kwargs`` and in content blocks."""
_BLOCKS = frozenset({"reasoning", "reasoning_content", "thinking"})
"""Types of the content blocks that hold thinking."""
EMPTY_HINT = "Your last message was empty. Call a tool, or write your final answer."


def mark(kind: str, **more: Any) -> dict[str, Any]:
    """Return the ``additional_kwargs`` of a message that the loop writes."""
    return {MARK: {"kind": kind, **more}}


def marked(message: BaseMessage) -> dict[str, Any]:
    """Return the loop's mark of a message, empty for messages of others."""
    value = message.additional_kwargs.get(MARK)
    return value if isinstance(value, dict) else {}


def text_of(message: BaseMessage) -> str:
    """Return the text of a message; other content blocks are written as JSON where a tool observed them."""
    if isinstance(message.content, str):
        return message.content
    parts: list[str] = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block.get("text", "")))
        elif isinstance(message, ToolMessage):
            parts.append(json.dumps(block, sort_keys=True, ensure_ascii=False, default=str))
    return "".join(parts)


def action_of(call: ToolCall) -> Action:
    """Return the action of a tool call."""
    return Action(tool=call["name"], arguments=call["args"])


def refusal(call_id: str, name: str, text: str, kind: str = "refused") -> ToolMessage:
    """Return the error message that answers a call which did not run."""
    return ToolMessage(text, tool_call_id=call_id, name=name, status="error", additional_kwargs=mark(kind))


def hint_message(text: str) -> HumanMessage:
    """Return a hint that answers no call; it is not part of the task."""
    return HumanMessage(text, additional_kwargs=mark("hint"), id=new_id())


def final_note(kind: str, reason: str) -> AIMessage:
    """Return the message with which a run ends that did not end by itself."""
    return AIMessage(
        f"The run ended: {reason}.".replace("..", "."), additional_kwargs=mark(kind), id=new_id()
    )


def is_task(message: BaseMessage) -> bool:
    """Tell whether a message is what a user asked for."""
    # LangChain notes in lc_source who wrote a message in a user's name, such as a summary.
    return (
        isinstance(message, HumanMessage)
        and not marked(message)
        and not message.additional_kwargs.get("lc_source")
    )


def task_of(messages: Iterable[BaseMessage]) -> str:
    """Return the text of what users asked for, oldest first."""
    return "\n\n".join(text_of(m) for m in messages if is_task(m))


def new_turn(messages: Sequence[BaseMessage], heard: str | None = None) -> list[BaseMessage]:
    """Return the trailing messages of users: what they asked since the agent last spoke.

    Args:
        messages: The conversation.
        heard: Id of a message that is known already, with all before it.
    """
    turn: list[BaseMessage] = []
    for message in reversed(messages):
        if not is_task(message) or (heard is not None and message.id == heard):
            break
        turn.append(message)
    return turn[::-1]


def executed(messages: Sequence[BaseMessage]) -> list[Step]:
    """Return the executed (action, observation) pairs; refused calls, hints and thoughts are left out."""
    calls: dict[str, ToolCall] = {}
    steps: list[Step] = []
    for message in messages:
        if isinstance(message, AIMessage):
            calls.update({c["id"]: c for c in message.tool_calls if c["id"]})
        elif isinstance(message, ToolMessage) and not marked(message):
            call = calls.pop(message.tool_call_id, None)
            if call is not None:
                steps.append(Step(action=action_of(call), observation=text_of(message)))
    return steps


def last_ai(messages: Sequence[BaseMessage]) -> AIMessage:
    """Return the last message of the policy.

    Raises:
        ValueError: There is none.
    """
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            return message
    raise ValueError("there is no AIMessage in `messages`; the node runs after `simulate`")


class Candidate(NamedTuple):
    """A response of the policy, made well formed.

    Attributes:
        message: The message; every call in it has a unique id.
        kind: ``calls``, ``answer``, ``invalid`` (only unreadable calls) or ``empty``.
    """

    message: AIMessage
    kind: str


def well_formed(message: AIMessage, taken: set[str]) -> Candidate:
    """Make a response well formed: every call gets an id that the conversation has not seen, and arguments that
    no checkpoint can hold make it unreadable.

    Args:
        message: What the policy wrote.
        taken: Ids in use; those of this message are added.
    """
    message = without_unwritable(message)
    renamed: dict[int, str] = {}
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    for index, call in enumerate(calls):
        given = call.get("id")
        if not given or given in taken or "\0" in given or unwritable(given):  # Postgres holds no NUL
            renamed[index] = f"call_{new_id()}"
        taken.add(renamed.get(index) or str(given))
    updates: dict[str, Any] = {}
    if message.id is None:
        updates["id"] = f"dyna-{new_id()}"
    if renamed:
        count = len(message.tool_calls)
        updates["tool_calls"] = [
            {**c, "id": renamed.get(i, c["id"])} for i, c in enumerate(message.tool_calls)
        ]
        updates["invalid_tool_calls"] = [
            {**c, "id": renamed.get(count + i, c["id"])} for i, c in enumerate(message.invalid_tool_calls)
        ]
        updates["content"] = _rename_blocks(message.content, updates["tool_calls"])
    if updates:
        message = message.model_copy(update=updates)
    if message.tool_calls:
        return Candidate(message, "calls")
    if message.invalid_tool_calls:
        return Candidate(message, "invalid")
    return Candidate(message, "answer" if message.content and _has_content(message) else "empty")


def _has_content(message: AIMessage) -> bool:
    if isinstance(message.content, str):
        return bool(message.content.strip())
    return any(
        (isinstance(b, str) and b.strip())
        or (
            isinstance(b, dict)
            and (b.get("type") not in {"text", "reasoning", "thinking"} or str(b.get("text", "")).strip())
        )
        for b in message.content
    )


def _rename_blocks(content: Any, calls: Sequence[ToolCall]) -> Any:
    """Give the call blocks inside a provider's content the ids of the calls; both are in the same order."""
    if isinstance(content, str):
        return content
    ids = iter([c["id"] for c in calls])
    return [
        {**b, "id": next(ids, b.get("id"))}
        if isinstance(b, dict) and b.get("type") in {"tool_use", "tool_call"}
        else b
        for b in content
    ]


def ids_in(messages: Sequence[BaseMessage]) -> set[str]:
    """Return the ids of all calls of a conversation."""
    return {
        str(call["id"])
        for message in messages
        if isinstance(message, AIMessage)
        for call in (*message.tool_calls, *message.invalid_tool_calls)
        if call.get("id")
    }


def rejected_alone(candidate: AIMessage) -> tuple[list[BaseMessage], str]:
    """Return the messages that a response without a readable call leaves, and the hint in them.

    An empty response is not kept, since providers refuse empty messages; an unreadable call is answered.
    """
    if not candidate.invalid_tool_calls:
        return [hint_message(EMPTY_HINT)], EMPTY_HINT
    answers = invalid_answers(candidate)
    return [candidate, *answers], " ".join(text_of(a) for a in answers)


def invalid_answers(message: AIMessage) -> list[BaseMessage]:
    """Return the answers to the unreadable calls of a message."""
    return [
        refusal(
            str(call["id"]),
            call["name"] or "unknown",
            f"This call could not be read: {call['error'] or 'its arguments are not a JSON object'}. "
            f"Write the arguments as one JSON object. You wrote: {call['args']!s:.200}",
            kind="invalid",
        )
        for call in message.invalid_tool_calls
    ]


def thought_of(message: AIMessage) -> str:
    """Return what the policy wrote besides its calls: its thinking, wherever its provider puts it, and its text."""
    if isinstance(message.content, str) and not message.additional_kwargs:
        return message.content
    hidden = [message.additional_kwargs.get(key) for key in sorted(_THINKING)]
    if not isinstance(message.content, str):
        hidden += [b for b in message.content if isinstance(b, dict) and b.get("type") in _BLOCKS]
    thinking = list(dict.fromkeys(text for value in hidden for text in _texts(value)))
    return "\n".join([*thinking, *filter(None, [text_of(message)])])


def _texts(value: Any) -> list[str]:
    """Return the texts in what a provider hands over as thinking: a text, a block, or a list of them."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    if isinstance(value, dict):
        return [text for key in (*sorted(_THINKING), "summary", "text") for text in _texts(value.get(key))]
    return []


def actions_only(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the conversation as a policy reads it that remembers what it did and not what it thought.

    Of a message with calls the calls stay; its text and thinking go, wherever the provider puts them. A message
    without a readable call, such as an answer to the user, is shown whole: its text is all there is of it.
    """
    return [_without_thinking(m) if isinstance(m, AIMessage) and m.tool_calls else m for m in messages]


def _without_thinking(message: AIMessage) -> AIMessage:
    more = {k: v for k, v in message.additional_kwargs.items() if k not in _THINKING}
    return message.model_copy(update={"content": "", "additional_kwargs": more})


def answered(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the conversation with an answer to every call, as providers demand.

    A call stays unanswered when a user speaks before the run has resumed; nobody knows whether it ran.
    """
    result: list[BaseMessage] = []
    open_calls: dict[str, ToolCall] = {}
    for message in messages:
        if isinstance(message, ToolMessage):
            open_calls.pop(message.tool_call_id, None)
        elif open_calls:
            result.extend(_unanswered(open_calls))
            open_calls = {}
        if isinstance(message, AIMessage):
            open_calls = {str(c["id"]): c for c in message.tool_calls}
        result.append(message)
    result.extend(_unanswered(open_calls))
    return result


def _unanswered(calls: dict[str, ToolCall]) -> list[BaseMessage]:
    text = "No result: the run was interrupted before this call was answered. It may or may not have run."
    return [refusal(id, call["name"], text, kind="interrupted") for id, call in calls.items()]
