"""A chat model behind a vLLM server that keeps what a reasoning model thought.

A vLLM server with a reasoning parser hands the thinking over beside the text. ``ChatOpenAI`` reads OpenAI's own fields
and drops it; policies whose thinking is recorded, or is their world model, need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

_KEYS = ("reasoning_content", "reasoning")
"""Names of the field, the older first."""


class VllmChatModel(ChatOpenAI):
    """``ChatOpenAI`` with the thinking in ``additional_kwargs["reasoning_content"]``."""

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        data = response if isinstance(response, dict) else response.model_dump(warnings=False)
        for generation, choice in zip(result.generations, data["choices"], strict=True):
            _keep(generation.message, choice.get("message"))
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices") or chunk.get("chunk", {}).get("choices")
        if made is not None and choices:
            _keep(made.message, choices[0].get("delta"))
        return made


def _keep(message: Any, fields: Mapping[str, Any] | None) -> None:
    """Copy the thinking of a message, or of a part of it, as the server sent it."""
    thinking = next((text for key in _KEYS if (text := (fields or {}).get(key))), None)
    if isinstance(message, AIMessage | AIMessageChunk) and isinstance(thinking, str):
        message.additional_kwargs["reasoning_content"] = thinking
