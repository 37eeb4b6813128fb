"""The messages that answer calls which did not run, or did not run as proposed."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.messages import ToolMessage

from dyna_nodes.conversation import mark, refusal
from dyna_nodes.state import Judged, Outcome

NOTE = "dyna_note"
"""Key in ``additional_kwargs`` of a result that has a note in front of it."""
REFUSED = "This call was refused and did not run."


def answers(verdicts: Mapping[str, Judged]) -> list[ToolMessage]:
    """Return the messages that answer the calls which do not run, in order."""
    return [answer(call_id, judged) for call_id, judged in verdicts.items() if not judged["runs"]]


def answer(call_id: str, judged: Judged) -> ToolMessage:
    """Return the message that answers a call which does not run."""
    call = judged["call"]
    text = judged["answer"] or REFUSED
    if judged["answered_by"] == "respond":
        return ToolMessage(text, tool_call_id=call_id, name=call["name"], additional_kwargs=mark("respond"))
    return refusal(call_id, call["name"], text, kind="rejected")


def human_outcomes(verdicts: Mapping[str, Judged]) -> list[Outcome]:
    """Return what a human said about calls that had been started and whose outcome nobody knew.

    They may have had their effect, so they count as executed: with the observation that the human gave, or none.
    """
    return [
        {
            "call_id": call_id,
            "status": "ok" if judged["answered_by"] == "respond" else "unknown",
            "messages": [answer(call_id, judged)],
            "detail": judged["reason"],
            "attempt": judged["attempt"] - 1,
            "seconds": 0.0,
            "recorded": False,
        }
        for call_id, judged in verdicts.items()
        if judged["attempt"] > 1 and not judged["runs"] and judged["answered_by"] is not None
    ]


def with_note(message: ToolMessage, note: str | None) -> ToolMessage:
    """Return a result with a note in front of it, such as what was changed and by whom.

    The note also stands in ``additional_kwargs``, so that a reader can tell it from what the tool said.
    """
    if not note:
        return message
    message = message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, NOTE: note}})
    if isinstance(message.content, str):
        return message.model_copy(
            update={"content": f"{note}\n\n{message.content}" if message.content else note}
        )
    return message.model_copy(update={"content": [{"type": "text", "text": note}, *message.content]})
