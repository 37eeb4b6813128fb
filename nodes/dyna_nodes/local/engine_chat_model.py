"""A LangChain chat model on an engine: with tools, async, streaming, stop, log-probabilities."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from dyna_nodes.codec import ToolFormat
from dyna_nodes.local.asking import SETTINGS, Asked, ask
from dyna_nodes.local.base import SMOLLM2
from dyna_nodes.local.reply import PROVIDER, ReplyStream, chat_result, last_chunk, structured
from dyna_nodes.local.request import TextEngine, Token

_MOST_THREADS = 64


class EngineChatModel(BaseChatModel, ABC):
    """A chat model on an engine: prompts, tools, streaming and metadata; where the engine runs, subclasses say.

    Attributes:
        base: The base model, whose tokenizer reads and writes.
        tool_format: How calls are written: ``text`` (``> open fridge 1``), for models trained here, or
            ``template`` (tools in the system turn, ``<tool_call>{…}</tool_call>``), for instruction-tuned
            models.
        temperature: 0 is greedy.
        top_p: Mass of the nucleus that is sampled from.
        max_tokens: Most tokens of an answer.
        n: Generations per call; only `generate` and `agenerate` return more than the first.
        stop: Strings that end an answer; they are cut off.
        seed: Makes sampling reproducible.
        timeout: Most seconds for an answer, waiting for other requests included; then it is a TimeoutError.
        streaming: Answer `invoke` through the streaming path, so that callbacks see tokens.
        logprobs: Put token ids and log-probabilities into ``response_metadata["logprobs"]["content"]``.
        top_logprobs: With ``logprobs``, also the most probable tokens at each position.

    Each of the settings from ``temperature`` on, and ``tool_format``, can also be given per call. A call that
    cannot be read comes back in ``invalid_tool_calls``, with the reason.
    """

    model_config = ConfigDict(extra="forbid")

    base: str = SMOLLM2
    tool_format: ToolFormat = "text"
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1)
    n: int = Field(default=1, ge=1)
    stop: list[str] = Field(default_factory=list)
    seed: int | None = None
    timeout: float | None = Field(default=None, gt=0)
    streaming: bool = False
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0)

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("base", "tool_format", *SETTINGS[:5], "stop")}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_name=kwargs.get("model", self._name),
            ls_model_type="chat",
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens),
        )
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    @property
    @abstractmethod
    def _name(self) -> str:
        """Name of the model in metadata and errors."""

    @property
    @abstractmethod
    def _adapter_name(self) -> str | None:
        """Name of the adapter in the engine; None is the base alone."""

    @abstractmethod
    def load(self) -> TextEngine:
        """Return the engine, with everything that this model needs of it loaded."""

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        return self.load().chat_codec.text(text)

    # Tools

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools.

        Args:
            tools: Tools, functions, pydantic classes or OpenAI tool schemas.
            tool_choice: ``auto`` or None; ``none`` (no calls are read); ``any``, ``required`` or True: the
                answer is made to begin with a call; or the name of a tool: it begins with a call of that
                tool.
            kwargs: Settings for the call, such as ``tool_format``.
        """
        schemas = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=schemas, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a model whose answers are read as ``schema``.

        The schema is told to the model and the answer is made to begin with a call. Decoding is not
        constrained, so a small model may still write what does not parse: that raises
        `OutputParserException`, or is the ``parsing_error`` with ``include_raw``.

        Args:
            schema: A pydantic class, a TypedDict or a JSON schema.
            include_raw: Return ``{"raw", "parsed", "parsing_error"}``.
            kwargs: Settings for the call; ``method`` and ``strict`` are accepted and make no difference.
        """
        kwargs.pop("strict", None)
        method = kwargs.pop("method", "function_calling")
        name = convert_to_openai_tool(schema)["function"]["name"]
        asked = {"kwargs": {"method": method}, "schema": schema}
        model = self.bind_tools(
            [schema],
            tool_choice=name,
            ls_structured_output_format=asked,
            **{"tool_format": "template", **kwargs},
        )
        return structured(model, schema, name, include_raw=include_raw)

    # Asking

    def _ask(
        self, engine: TextEngine, messages: list[BaseMessage], stop: list[str] | None, **kwargs: Any
    ) -> Asked:
        defaults = {name: getattr(self, name) for name in SETTINGS}
        stops = self.stop if stop is None else stop
        return ask(engine, self._name, self._adapter_name, messages, stops, defaults, **kwargs)

    async def _aload(self) -> TextEngine:
        """Return the engine; weights are loaded off the event loop."""
        return await asyncio.to_thread(self.load)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        engine = self.load()
        asked = self._ask(engine, messages, stop, **kwargs)
        return chat_result(asked, engine.generate([asked.request], timeout=asked.timeout)[0])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        engine = await self._aload()
        asked = self._ask(engine, messages, stop, **kwargs)
        [result] = await engine.agenerate([asked.request], timeout=asked.timeout)
        return chat_result(asked, result)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        engine = self.load()
        asked = _only_one(self._ask(engine, messages, stop, **kwargs))
        tokens: SimpleQueue[Token | None] = SimpleQueue()
        request = replace(asked.request, on_token=lambda _, token: tokens.put(token))
        future = engine.submit(request)
        future.add_done_callback(lambda _: tokens.put(None))
        reply = ReplyStream(asked)
        end = None if asked.timeout is None else time.monotonic() + asked.timeout
        try:
            while (token := _next(tokens, asked, end)) is not None:
                if (chunk := reply.push(token)) is not None:
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            chunk = last_chunk(asked, reply, future.result())
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        finally:
            future.cancel()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        engine = await self._aload()
        asked = _only_one(self._ask(engine, messages, stop, **kwargs))
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[Token | None] = asyncio.Queue()

        def put(token: Token | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tokens.put_nowait, token)

        request = replace(asked.request, on_token=lambda _, token: put(token))
        future = engine.submit(request)
        future.add_done_callback(lambda _: put(None))
        reply = ReplyStream(asked)
        end = None if asked.timeout is None else loop.time() + asked.timeout
        try:
            while True:
                async with asyncio.timeout_at(end):
                    token = await tokens.get()
                if token is None:
                    break
                if (chunk := reply.push(token)) is not None:
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            chunk = last_chunk(asked, reply, future.result())
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        finally:
            future.cancel()

    def _streaming_disabled(self, **kwargs: Any) -> bool:
        """Several generations cannot be told apart in a stream."""
        return bool(super()._streaming_disabled(**kwargs)) or kwargs.get("n", self.n) > 1

    # Many conversations

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several conversations as one ragged batch; see `Runnable.batch`."""
        self.load().expect(len(inputs))
        wide = {
            "max_concurrency": min(len(inputs), _MOST_THREADS)
        }  # a thread each: they only wait for the engine
        configs: list[RunnableConfig] = [{**wide, **c} for c in get_config_list(config, len(inputs))]  # type: ignore[typeddict-item]
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several conversations as one ragged batch; see `Runnable.abatch`."""
        (await self._aload()).expect(len(inputs))
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)


def _next(tokens: SimpleQueue[Token | None], asked: Asked, end: float | None) -> Token | None:
    """Return the next token of a stream, None after the last."""
    try:
        return tokens.get(timeout=None if end is None else max(0, end - time.monotonic()))
    except Empty:
        raise TimeoutError(f"no complete answer within {asked.timeout} seconds") from None


def _only_one(asked: Asked) -> Asked:
    if len(asked.request.branches) > 1:
        raise ValueError(
            f"n={len(asked.request.branches)}: a stream has one generation; use generate or agenerate"
        )
    return asked
