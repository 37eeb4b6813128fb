"""Asking the policy: one response, several candidates, or the next action after imagined ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool
from langgraph.constants import TAG_NOSTREAM

from dyna_nodes.conversation import actions_only
from dyna_nodes.effects import Effect
from dyna_nodes.nouns import digest_of
from dyna_nodes.settings import Memory


def unseen(config: RunnableConfig) -> RunnableConfig:
    """Return ``config`` for calls whose tokens must not reach the stream ``messages``."""
    return {**config, "tags": [*(config.get("tags") or []), TAG_NOSTREAM]}


@contextmanager
def behind_the_scenes(config: RunnableConfig) -> Iterator[None]:
    """Hide whatever models are called inside from the stream ``messages``, wherever they are called from."""
    token = var_child_runnable_config.set(unseen(config))
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


class Policy:
    """The agent's model with its tools and system prompt.

    Args:
        model: Any chat model. One with a field ``n`` samples several candidates in one request, as OpenAI's
            and this project's local model do; any other is asked several times at once.
        tools: The tools it may call.
        system_prompt: What stands before every conversation.
        memory: What it reads of its own earlier turns; see `LoopSettings`.
    """

    def __init__(
        self,
        model: BaseChatModel,
        tools: Sequence[BaseTool] = (),
        system_prompt: str | SystemMessage | None = None,
        *,
        memory: Memory = "thoughts",
    ) -> None:
        self.model = model
        self.bound: Runnable[Any, Any] = model.bind_tools(list(tools)) if tools else model
        system = SystemMessage(system_prompt) if isinstance(system_prompt, str) else system_prompt
        self.system: list[BaseMessage] = [system] if system is not None else []
        self.memory: Memory = memory
        self.name = str(
            getattr(model, "model_name", None) or getattr(model, "model", None) or model.get_name()
        )

    def propose(
        self, messages: Sequence[BaseMessage], count: int, config: RunnableConfig, *, again: bool = False
    ) -> Effect:
        """Return the effect of asking for ``count`` responses; its value is a list of AIMessages.

        A single response streams as it is written, since it is the one that enters the conversation. Several
        are hidden until one is chosen.
        """
        prompt, other = self._prompt(messages), other_seed(self.model, int(again))
        bound = self.bound.bind(**other) if other else self.bound
        if count == 1:
            return Effect(lambda: [bound.invoke(prompt, config)], lambda: _one(bound, prompt, config))
        hidden = unseen(config)
        kwargs = self._sampling()
        if kwargs is None:
            return _many(bound, [prompt] * count, hidden)
        options: dict[str, Any] = {
            **kwargs,
            **other,
            "n": count,
            "callbacks": hidden.get("callbacks"),
            "tags": hidden["tags"],
            "metadata": hidden.get("metadata"),
        }

        async def asample() -> list[AIMessage]:
            return _messages(await self.model.agenerate([prompt], **options))

        return Effect(lambda: _messages(self.model.generate([prompt], **options)), asample)

    def go_on(self, conversations: Sequence[Sequence[BaseMessage]], config: RunnableConfig) -> Effect:
        """Return the effect of asking once after each of several imagined conversations, all at once."""
        return _many(self.bound, [self._prompt(c) for c in conversations], unseen(config))

    def _prompt(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return what the model is shown of a conversation."""
        return [*self.system, *(actions_only(messages) if self.memory == "actions" else messages)]

    def _sampling(self) -> dict[str, Any] | None:
        """Return the arguments with which the model itself samples candidates; None when it cannot."""
        if "n" not in type(self.model).model_fields:
            return None
        if self.bound is self.model:
            return {}
        bound = self.bound
        if isinstance(bound, RunnableBinding) and bound.bound is self.model:
            return dict(bound.kwargs)
        return None


def other_seed(model: BaseChatModel, place: int) -> dict[str, Any]:
    """Return the setting of a call that makes a seeded model draw something else than the first time.

    Args:
        model: The model; one without a seed needs nothing.
        place: Which draw from the same prompt, from 0, which has the model's own seed.
    """
    seed = getattr(model, "seed", None)
    return {"seed": int(digest_of(seed, place)[:7], 16)} if place and isinstance(seed, int) else {}


async def _one(
    bound: Runnable[Any, Any], prompt: list[BaseMessage], config: RunnableConfig
) -> list[AIMessage]:
    return [await bound.ainvoke(prompt, config)]


def _many(bound: Runnable[Any, Any], prompts: list[list[BaseMessage]], config: RunnableConfig) -> Effect:
    return Effect(
        lambda: bound.batch(cast(list[Any], prompts), config),
        lambda: bound.abatch(cast(list[Any], prompts), config),
    )


def _messages(result: LLMResult) -> list[AIMessage]:
    return [
        g.message
        for g in result.generations[0]
        if isinstance(g, ChatGeneration) and isinstance(g.message, AIMessage)
    ]


def log_probability(message: AIMessage) -> float | None:
    """Return the log-probability of a response, where the model reports it.

    It is the sum over the tokens in ``response_metadata["logprobs"]["content"]``, as OpenAI reports them.
    """
    logprobs = message.response_metadata.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    values = [t.get("logprob") if isinstance(t, dict) else None for t in tokens]
    known = [v for v in values if isinstance(v, int | float)]
    return float(sum(known)) if len(known) == len(values) else None
