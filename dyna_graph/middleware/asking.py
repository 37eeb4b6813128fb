"""The agent's own model as the policy of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor

from dyna_nodes.conversation import actions_only, answered
from dyna_nodes.effects import Effect
from dyna_nodes.policy import behind_the_scenes, other_seed
from dyna_nodes.settings import Memory

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
SIDE_BY_SIDE = 8
"""So many requests for one turn are under way at the same time."""


class AgentPolicy:
    """Asks the agent's model, through all middlewares that stand behind this one.

    Args:
        request: The agent's request.
        handler: Answers requests in sync code; None in async code.
        ahandler: Answers requests in async code; None in sync code.
        memory: What the model reads of its own earlier turns; see `LoopSettings`.
        config: Configuration of the run.
    """

    def __init__(
        self,
        request: ModelRequest[Any],
        handler: Handler | None,
        ahandler: AsyncHandler | None,
        memory: Memory,
        config: RunnableConfig,
    ) -> None:
        model = request.model
        self.name = str(
            getattr(model, "model_name", None) or getattr(model, "model", None) or model.get_name()
        )
        self.request, self.handler, self.ahandler = request, handler, ahandler
        self.memory: Memory = memory
        self.config = config

    def sample(self, count: int, *, drawn: int = 0, hidden: bool = False) -> Effect:
        """Return the effect of asking for ``count`` responses; its value is a list of `ModelResponse`.

        A single response streams as it is written. Several are hidden until one is chosen.

        Args:
            count: How many.
            drawn: How many were drawn from this prompt before; a seeded model is not to repeat them.
            hidden: Whether even a single response may yet be dropped.
        """
        messages = self._shown(self.request.messages)
        request = self.request.override(messages=messages)
        if count > 1 or hidden:
            return self._hidden([_with_seed(request, drawn + i) for i in range(count)])
        handler, ahandler = self.handler, self.ahandler

        async def asked() -> list[ModelResponse[Any]]:
            assert ahandler is not None
            return [response_of(await ahandler(request))]

        def ask() -> list[ModelResponse[Any]]:
            assert handler is not None
            return [response_of(handler(request))]

        return Effect(ask, asked)

    def propose(
        self, messages: Sequence[BaseMessage], count: int, config: RunnableConfig, *, again: bool = False
    ) -> Effect:
        """Refuse: the middleware samples before it simulates."""
        raise NotImplementedError("an agent's model is asked with sample()")

    def go_on(self, conversations: Sequence[Sequence[BaseMessage]], config: RunnableConfig) -> Effect:
        """Return the effect of asking once after each of several imagined conversations, all at once."""
        requests = [self.request.override(messages=self._shown(c)) for c in conversations]
        effect = self._hidden(requests)

        async def asked() -> list[AIMessage]:
            return [message_of(r) for r in await effect.arun()]

        return Effect(lambda: [message_of(r) for r in effect.run()], asked)

    def _shown(self, messages: Sequence[BaseMessage]) -> list[Any]:
        """Return what the model is shown of a conversation: every call answered once, in order."""
        shown = in_call_order(answered(messages))
        return actions_only(shown) if self.memory == "actions" else shown

    def _hidden(self, requests: Sequence[ModelRequest[Any]]) -> Effect:
        handler, ahandler, config = self.handler, self.ahandler, self.config

        def ask() -> list[ModelResponse[Any]]:
            assert handler is not None
            with (
                behind_the_scenes(config),
                ContextThreadPoolExecutor(min(len(requests), SIDE_BY_SIDE)) as pool,
            ):
                return [response_of(r) for r in pool.map(handler, requests)]

        async def asked() -> list[ModelResponse[Any]]:
            assert ahandler is not None
            with behind_the_scenes(config):
                return [response_of(r) for r in await asyncio.gather(*map(ahandler, requests))]

        return Effect(ask, asked)


class Given:
    """Proposes messages that are there already.

    Args:
        messages: The messages.
        policy: Goes on in imagined worlds; None where the loop does not look further ahead.
        name: Name of the policy.
    """

    def __init__(self, messages: Sequence[AIMessage], policy: AgentPolicy | None, name: str) -> None:
        self.messages, self.policy, self.name = list(messages), policy, name

    def propose(
        self, messages: Sequence[BaseMessage], count: int, config: RunnableConfig, *, again: bool = False
    ) -> Effect:
        """Return the messages."""

        async def found() -> list[AIMessage]:
            return self.messages

        return Effect(lambda: self.messages, found)

    def go_on(self, conversations: Sequence[Sequence[BaseMessage]], config: RunnableConfig) -> Effect:
        """Return the effect of asking once after each of several imagined conversations, all at once."""
        if self.policy is None:
            raise NotImplementedError("the agent's model is not at hand here")
        return self.policy.go_on(conversations, config)


def _with_seed(request: ModelRequest[Any], place: int) -> ModelRequest[Any]:
    other = other_seed(request.model, place)
    return request.override(model_settings={**request.model_settings, **other}) if other else request


def response_of(result: Any) -> ModelResponse[Any]:
    """Return what a handler answered as a plain response."""
    if isinstance(result, ExtendedModelResponse):
        return result.model_response
    return ModelResponse(result=[result]) if isinstance(result, AIMessage) else result


def message_of(response: ModelResponse[Any]) -> AIMessage:
    """Return the model's message in a response.

    Raises:
        TypeError: There is none.
    """
    for message in response.result:
        if isinstance(message, AIMessage):
            return message
    raise TypeError(f"the agent's model answered without an AIMessage: {response.result!r}")


def in_call_order(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the conversation with the answers to the calls of a message in the order of the calls.

    What was refused is answered before what has run, and some providers want the answers in order.
    """
    result: list[BaseMessage] = []
    places: dict[str, int] = {}
    begin = 0
    for message in messages:
        if isinstance(message, ToolMessage):
            result.append(message)
            continue
        _sort(result, begin, places)
        result.append(message)
        begin = len(result)
        places = (
            {str(c["id"]): i for i, c in enumerate(message.tool_calls)}
            if isinstance(message, AIMessage)
            else {}
        )
    _sort(result, begin, places)
    return result


def _sort(messages: list[BaseMessage], begin: int, places: dict[str, int]) -> None:
    if len(messages) - begin > 1:
        messages[begin:] = sorted(
            messages[begin:], key=lambda m: places.get(getattr(m, "tool_call_id", ""), len(places))
        )
