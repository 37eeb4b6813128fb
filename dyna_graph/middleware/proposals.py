"""Responses of the agent's model as the loop judges them, and as they enter the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from langchain.agents.middleware import ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall

from dyna_graph.middleware.asking import message_of
from dyna_nodes.nouns import new_id


class Proposal(NamedTuple):
    """A response of the agent's model.

    Attributes:
        whole: The response.
        message: The model's message in it.
        open: The message without the calls that are answered already, as those of a structured answer are.
        closed: Whether nothing is left to judge of a message with calls.
    """

    whole: ModelResponse[Any]
    message: AIMessage
    open: AIMessage
    closed: bool

    @classmethod
    def of(cls, response: ModelResponse[Any]) -> Self:
        """Return what is to be judged of a response."""
        message = message_of(response)
        if message.id is None:
            message = message.model_copy(update={"id": f"dyna-{new_id()}"})
        pending = unanswered(response.result, message)
        closed = not pending and (bool(message.tool_calls) or response.structured_response is not None)
        if len(pending) == len(message.tool_calls):
            return cls(response, message, message, closed)
        return cls(response, message, message.model_copy(update={"tool_calls": pending}), closed)

    def response(self, said: AIMessage, shown: Sequence[ToolCall]) -> ModelResponse[Any]:
        """Return the response with the calls that enter the conversation now."""
        message = self.message
        if said is not self.open or list(shown) != list(self.open.tool_calls):
            message = with_calls(self.message, shown, self.open.tool_calls)
            message = message.model_copy(update={"invalid_tool_calls": said.invalid_tool_calls})
        others = [m for m in self.whole.result if not isinstance(m, AIMessage)]
        return ModelResponse(result=[message, *others], structured_response=self.whole.structured_response)


def with_calls(message: AIMessage, shown: Sequence[ToolCall], instead_of: Sequence[ToolCall]) -> AIMessage:
    """Return a message with other calls in the place of some of its own, in its content blocks, too."""
    gone = {str(c["id"]) for c in instead_of}
    kept = [c for c in message.tool_calls if str(c["id"]) not in gone]
    updates: dict[str, Any] = {"tool_calls": [*kept, *shown]}
    if not isinstance(message.content, str):
        ids = {str(c["id"]) for c in updates["tool_calls"]}
        updates["content"] = [
            block
            for block in message.content
            if not isinstance(block, dict)
            or block.get("type") not in ("tool_use", "tool_call")
            or block.get("id") in ids
        ]
    more = {k: v for k, v in message.additional_kwargs.items() if k not in ("tool_calls", "function_call")}
    return message.model_copy(update={**updates, "additional_kwargs": more})


def unanswered(messages: Sequence[BaseMessage], message: AIMessage) -> list[ToolCall]:
    """Return the calls of a message that no other message answers."""
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    return [c for c in message.tool_calls if c["id"] not in answered]
