"""From what the engine answers to LangChain messages, whole or in chunks."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    JsonOutputToolsParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from dyna_nodes.codec import ParsedReply, parse_reply
from dyna_nodes.local.asking import TAG, Asked
from dyna_nodes.local.request import Branch, Result, Token
from dyna_nodes.local.text import decode

PROVIDER = "dyna-local"


def chat_result(asked: Asked, result: Result) -> ChatResult:
    """Return the generations, best read as candidates of one prompt; each message carries its own usage."""
    generations = []
    for index, branch in enumerate(result.branches):
        reply = _read(asked, asked.begin + branch.text)
        message = AIMessage(
            content=reply.thought,
            tool_calls=reply.calls,
            invalid_tool_calls=reply.invalid,
            response_metadata=_metadata(asked, branch, reply),
            usage_metadata=_usage(asked, result, index),
        )
        info = {"finish_reason": message.response_metadata["finish_reason"]}
        generations.append(ChatGeneration(message=message, generation_info=info))
    return ChatResult(generations=generations, llm_output={"model_name": asked.model})


class ReplyStream:
    """Turns tokens into chunks: thinking as it comes, calls at the end, when they can be read."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._text = asked.begin
        self.sent = ""

    def push(self, token: Token) -> ChatGenerationChunk | None:
        """Take in a token; return a chunk if there is something certain to show."""
        self._text += token.text
        if not token.text:
            return None
        delta = self.rest(_certain(self._text, self._asked))
        return ChatGenerationChunk(message=AIMessageChunk(content=delta)) if delta else None

    def rest(self, content: str) -> str:
        """Return what of the content was not sent yet."""
        delta = content[len(self.sent) :]
        self.sent += delta
        return delta


def last_chunk(asked: Asked, stream: ReplyStream, result: Result) -> ChatGenerationChunk:
    """Return the chunk that completes a stream: the rest of the content, the calls, the metadata."""
    [branch] = result.branches
    reply = _read(asked, asked.begin + branch.text)
    chunks = [
        tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"], index=i)
        for i, c in enumerate(reply.calls)
    ]
    # A chunk has no place for the reason, and arguments that happen to be JSON would become a valid call when
    # chunks are merged: so the reason stands before them.
    chunks += [
        tool_call_chunk(name=c["name"], args=f"{c['error']}: {c['args']}", id=c["id"], index=i)
        for i, c in enumerate(reply.invalid, start=len(chunks))
    ]
    message = AIMessageChunk(
        content=stream.rest(reply.thought),
        tool_call_chunks=chunks,
        response_metadata=_metadata(asked, branch, reply),
        usage_metadata=_usage(asked, result, 0),
        chunk_position="last",
    )
    info = {"finish_reason": message.response_metadata["finish_reason"]}
    return ChatGenerationChunk(message=message, generation_info=info)


def structured(
    model: Runnable[Any, AIMessage], schema: dict[str, Any] | type, name: str, *, include_raw: bool
) -> Runnable[Any, Any]:
    """Read the first call of a model's answer as ``schema``.

    Args:
        model: A model that is asked to call the tool ``name``.
        schema: What the arguments are read as.
        name: The name of the schema as a tool.
        include_raw: Return the message and a parsing error beside the value instead of raising.
    """
    parser: JsonOutputToolsParser
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
    else:
        parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    read = RunnableLambda(_readable) | parser
    if not include_raw:
        return model | read
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | read, parsing_error=lambda _: None)
    nothing = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([nothing], exception_key="parsing_error")


def _readable(message: AIMessage) -> AIMessage:
    if not message.tool_calls:
        reasons = "; ".join(str(c["error"] or c["args"]) for c in message.invalid_tool_calls)
        raise OutputParserException(f"the answer holds no call that can be read: {reasons or message.text!r}")
    return message


def _read(asked: Asked, text: str) -> ParsedReply:
    return parse_reply(text, asked.tool_format, asked.tools) if asked.tools else ParsedReply(text, [], [])


def _certain(text: str, asked: Asked) -> str:
    """Return the part of the content that no further token can change."""
    if not asked.tools:
        return text
    if asked.tool_format == "template":
        for size in range(len(TAG) - 1, 0, -1):
            if text.endswith(TAG[:size]):
                text = text[:-size]
                break
    return _read(asked, text).thought


def _metadata(asked: Asked, branch: Branch, reply: ParsedReply) -> dict[str, Any]:
    finish = "tool_calls" if reply.calls and branch.finish == "stop" else branch.finish
    metadata: dict[str, Any] = {
        "model_name": asked.model,
        "model_provider": "dyna-local",
        "finish_reason": finish,
    }
    if branch.logprobs is not None:
        metadata["logprobs"] = {"content": _logprobs(asked, branch)}
    return metadata


def _logprobs(asked: Asked, branch: Branch) -> list[dict[str, Any]]:
    """Return log-probabilities in OpenAI's shape, with token ids; the end-of-turn token included."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        return {"token": decode(asked.tokenizer, [token]), "id": token, "logprob": logprob}

    entries = [entry(t, p) for t, p in zip(branch.ids, branch.logprobs or (), strict=True)]
    for item, best in zip(entries, branch.top_logprobs or (), strict=False):
        item["top_logprobs"] = [entry(t, p) for t, p in best]
    return entries


def _usage(asked: Asked, result: Result, index: int) -> UsageMetadata:
    """Return the tokens of one generation; its siblings have the prompt from the cache."""
    read = result.prompt_tokens
    written = len(asked.request.branches[index]) + len(result.branches[index].ids)
    return UsageMetadata(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_token_details=InputTokenDetails(cache_read=read if index else result.cached_tokens),
    )
