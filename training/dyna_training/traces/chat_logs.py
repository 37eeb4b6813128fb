"""Chat logs: OpenAI's messages and the runs that LangSmith exports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_nodes.nouns import digest_of
from dyna_training.traces.conversation import AS_LOGGED, Conversation, Reading, convert, outcome_of
from dyna_training.traces.messages import Message, MessageError, read_message, role_of
from dyna_training.traces.problems import Imported, Reason, Reported
from dyna_training.traces.records import read_records


class _Raw(NamedTuple):
    """The messages of a record as they are serialised, and the names of its tools."""

    messages: list[Any]
    tools: list[str] | None
    model: str


def read_chat_log(path: Path, format: str, reading: Reading = AS_LOGGED) -> Iterator[Imported]:
    """Read one file of conversations.

    Records that log the same run request by request repeat all earlier messages. Each run is imported once,
    from its longest record; thinking that only the shorter ones hold is taken from there.

    Args:
        path: A JSON or JSONL file.
        format: ``openai`` or ``langsmith``.
        reading: How it is to be read.

    Raises:
        OSError: The file cannot be read at all.
    """
    found = read_records(path)
    raw_of = RAW[format]
    if found.reported:
        yield Imported(str(path), None, 0, found.reported)
    conversations: list[Conversation] = []
    for number, record in found.records:
        raw = raw_of(record)
        if raw is None or not raw.messages:
            reason = Reason.FORMAT if raw is None else Reason.EMPTY
            detail = "no messages in it" if raw is None else "its list of messages is empty"
            line = Reported(file=str(path), record=number, reason=reason, detail=detail)
            yield Imported(str(path), None, 0, [line])
            continue
        conversations.append(_conversation(path, number, record, raw))
    for conversation in _merged(conversations):
        yield convert(conversation, format, reading)


def _conversation(path: Path, number: int, record: Any, raw: _Raw) -> Conversation:
    messages: list[Message] = []
    reported: list[Reported] = []
    turns = 0
    for value in raw.messages:
        is_turn = role_of(value) == "assistant"
        turns += is_turn
        try:
            messages.append(read_message(value))
        except MessageError as error:
            reported.append(
                Reported(
                    file=str(path),
                    record=number,
                    turn=turns if is_turn else None,
                    reason=Reason.FORMAT,
                    detail=str(error),
                    turns=int(is_turn),
                )
            )
    outcome = outcome_of(record) if isinstance(record, Mapping) else "unknown"
    return Conversation(str(path), number, messages, turns, raw.tools, outcome, raw.model, tuple(reported))


def _merged(conversations: Sequence[Conversation]) -> Iterator[Conversation]:
    """Yield each run once; what repeats the beginning of a longer record is reported and fills its thinking."""
    keys = [[m.key for m in c.messages if m.role != "system"] for c in conversations]
    whole: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        whole.setdefault(digest_of(key), []).append(index)
    longest_first = sorted(range(len(keys)), key=lambda i: -len(keys[i]))
    swallowed: set[int] = set()
    for index in longest_first:
        if index in swallowed:
            continue
        conversation = conversations[index]
        for end in range(len(keys[index]), 0, -1):
            for other in whole.get(digest_of(keys[index][:end]), ()):
                if other in swallowed or other == index or not conversations[other].turns:
                    continue
                filled = _filled(conversation.messages, conversations[other].messages)
                if filled is None:
                    continue
                swallowed.add(other)
                conversation = conversation._replace(
                    messages=filled,
                    turns=conversation.turns + conversations[other].turns,
                    reported=(*conversation.reported, *_repeats(conversations[other], conversation.record)),
                    outcome=conversation.outcome
                    if conversation.outcome != "unknown"
                    else conversations[other].outcome,
                    model=conversation.model or conversations[other].model,
                    tools=conversation.tools
                    if conversation.tools is not None
                    else conversations[other].tools,
                )
        yield conversation


def _repeats(other: Conversation, record: int) -> list[Reported]:
    unread = sum(line.turns for line in other.reported)
    line = Reported(
        file=other.file,
        record=other.record,
        reason=Reason.REPEATED,
        detail=f"record {record} holds the same messages",
        turns=other.turns - unread,
    )
    return [*other.reported, line]


def _filled(longer: Sequence[Message], shorter: Sequence[Message]) -> list[Message] | None:
    """Return the longer messages with the thinking of the shorter; None when the two thought differently."""
    result = list(longer)
    places = [i for i, m in enumerate(longer) if m.role != "system"]
    spoken = [m for m in shorter if m.role != "system"]
    for place, message in zip(places, spoken, strict=False):
        own = result[place].thinking
        if message.thinking and own and message.thinking != own:
            return None
        if message.thinking and not own:
            result[place] = result[place]._replace(thinking=message.thinking, closed=message.closed)
    return result


# Records of OpenAI-style logs


def _openai(record: Any) -> _Raw | None:
    if isinstance(record, list):
        return _Raw(record, None, "")
    if not isinstance(record, Mapping):
        return None
    request = next((record[k] for k in ("request", "body") if isinstance(record.get(k), Mapping)), record)
    messages = request.get("messages")
    if not isinstance(messages, list):
        return None
    response = record.get("response", record.get("completion"))
    choices = _mapping(response).get("choices", record.get("choices"))
    added = [response] if role_of(response) else _choices(choices)
    model = request.get("model") or _mapping(response).get("model")
    return _Raw([*messages, *added], _tool_names(request), model if isinstance(model, str) else "")


def _choices(choices: Any) -> list[Any]:
    """Return the message of the first choice, with the reason why it ended."""
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return []
    message = choices[0].get("message")
    if not isinstance(message, Mapping):
        return []
    return [{"role": "assistant", **message, "finish_reason": choices[0].get("finish_reason")}]


def _tool_names(place: Mapping[str, Any]) -> list[str] | None:
    tools = place.get("tools", place.get("functions"))
    if not isinstance(tools, list):
        return None
    named = [t.get("function") if isinstance(_mapping(t).get("function"), Mapping) else t for t in tools]
    return [str(_mapping(t)["name"]) for t in named if "name" in _mapping(t)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# Runs that LangSmith exports


def _langsmith(record: Any) -> _Raw | None:
    if not isinstance(record, Mapping):
        return None
    before = _messages(_mapping(record.get("inputs")))
    after = _messages(_mapping(record.get("outputs")))
    if not before and not after:
        return None
    # A graph's output repeats its input, a model's output is only what it said.
    repeats = bool(before) and [_bare(m) for m in after[: len(before)]] == [_bare(m) for m in before]
    invocation = _mapping(_mapping(record.get("extra")).get("invocation_params"))
    model = invocation.get("model") or invocation.get("model_name") or ""
    return _Raw(after if repeats else [*before, *after], _tool_names(invocation), str(model))


def _messages(place: Mapping[str, Any]) -> list[Any]:
    for key in ("messages", "input", "output", "generations", "message"):
        value = place.get(key)
        if isinstance(value, Mapping) and "messages" in value:
            value = value["messages"]
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = value[0]
        if isinstance(value, Mapping):
            value = [value]
        if isinstance(value, list) and value:
            found = [m["message"] if key == "generations" and "message" in _mapping(m) else m for m in value]
            if any(role_of(m) for m in found):
                return found[:1] if key == "generations" else found
    return []


def _bare(value: Any) -> str | None:
    try:
        return read_message(value).key
    except MessageError:
        return None


RAW: Final[Mapping[str, Callable[[Any], _Raw | None]]] = {"openai": _openai, "langsmith": _langsmith}
