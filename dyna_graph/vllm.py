"""A chat model behind a vLLM server that keeps what a reasoning model thought, and stands odd calls.

A vLLM server with a reasoning parser hands the thinking over beside the text. ``ChatOpenAI`` reads OpenAI's own fields
and drops it; policies whose thinking is recorded, or is their world model, need it. And small models write calls whose
arguments are JSON, but no object; ``ChatOpenAI`` raises where such a call is only one that cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

_KEYS = ("reasoning_content", "reasoning")
"""Names of the field, the older first."""


class VllmChatModel(ChatOpenAI):
    """``ChatOpenAI`` with the thinking in ``additional_kwargs["reasoning_content"]``.

    A vLLM server holds every model to a JSON schema that it is asked for, which `dyna_nodes.asking.held_to` makes use
    of. The model's profile does not say so: agents would then ask for a schema beside their tools, and vLLM, unlike
    OpenAI, holds calls to the schema of the answer, too, so that none could be written.
    """

    holds_to_schemas: ClassVar[bool] = True

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        data = response if isinstance(response, dict) else response.model_dump(warnings=False)
        odd = [_without_object(choice.get("message")) for choice in data.get("choices") or ()]
        result = super()._create_chat_result(data if any(odd) else response, generation_info)
        for generation, choice, unread in zip(result.generations, data["choices"], odd, strict=True):
            _keep(generation.message, choice.get("message"))
            if unread and isinstance(generation.message, AIMessage):
                generation.message.invalid_tool_calls += unread
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices") or chunk.get("chunk", {}).get("choices")
        if made is not None and choices:
            _keep(made.message, choices[0].get("delta"))
        return made


def _without_object(message: dict[str, Any] | None) -> list[InvalidToolCall]:
    """Take the calls out of a message whose arguments are JSON, but no object, and return them as unreadable."""
    unread = []
    for call in [*((message or {}).get("tool_calls") or ())]:
        function = call.get("function") or {}
        try:
            arguments = json.loads(function.get("arguments") or "{}", strict=False)
        except ValueError:
            continue  # ChatOpenAI itself takes it for unreadable
        if message is not None and not isinstance(arguments, dict | None):
            message["tool_calls"] = [c for c in message["tool_calls"] if c is not call]
            unread.append(
                InvalidToolCall(
                    name=function.get("name"),
                    args=function["arguments"],
                    id=call.get("id"),
                    error="its arguments are not a JSON object",
                    type="invalid_tool_call",
                )
            )
    return unread


def _keep(message: Any, fields: Mapping[str, Any] | None) -> None:
    """Copy the thinking of a message, or of a part of it, as the server sent it."""
    thinking = next((text for key in _KEYS if (text := (fields or {}).get(key))), None)
    if isinstance(message, AIMessage | AIMessageChunk) and isinstance(thinking, str):
        message.additional_kwargs["reasoning_content"] = thinking
