"""An agent with two tools whose calls are judged, for tests of verdicts and of failures."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.nouns import Decision, Query, Verdict
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel

DONE: list[str] = []


@tool
def look(where: str) -> str:
    """Look somewhere."""
    DONE.append(where)
    return f"You see {where}."


@tool
def touch(what: str) -> str:
    """Touch something."""
    DONE.append(f"touch {what}")
    return f"You touch {what}."


def seeing(query: Query) -> str:
    return f"You see {query.action.arguments.get('where')}."


def no_bad(history: Any, simulation: Any) -> Verdict:
    arguments = simulation.action.arguments.values()
    bad = any("bad" in str(a) for a in arguments)
    if bad:
        return Verdict(
            decision=Decision.REJECT, reason="it is bad", hint=f"Not {simulation.action.text}.", score=0.0
        )
    return Verdict(decision=Decision.APPROVE, score=1.0)


def agent_with(
    script: Any,
    rule: Any = no_bad,
    kind: Any = ScriptedChatModel,
    make: Any = create_dyna_agent,
    **options: Any,
) -> Any:
    model = kind(script=script)
    options.setdefault("world_model", ScriptedWorldModel(seeing))
    critic = ScriptedCritic(rule)
    agent = make(model, [look, touch], critic=critic, **options)
    agent.model, agent.critic = model, critic
    return agent


def answered_in_order(messages: list[Any]) -> bool:
    """Check the rule of every provider: each call is answered once, in order, right after its message."""
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if isinstance(message, AIMessage):
            ids = [c["id"] for c in (*message.tool_calls, *message.invalid_tool_calls)]
            following = messages[index : index + len(ids)]
            if [getattr(m, "tool_call_id", None) for m in following] != ids:
                return False
            index += len(ids)
        elif isinstance(message, ToolMessage):
            return False
    return True


def contents(result: dict[str, Any], kind: str = "tool") -> list[str]:
    return [m.content for m in result["messages"] if m.type == kind]


def answered_at_the_end(result: dict[str, Any]) -> bool:
    """Tell whether the run ended with the agent's answer."""
    last = result["messages"][-1]
    return last.type == "ai" and not last.tool_calls and bool(last.content)
