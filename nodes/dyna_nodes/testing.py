"""Scripted parts for tests of agents: a policy, a world model and a critic that do what they are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field, PrivateAttr

from dyna_nodes.nouns import Decision, History, Prediction, Query, Simulation, Verdict

Reply = AIMessage | str | BaseException
_COUNTER = count(1)


def call(name: str, /, id: str | None = None, content: str = "", **arguments: Any) -> AIMessage:
    """Return a message that calls one tool.

    Example:
        >>> call("delete", path="/tmp/x").tool_calls[0]["args"]
        {'path': '/tmp/x'}
    """
    return calls((name, arguments, id), content=content)


def calls(*parts: tuple[str, Mapping[str, Any], str | None], content: str = "") -> AIMessage:
    """Return a message that calls several tools, each given as name, arguments and id or None."""
    made = [
        {
            "name": name,
            "args": dict(arguments),
            "id": id if id is not None else f"call_{next(_COUNTER)}",
            "type": "tool_call",
        }
        for name, arguments, id in parts
    ]
    return AIMessage(content, tool_calls=made)


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers from a script; it generates whole messages and does not stream.

    Attributes:
        script: Replies in their order, or a function from the messages to the reply. A reply that is an error
            is raised; text is a message without calls.
        prompts: The messages of every request so far.
        tools: Names of the bound tools.

    Example:
        ```python
        model = ScriptedChatModel(script=[call("search", query="cat"), "It is a cat."])
        agent = create_dyna_agent(model, [search])
        ```
    """

    script: Sequence[Any] | Callable[[list[BaseMessage]], Any]
    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)
    _position: int = PrivateAttr(default=0)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Note the names of the tools."""
        self.tools = [t.name if isinstance(t, BaseTool) else str(t) for t in tools]
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        count = int(kwargs.get("n") or 1)
        return ChatResult(generations=[ChatGeneration(message=self._next(messages)) for _ in range(count)])

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        with self._lock:
            self.prompts.append(list(messages))
            if callable(self.script):
                reply = self.script(messages)
            elif self._position >= len(self.script):
                raise AssertionError(
                    f"the script of {len(self.script)} replies is used up; last: {messages[-1]!r}"
                )
            else:
                reply = self.script[self._position]
                self._position += 1
        if isinstance(reply, BaseException):
            raise reply
        return AIMessage(reply) if isinstance(reply, str) else reply.model_copy()


class SamplingChatModel(ScriptedChatModel):
    """A scripted model that samples several candidates in one request.

    Attributes:
        n: How many.
    """

    n: int = 1


class ScriptedWorldModel:
    """A world model that predicts from a table or a function.

    Args:
        predictions: By the canonical text of the action, or a function of the query. A text is an
            observation; an error is raised, for the whole batch. Actions that are not in the table get a
            prediction with ``error``.
        name: Name in predictions.

    Attributes:
        batches: The queries of every request so far.
    """

    def __init__(
        self, predictions: Mapping[str, Any] | Callable[[Query], Any], *, name: str = "scripted"
    ) -> None:
        self.name = name
        self.predictions = predictions
        self.batches: list[list[Query]] = []

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        self.batches.append(list(queries))
        return [self._one(query) for query in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)

    def _one(self, query: Query) -> Prediction:
        text = query.action.text
        if callable(self.predictions):
            found = self.predictions(query)
        elif text in self.predictions:
            found = self.predictions[text]
        else:
            found = Prediction(error=f"the script has no prediction for {text!r}")
        if isinstance(found, BaseException):
            raise found
        return Prediction(observation=found, model=self.name) if isinstance(found, str) else found


class ScriptedCritic:
    """A critic that judges by a rule.

    Args:
        rule: A function of history and simulation that returns a `Verdict`, a `Decision` or its name; an
            error that it returns is raised.
        name: Name in verdicts.
        can_escalate: Whether it may ask a human; then the agent needs a checkpointer.

    Attributes:
        judged: The simulations of every request so far.
    """

    def __init__(
        self,
        rule: Callable[[History, Simulation], Any],
        *,
        name: str = "scripted",
        can_escalate: bool = False,
    ) -> None:
        self.rule = rule
        self.name = name
        self.can_escalate = can_escalate
        self.judged: list[list[Simulation]] = []

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        self.judged.append(list(simulations))
        return [self._one(history, s) for s in simulations]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return self.judge(history, simulations)

    def _one(self, history: History, simulation: Simulation) -> Verdict:
        found = self.rule(history, simulation)
        if isinstance(found, BaseException):
            raise found
        if isinstance(found, str):
            return Verdict(decision=Decision(found), reason=f"the rule says {found}", critic=self.name)
        return found  # type: ignore[no-any-return]
