"""Follows a thread from checkpoint to checkpoint: which message came when, written by which node, on which branch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_messages
from langchain_core.messages.tool import ToolCall

from dyna_graph.harvest.databases import CheckpointRow
from dyna_nodes.nouns import digest_of

INTERNAL = "__interrupt__"
EDITS = "hitl_edited_tool_calls"
"""Channel in which `HumanInTheLoopMiddleware` keeps the calls that a human changed, by their id."""


class Seen(NamedTuple):
    """A message, where it first appeared.

    Attributes:
        key: Tells it apart from every other message of the thread.
        message: The message as it was then; later edits and removals do not matter.
        call: Of the answer to a call, the call as it stood then; None when there is no such call.
        writers: Nodes that wrote into the state in that step; empty when that is not known.
        source: What made the checkpoint.
        version: Version of the checkpoint's format.
        time: Unix time in seconds; 0 when it is not known.
    """

    key: str
    message: BaseMessage
    call: ToolCall | None
    writers: frozenset[str]
    source: str
    version: str
    time: float


class Followed(NamedTuple):
    """A thread.

    Attributes:
        branches: The messages of each branch, each from the beginning of the thread; where the thread forks, what
            was there first comes first.
        checkpoints: How many were read.
        problems: What could not be read: the checkpoint's id and why.
    """

    branches: Sequence[Sequence[Seen]]
    checkpoints: int
    problems: Sequence[tuple[str, str]]


class _Node(NamedTuple):
    seen: list[Seen]
    versions: Mapping[str, Any]
    path: tuple[str, ...]


def follow(rows: Iterable[CheckpointRow], channel: str = "messages") -> Followed:
    """Follow a thread.

    A branch is a line of checkpoints from the first to one that nothing follows; time travel makes several. What a
    summary later removed from the state is still there, from the checkpoints before it.

    Args:
        rows: The checkpoints, oldest first.
        channel: The channel that holds the messages.
    """
    nodes: dict[str, _Node] = {}
    parents: set[str] = set()
    problems: list[tuple[str, str]] = []
    count = 0
    for row in rows:
        parents.add(row.parent or "")
        if row.checkpoint is None:
            problems.append((row.id, row.problem))
            if row.id and row.parent in nodes:  # what follows it goes on from what was there before
                nodes[row.id] = nodes[row.parent]
            continue
        count += 1
        before = nodes.get(row.parent or "")
        versions = row.checkpoint.get("versions_seen") or {}
        try:
            messages = _messages(row.checkpoint["channel_values"].get(channel))
        except (TypeError, ValueError, NotImplementedError, KeyError) as error:
            problems.append((row.id, f"its {channel!r} are no messages: {error}"[:300]))
            messages = []
        path = (*(before.path if before is not None else ()), row.id)
        nodes[row.id] = _Node(_seen(before, messages, row, versions), versions, path)
    # Ids sort by time, so that sorted paths turn off where the older checkpoint does.
    ends = sorted((node for id, node in nodes.items() if id not in parents), key=lambda node: node.path)
    return Followed(_distinct([node.seen for node in ends]), count, problems)


def _messages(value: Any) -> list[BaseMessage]:
    """Return the messages of a channel; dictionaries and tuples are made into messages.

    Raises:
        ValueError: They are something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"found {type(value).__name__}, expected a list")
    if wrong := [type(m).__name__ for m in value if not isinstance(m, BaseMessage | dict | tuple)]:
        raise ValueError(f"found {wrong[0]} among them")
    return list(convert_to_messages(value))


def _seen(
    before: _Node | None, messages: Sequence[BaseMessage], row: CheckpointRow, versions: Mapping[str, Any]
) -> list[Seen]:
    assert row.checkpoint is not None
    old = before.seen if before is not None else []
    known = {seen.key for seen in old}
    keys = _keys(messages)
    if all(key in known for key in keys):
        return old
    writers: frozenset[str] = frozenset()
    if before is not None:
        writers = frozenset(
            n for n, seen in versions.items() if n != INTERNAL and before.versions.get(n) != seen
        )
    calls: dict[str, ToolCall] = {}
    result = list(old)
    for key, message in zip(keys, messages, strict=True):
        if isinstance(message, AIMessage):
            calls.update({str(c["id"]): _edited(c, row.checkpoint) for c in message.tool_calls})
        if key not in known:
            call = calls.get(message.tool_call_id) if isinstance(message, ToolMessage) else None
            version = str(row.checkpoint.get("v", ""))
            result.append(Seen(key, message, call, writers, row.source, version, _time(row.checkpoint)))
    return result


def _edited(call: ToolCall, checkpoint: Mapping[str, Any]) -> ToolCall:
    """Return the call that ran: a human may have changed it, and the message still says what was proposed."""
    edits = checkpoint["channel_values"].get(EDITS)
    edit = edits.get(call["id"]) if isinstance(edits, dict) else None
    if not isinstance(edit, dict) or not isinstance(edit.get("args"), dict):
        return call
    return ToolCall(name=str(edit.get("name")), args=edit["args"], id=call["id"], type="tool_call")


def _keys(messages: Sequence[BaseMessage]) -> list[str]:
    """Return what tells messages apart: their id, and for those without one what and the how-manieth they are."""
    counts: dict[str, int] = {}
    keys = []
    for message in messages:
        if message.id:
            keys.append(message.id)
            continue
        key = digest_of(
            message.type,
            message.content,
            getattr(message, "tool_calls", None),
            getattr(message, "tool_call_id", None),
        )
        counts[key] = counts.get(key, 0) + 1
        keys.append(f"{key}-{counts[key]}")
    return keys


def _time(checkpoint: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(checkpoint.get("ts"))).timestamp()
    except ValueError:
        return 0.0


def _distinct(branches: Sequence[list[Seen]]) -> list[list[Seen]]:
    """Leave out branches without a message of their own."""
    keys = [frozenset(seen.key for seen in branch) for branch in branches]
    result: list[list[Seen]] = []
    for index, branch in enumerate(branches):
        held = any(
            keys[index] < other or (keys[index] == other and place < index)
            for place, other in enumerate(keys)
            if place != index
        )
        if branch and not held:
            result.append(branch)
    return result
