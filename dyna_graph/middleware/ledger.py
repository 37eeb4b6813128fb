"""What the middleware keeps in the agent's state, and how the nodes of the loop read it.

The nodes know the state of their own graph (`dyna_nodes.state.DynaState`). The agent's state holds the same in three
private channels, of which a *view* is made for a node and into which what the node returns is written back.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from langchain.agents.middleware import AgentState
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import ToolCall
from langgraph.types import Command, Overwrite
from typing_extensions import TypedDict

from dyna_nodes.state import Judged, Outcome, Progress
from dyna_nodes.trust import Tally, merge

Route = Literal["answer", "act", "critique", "simulate", "end"]
"""Where a judged message goes: it is the answer, its calls run, a human is asked, the policy tries again, or the run
ends."""
View = dict[str, Any]
"""A state as the nodes read it."""


class KnownTool(TypedDict):
    """What must be known of a tool where the tool itself is not at hand, as after a restart.

    Attributes:
        name: Its name.
        identity: See `dyna_nodes.guard.Identities`.
        injected: Arguments that the graph fills in.
        sequential: Whether its metadata say that its calls run one after another.
    """

    name: str
    identity: str
    injected: list[str]
    sequential: bool


class Ledger(TypedDict):
    """Where the loop stands.

    Attributes:
        progress: The counters.
        verdicts: Calls of the current message by id.
        queue: Calls of the current message that come later, one after another.
        reliability: Running match of predictions and reality per tool.
        said: The message whose calls are judged, as the policy wrote it.
        shown: The calls of it that stand in the conversation now.
        route: Where it goes.
        extra: Messages that enter the conversation on the way there.
        policy: Name of the policy.
        tools: The tools it has.
    """

    progress: Progress
    verdicts: dict[str, Judged]
    queue: list[ToolCall]
    reliability: Tally
    said: AIMessage
    shown: list[ToolCall]
    route: Route
    extra: list[BaseMessage]
    policy: str
    tools: list[KnownTool]


class Execution(TypedDict):
    """A call that has run.

    Attributes:
        outcome: What came of it.
        judged: What it ran on.
        transitions: What is in the experience log about it, as plain dicts.
    """

    outcome: Outcome
    judged: Judged
    transitions: list[dict[str, Any]]


class DynaMiddlewareState(AgentState[Any]):
    """The agent's state with the middleware's private channels.

    Attributes:
        dyna: Where the loop stands.
        dyna_history: What world model and critic are told, a `History` as a plain dict.
        dyna_executions: What came of the calls of the current message.
    """

    dyna: NotRequired[Annotated[Ledger | None, PrivateStateAttr]]
    dyna_history: NotRequired[Annotated[dict[str, Any] | None, PrivateStateAttr]]
    dyna_executions: NotRequired[Annotated[list[Execution], PrivateStateAttr, operator.add]]


def view_of(state: Mapping[str, Any], messages: Sequence[BaseMessage]) -> View:
    """Return the state as the nodes read it.

    Args:
        state: The agent's state.
        messages: The conversation that they are to see.
    """
    ledger: Mapping[str, Any] = state.get("dyna") or {}
    executions: Sequence[Execution] = state.get("dyna_executions") or []
    verdicts = {
        **(ledger.get("verdicts") or {}),
        **{e["outcome"]["call_id"]: e["judged"] for e in executions},
    }
    return {
        "messages": list(messages),
        "progress": ledger.get("progress"),
        "verdicts": {i: verdicts[i] for i in (*(ledger.get("verdicts") or {}), *verdicts)},
        "queue": ledger.get("queue") or [],
        "reliability": ledger.get("reliability") or {},
        "outcomes": [e["outcome"] for e in executions],
        "history": state.get("dyna_history"),
    }


def applied(view: View, command: Command[Any]) -> View:
    """Return a view with what a node has written."""
    result = dict(view)
    for key, value in (command.update or {}).items():
        if isinstance(value, Overwrite):
            result[key] = value.value
        elif key in ("messages", "outcomes"):
            result[key] = [*(result.get(key) or []), *value]
        elif key == "reliability":
            result[key] = merge(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def route_of(command: Command[Any]) -> Route:
    """Return where a node sends the run."""
    if isinstance(command.goto, list | tuple):
        return "act"
    return "end" if command.goto == "__end__" else command.goto  # type: ignore[return-value]
