"""What the intent journal holds: attempts to execute calls, and how they ended."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from langchain_core.messages import ToolMessage, message_to_dict, messages_from_dict

from dyna_nodes.nouns import Action

IntentStatus = Literal["started", "done", "failed", "suspended", "unknown", "settled"]
"""``unknown``: it never answered in time. ``settled``: a human has decided about a started or unknown one."""


class JournalError(OSError):
    """The intent journal cannot be written or read; nothing may act without it."""


class Intent(NamedTuple):
    """One attempt to execute one call.

    Attributes:
        thread: LangGraph thread id.
        ns: Namespace of the graph in the thread, without task ids.
        call_id: Id of the tool call.
        attempt: Number of the attempt, from 1.
        tool: Name of the tool.
        arguments: Its arguments as JSON.
        digest: What the verdict was bound to.
        status: How far it is known to have come.
        detail: What a human or the loop noted about it.
        result: The answer as JSON, where the call is done and its answer can be written as JSON.
        observed: Whether the answer has become part of the conversation.
        started: Unix time in seconds.
    """

    thread: str
    ns: str
    call_id: str
    attempt: int
    tool: str
    arguments: str
    digest: str
    status: IntentStatus = "started"
    detail: str = ""
    result: str | None = None
    observed: int = 0
    started: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Thread, namespace, call id and attempt."""
        return self.thread, self.ns, self.call_id, self.attempt

    @property
    def action(self) -> Action:
        """The call."""
        return Action(tool=self.tool, arguments=json.loads(self.arguments))

    def answer(self) -> ToolMessage | None:
        """Return the recorded answer; None where there is none."""
        if self.result is None:
            return None
        message = messages_from_dict([json.loads(self.result)])[0]
        return message if isinstance(message, ToolMessage) else None


def answer_text(message: ToolMessage) -> str | None:
    """Write an answer for the journal; None when it holds something that JSON cannot hold."""
    try:
        return json.dumps(message_to_dict(message))
    except (TypeError, ValueError):
        return None
