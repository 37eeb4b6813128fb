"""From LangChain messages, tools and settings to a request for the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from dyna_nodes.codec import ToolFormat
from dyna_nodes.local.request import Request, TextEngine
from dyna_nodes.nouns import COMMAND_TOOL

TAG = "<tool_call>"
SETTINGS = (
    "temperature",
    "top_p",
    "max_tokens",
    "n",
    "seed",
    "timeout",
    "logprobs",
    "top_logprobs",
    "tool_format",
)
"""Settings of the chat model that can also be given per call."""


class Opening(NamedTuple):
    """How an answer is made to begin, and what then also ends it."""

    text: str
    stop: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A request and what is needed to read the answer.

    Attributes:
        request: For the engine.
        timeout: Seconds that the caller waits at most.
        begin: Text that the answer was made to begin with.
        tools: Names of the tools whose calls are read; empty: the answer is text.
        tool_format: How calls are written.
        tokenizer: For the texts of single tokens.
        model: Name of the model in the metadata.
    """

    request: Request
    timeout: float | None
    begin: str
    tools: Sequence[str]
    tool_format: ToolFormat
    tokenizer: Any
    model: str


def opening(
    tools: Sequence[dict[str, Any]], choice: str | dict[str, Any] | bool | None, tool_format: ToolFormat
) -> Opening:
    """Return how an answer must begin so that the choice of tools is kept to.

    Args:
        tools: OpenAI tool schemas.
        choice: ``auto``, ``none``, ``any``, ``required``, the name of a tool, True for any, or OpenAI's
            dictionary.
        tool_format: How calls are written.

    Raises:
        ValueError: The choice is none of these.
    """
    names = [t["function"]["name"] for t in tools]
    if isinstance(choice, dict):
        choice = choice.get("function", choice).get("name")
    if choice in (None, False, "auto", "none"):
        return Opening("")
    if not names:
        raise ValueError(f"tool_choice is {choice!r}, but no tools are bound")
    name = names[0] if choice in (True, "any", "required") and len(names) == 1 else choice
    if name in (True, "any", "required"):
        return Opening(f"{TAG}\n", ("</tool_call>",)) if tool_format == "template" else Opening(">")
    if name not in names:
        raise ValueError(f"tool_choice is {choice!r}; the tools are: {', '.join(names)}")
    if tool_format == "template":
        return Opening(f'{TAG}\n{{"name": {json.dumps(name)}, "arguments":', ("</tool_call>",))
    return Opening(">" if name == COMMAND_TOOL else f"> {name}(")


def ask(
    engine: TextEngine,
    model: str,
    adapter: str | None,
    messages: Sequence[BaseMessage],
    stop: Sequence[str],
    defaults: Mapping[str, Any],
    tools: Sequence[dict[str, Any]] = (),
    tool_choice: str | dict[str, Any] | bool | None = None,
    stream: bool | None = None,
    **settings: Any,
) -> Asked:
    """Turn a conversation into a request.

    Args:
        engine: The engine that will run it.
        model: Name of the model, for metadata and errors.
        adapter: Name of the adapter in the engine.
        messages: The conversation.
        stop: Stop strings.
        defaults: Values of `SETTINGS`.
        tools: OpenAI tool schemas.
        tool_choice: See `opening`.
        stream: What LangChain passes to choose the streaming path; makes no difference here.
        settings: Values that replace the defaults.

    Raises:
        TypeError: There is no such setting.
        ValueError: The conversation is too long, or the choice of tools makes no sense.
    """
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        known = ", ".join(("stop", "tools", "tool_choice", *SETTINGS))
        raise TypeError(f"unknown setting {unknown[0]!r}; a call takes {known}")
    use = {**defaults, **settings}
    codec, tool_format = engine.chat_codec, use["tool_format"]
    prefix = codec.encode(messages, tools=tools, tool_format=tool_format).ids
    begin = opening(tools, tool_choice, tool_format)
    given = codec.text(begin.text)
    room = engine.context_length - len(prefix) - len(given)
    if room < 1:
        raise ValueError(
            f"the conversation has {len(prefix)} tokens and {model} reads {engine.context_length}: "
            "shorten it, or use a model with a longer context"
        )
    request = Request(
        prefix,
        [given] * use["n"],
        max_new_tokens=min(use["max_tokens"], room),
        temperature=use["temperature"],
        top_p=use["top_p"],
        stop=[*stop, *begin.stop],
        seed=use["seed"],
        logprobs=use["logprobs"],
        top_logprobs=use["top_logprobs"] if use["logprobs"] else 0,
        adapter=adapter,
    )
    names = [] if tool_choice == "none" else [t["function"]["name"] for t in tools]
    return Asked(request, use["timeout"], begin.text, names, tool_format, engine.tokenizer, model)
