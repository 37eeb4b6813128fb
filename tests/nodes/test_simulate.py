"""The parts of simulate: well-formed responses, the conversation, the policy, and plans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from dyna_nodes.conversation import (
    answered,
    executed,
    hint_message,
    mark,
    new_turn,
    refusal,
    task_of,
    well_formed,
)
from dyna_nodes.core import DynaCore
from dyna_nodes.effects import DeadlineExceeded, Effect, aperform, blocking, perform, within
from dyna_nodes.policy import log_probability
from dyna_nodes.simulate import SimulateNode
from dyna_nodes.state import DynaState
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call, calls


@tool
def look(where: str) -> str:
    """Look somewhere."""
    return f"You see {where}."


def test_the_node_alone_in_a_graph_of_ones_own() -> None:
    core = DynaCore(
        ScriptedChatModel(script=[call("look", where="a", id="1", content="Hm.")]),
        [look],
        world_model=ScriptedWorldModel({'look({"where": "a"})': "a wall"}),
    )
    graph = StateGraph(DynaState)
    graph.add_node("imagine", SimulateNode(core, then="read"), destinations=("read",))
    graph.add_node("read", lambda state: {})
    graph.add_edge(START, "imagine")
    state = graph.compile().invoke({"messages": [HumanMessage("go")]})
    (simulation,) = state["simulations"]
    assert simulation["call_id"] == "1"
    assert simulation["steps"][0]["prediction"]["observation"] == "a wall"
    assert state["candidates"][0]["message"].content == "Hm."
    assert len(state["messages"]) == 1, "nothing is chosen yet"


def test_the_node_alone_without_a_graph() -> None:
    core = DynaCore(ScriptedChatModel(script=["Hello."]), [look])
    command = SimulateNode(core).invoke({"messages": [HumanMessage("go")]})
    assert command.goto == "__end__"
    assert command.update["messages"][0].content == "Hello."


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (AIMessage("text"), "answer"),
        (AIMessage(""), "empty"),
        (AIMessage(" \n"), "empty"),
        (AIMessage([]), "empty"),
        (AIMessage([{"type": "text", "text": " "}]), "empty"),
        (AIMessage([{"type": "thinking", "thinking": "hm"}]), "empty"),
        (AIMessage([{"type": "text", "text": "yes"}]), "answer"),
        (AIMessage([{"type": "image", "url": "http://x"}]), "answer"),
        (call("look", where="a"), "calls"),
        (
            AIMessage(
                "x",
                invalid_tool_calls=[
                    {"name": "look", "args": "{", "id": "1", "error": "", "type": "invalid_tool_call"}
                ],
            ),
            "invalid",
        ),
    ],
)
def test_kinds_of_responses(message: AIMessage, kind: str) -> None:
    candidate = well_formed(message, set())
    assert candidate.kind == kind
    assert candidate.message.id


def test_new_ids_reach_the_content_blocks_of_providers() -> None:
    message = AIMessage(
        [
            {"type": "text", "text": "Look."},
            {"type": "tool_use", "id": "1", "name": "look", "input": {}},
            {"type": "tool_use", "id": "1", "name": "look", "input": {}},
        ],
        tool_calls=[{"name": "look", "args": {}, "id": "1"}, {"name": "look", "args": {}, "id": "1"}],
    )
    made = well_formed(message, {"0"}).message
    ids = [c["id"] for c in made.tool_calls]
    assert len(set(ids)) == 2
    assert [b["id"] for b in made.content if isinstance(b, dict) and b["type"] == "tool_use"] == ids
    assert message.tool_calls[0]["id"] == message.tool_calls[1]["id"] == "1", "the original is left alone"


def test_what_counts_as_executed() -> None:
    messages = [
        HumanMessage("Task."),
        calls(("look", {"where": "a"}, "1"), ("look", {"where": "b"}, "2"), content="thought"),
        ToolMessage("You see a.", tool_call_id="1"),
        refusal("2", "look", "No."),
        hint_message("Think."),
        call("look", where="c", id="3"),
        ToolMessage("broken", tool_call_id="3", status="error"),
    ]
    assert [(s.action.arguments["where"], s.observation) for s in executed(messages)] == [
        ("a", "You see a."),
        ("c", "broken"),
    ], "a tool that raised was executed"
    assert task_of(messages) == "Task."


def test_a_turn_begins_where_users_speak() -> None:
    asked = [HumanMessage("One."), HumanMessage("Two.")]
    assert new_turn([AIMessage("x"), *asked]) == asked
    assert new_turn([*asked, hint_message("Think.")]) == []
    assert new_turn([*asked, AIMessage("x")]) == []


def test_every_call_of_a_prompt_is_answered() -> None:
    open_call = calls(("look", {"where": "a"}, "1"), ("look", {"where": "b"}, "2"))
    prompt = answered([HumanMessage("x"), open_call, ToolMessage("a", tool_call_id="1"), HumanMessage("y")])
    assert [m.type for m in prompt] == ["human", "ai", "tool", "tool", "human"]
    assert prompt[3].tool_call_id == "2"
    assert [m.type for m in answered([HumanMessage("x"), open_call])] == ["human", "ai", "tool", "tool"]


def test_marks_survive_serialisation() -> None:
    message = ToolMessage("x", tool_call_id="1", additional_kwargs=mark("rejected"))
    assert ToolMessage.model_validate_json(message.model_dump_json()) == message


def test_log_probability_where_the_model_reports_it() -> None:
    tokens = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.0}]
    message = AIMessage("ab", response_metadata={"logprobs": {"content": tokens}})
    assert log_probability(message) == -1.5
    assert log_probability(AIMessage("ab")) is None
    assert log_probability(AIMessage("ab", response_metadata={"logprobs": {"content": [{}]}})) is None


def plan() -> Generator[Effect, Any, str]:
    first = yield blocking(lambda: "a")
    try:
        yield blocking(lambda: 1 / 0)
    except ZeroDivisionError:
        second = yield blocking(lambda: "b")
    return str(first + second)


def test_a_plan_runs_the_same_from_sync_and_async_code() -> None:
    assert perform(plan()) == asyncio.run(aperform(plan())) == "ab"


async def slowly() -> str:
    await asyncio.sleep(1)
    return "late"


SLOW = Effect(lambda: time.sleep(1), slowly)


def test_deadlines() -> None:
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.05 s"):
        within(SLOW, 0.05).run()
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.05 s"):
        asyncio.run(within(SLOW, 0.05).arun())
    assert within(blocking(lambda: 3), 5).run() == 3
    assert asyncio.run(within(blocking(lambda: 3), 5).arun()) == 3  # type: ignore[arg-type]


def test_an_error_of_the_work_is_not_taken_for_the_deadline() -> None:
    def fail() -> None:
        raise TimeoutError("the network's own")

    with pytest.raises(TimeoutError, match="the network's own"):
        within(blocking(fail), 5).run()
    with pytest.raises(TimeoutError, match="the network's own"):
        asyncio.run(within(blocking(fail), 5).arun())  # type: ignore[arg-type]
