"""A policy for tests of the demo: the searching expert, which sometimes has a useless idea first."""

from __future__ import annotations

import threading
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from dyna_nodes.conversation import executed
from dyna_nodes.nouns import Action
from dyna_nodes.testing import SamplingChatModel
from dyna_training.environments.alfworld import SearchingExpert

USELESS = "open sky 1"


class ExpertChatModel(SamplingChatModel):
    """Proposes what the searching expert would do; every third step it first thinks of something useless.

    A single response is always the useless one at those steps, so that without a world model time is lost.
    """

    script: Any = ()
    wait: float = 0.0

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.wait:
            threading.Event().wait(self.wait)
        [introduction] = [str(m.content) for m in messages if isinstance(m, HumanMessage)]
        steps = executed(messages)
        expert = SearchingExpert(introduction.rpartition("task is to: ")[2], introduction)
        for step in steps:
            expert.observe(step.action.text, step.observation)
        decision = expert.decide()
        ideas = self.ideas(len(steps), decision.thought, decision.action)
        count = int(kwargs.get("n") or 1)
        chosen = [ideas[min(i, len(ideas) - 1)] for i in range(count)]
        return ChatResult(generations=[ChatGeneration(message=_message(*idea)) for idea in chosen])

    def ideas(self, count: int, thought: str, command: str) -> list[tuple[str, str]]:
        """Return what comes to mind after ``count`` steps, where the expert would do ``command``."""
        first = [("Let me see.", USELESS)] if count % 3 == 1 else []
        return [*first, (thought, command)]


def _message(thought: str, command: str) -> AIMessage:
    action = Action.command(command)
    call = {"name": action.tool, "args": dict(action.arguments), "id": None, "type": "tool_call"}
    usage = {"input_tokens": 1, "output_tokens": 10, "total_tokens": 11}
    return AIMessage(thought, tool_calls=[call], usage_metadata=usage)
