"""The compiled graph as a part of other agents: a sub-graph of a graph, and a sub-agent of deepagents."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from dyna_graph import DynaMiddleware
from dyna_graph.agent import create_dyna_agent
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call, calls

PAID: list[int] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    PAID.clear()


@tool
def refund(order: int) -> str:
    """Pay back an order."""
    PAID.append(order)
    return "paid"


def imagined(query: Query) -> Prediction:
    """Predict that refunds of even orders fail."""
    fails = int(str(query.action.arguments["order"])) % 2 == 0
    return Prediction(observation="declined" if fails else "paid", success=not fails)


def clerk(**options: Any) -> Any:
    """An agent that refunds the order it was told of, unless that is predicted to fail."""

    def policy(messages: list[Any]) -> Any:
        result = next((m for m in reversed(messages) if m.type == "tool"), None)
        if result is not None:
            return f"The clerk says: {result.content}"
        number = next(word for word in str(messages[-1].content).split() if word.isdigit())
        return call("refund", order=int(number))

    otherwise = options.pop("otherwise", "reject")
    return create_dyna_agent(
        ScriptedChatModel(script=policy),
        [refund],
        world_model=ScriptedWorldModel(imagined),
        critic=OutcomeCritic(otherwise=otherwise),
        name="clerk",
        **options,
    )


def desk(agent: Any, **options: Any) -> Any:
    """A graph around the agent: a node before and a node after it."""

    def polish(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"{state['messages'][-1].content} Thank you.")]}

    graph = StateGraph(MessagesState)
    graph.add_node("clerk", agent)
    graph.add_node("polish", polish)
    graph.add_edge(START, "clerk")
    graph.add_edge("clerk", "polish")
    graph.add_edge("polish", END)
    return graph.compile(**options)


def head(agent: Any, order: int, **options: Any) -> Any:
    """A deep agent that leaves refunds to the clerk."""
    deepagents = pytest.importorskip("deepagents")

    def policy(messages: list[Any]) -> Any:
        done = any(m.type == "tool" for m in messages)
        told = f"Refund order {order} now."
        return "All done." if done else call("task", description=told, subagent_type="clerk")

    clerks = [{"name": "clerk", "description": "Refunds orders.", "runnable": agent}]
    return deepagents.create_deep_agent(model=ScriptedChatModel(script=policy), subagents=clerks, **options)


def tool_texts(result: dict[str, Any]) -> list[str]:
    return [m.content for m in result["messages"] if m.type == "tool"]


@pytest.mark.parametrize(("order", "paid"), [(7, [7]), (8, [])])
def test_a_subgraph_guards_its_calls(drive: Any, tmp_path: Any, order: int, paid: list[int]) -> None:
    result = drive(desk(clerk(record=tmp_path)), f"Refund order {order} please.")
    assert paid == PAID
    assert str(result["messages"][-1].content).endswith("Thank you.")
    sources = [t.provenance.source for t in ExperienceLog(tmp_path).read()]
    assert sources == ["agent" if paid else "imagination"]


def test_a_subgraph_asks_a_human_through_the_outer_graph(drive: Any, thread: Any, tmp_path: Any) -> None:
    agent = clerk(otherwise="escalate", checkpointer=True, journal=tmp_path / "intents.sqlite")
    graph = desk(agent, checkpointer=InMemorySaver())
    paused = drive(graph, "Refund order 8 please.", thread, durability="sync")
    assert PAID == []
    (pause,) = paused["__interrupt__"]
    assert "Predicted outcome: declined" in pause.value["action_requests"][0]["description"]
    decision = {"decisions": [{"type": "approve"}]}
    result = drive(graph, Command(resume=decision), thread, durability="sync")
    assert PAID == [8]
    assert result["messages"][-1].content == "The clerk says: paid Thank you."


def test_events_of_a_subgraph_reach_the_outer_stream(drive: Any) -> None:
    parts = drive.stream(desk(clerk()), "Refund order 7 please.", subgraphs=True, stream_mode="custom")
    assert [event.type for _, event in parts][:4] == [
        "dyna.simulate",
        "dyna.critique",
        "dyna.act",
        "dyna.observe",
    ]
    assert all(namespace[0].startswith("clerk:") for namespace, _ in parts)


@pytest.mark.parametrize(("order", "paid"), [(7, [7]), (8, [])])
def test_a_deep_agent_has_a_guarded_sub_agent(drive: Any, tmp_path: Any, order: int, paid: list[int]) -> None:
    result = drive(head(clerk(record=tmp_path), order))
    assert paid == PAID
    (told,) = tool_texts(result)
    assert told.startswith("The clerk says: ")
    assert ("paid" in told) == bool(paid)
    assert result["messages"][-1].content == "All done."
    (transition,) = ExperienceLog(tmp_path).read()
    assert transition.task == f"Refund order {order} now."


def test_a_guarded_sub_agent_asks_a_human_through_the_deep_agent(
    drive: Any, thread: Any, tmp_path: Any
) -> None:
    agent = clerk(otherwise="escalate", checkpointer=True, journal=tmp_path / "intents.sqlite")
    deep = head(agent, 8, checkpointer=InMemorySaver())
    (pause,) = drive(deep, "go", thread)["__interrupt__"]
    assert PAID == []
    assert pause.value["action_requests"][0]["name"] == "refund"
    result = drive(deep, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert PAID == [8]
    assert tool_texts(result) == ["The clerk says: paid"]


def test_a_deep_agent_guards_its_own_tools_with_the_middleware(drive: Any) -> None:
    deepagents = pytest.importorskip("deepagents")
    script = [
        calls(("write_file", {"file_path": "/bad.txt", "content": "x"}, "1")),
        calls(("write_file", {"file_path": "/good.txt", "content": "y"}, "2")),
        "Done.",
    ]
    world = ScriptedWorldModel(
        lambda query: Prediction(observation="?", success="good" in str(query.action.arguments["file_path"]))
    )
    agent = deepagents.create_deep_agent(
        model=ScriptedChatModel(script=script), middleware=[DynaMiddleware(world, OutcomeCritic("write_*"))]
    )
    result = drive(agent, "Write two files.")
    assert list(result["files"]) == ["/good.txt"]
    assert "no success predicted" in tool_texts(result)[0]
