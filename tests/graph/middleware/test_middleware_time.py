"""Interrupts inside tools, time travel and the history of states, in an agent of LangChain with the middleware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal import journal_beside
from dyna_nodes.testing import call, calls
from tests.graph.judged import DONE, contents, look
from tests.graph.middleware.doors import decide, guarded

ENTERED: list[int] = []


@tool
def pay(amount: int) -> str:
    """Pay, once a human has said yes."""
    ENTERED.append(amount)
    said = interrupt(f"Pay {amount}?")
    DONE.append(f"pay {amount}")
    return f"paid {amount}, as {said} said"


@pytest.fixture(autouse=True)
def _nobody_entered() -> None:
    ENTERED.clear()


def test_a_tool_that_asks_is_suspended_and_entered_again(drive: Any, thread: Any, tmp_path: Path) -> None:
    saver = InMemorySaver()
    both = calls(("look", {"where": "a"}, "1"), ("pay", {"amount": 40}, "2"))
    agent = guarded([both, "Done."], [look, pay], checkpointer=saver, record=tmp_path)
    result = drive(agent, "go", thread, durability="sync")
    (pause,) = result["__interrupt__"]
    assert pause.value == "Pay 40?"
    (intent,) = journal_beside(saver).relevant("t", "", "2")
    assert intent.status == "suspended"
    assert DONE == ["a"]
    asked = len(agent.scripted.prompts)
    result = drive(agent, Command(resume="Ann"), thread, durability="sync")
    assert contents(result) == ["You see a.", "paid 40, as Ann said"]
    assert DONE == ["a", "pay 40"], "the sibling is not run again"
    assert ENTERED == [40, 40]
    assert len(agent.scripted.prompts) == asked + 1, "nothing is proposed or imagined again"
    assert [(t.observation, t.status) for t in ExperienceLog(tmp_path).read()] == [
        ("You see a.", "ok"),
        ("paid 40, as Ann said", "ok"),
    ]


def before_tools(agent: Any, thread: Any) -> Any:
    """Return the config of the first checkpoint at which a call waits to be executed."""
    return [s.config for s in agent.get_state_history(thread) if "tools" in s.next][-1]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_time_travel_past_a_done_call_asks(drive: Any, thread: Any, steps: int, decision: str) -> None:
    def policy(messages: list[Any]) -> Any:
        seen = sum(m.type == "tool" for m in messages)
        return call("look", where=str(seen)) if seen < steps else "Done."

    agent = guarded(policy, checkpointer=InMemorySaver())
    drive(agent, "go", thread, durability="sync")
    assert [str(n) for n in range(steps)] == DONE
    result = drive(agent, None, before_tools(agent, thread), durability="sync")
    assert len(DONE) == steps, "travelling in time repeats no effect"
    (pause,) = result["__interrupt__"]
    assert "it has run before" in pause.value["action_requests"][0]["description"]
    drive(agent, decide({"type": decision}), thread, durability="sync")
    again = DONE[steps:]
    assert ("0" in again) == (decision == "approve")


def test_what_somebody_puts_into_the_past_is_judged_anew(drive: Any, thread: Any, tmp_path: Path) -> None:
    agent = guarded(
        [call("look", where="a", id="1"), "Done.", "Done."], checkpointer=InMemorySaver(), record=tmp_path
    )
    drive(agent, "go", thread, durability="sync")
    states = [s for s in agent.get_state_history(thread) if "tools" in s.next]
    message = states[-1].values["messages"][-1]
    other = message.model_copy(update={"tool_calls": [{**message.tool_calls[0], "args": {"where": "b"}}]})
    forked = agent.update_state(states[-1].config, {"messages": [other]}, as_node="model")
    result = drive(agent, None, forked, durability="sync")
    (request,) = result["__interrupt__"][0].value["action_requests"]
    assert (request["args"], request["dyna"]["prediction"]["observation"]) == ({"where": "b"}, "You see b.")
    assert "it has run before" in request["description"], "a call of this id has"
    assert DONE == ["a"]
    result = drive(agent, decide({"type": "approve"}), thread, durability="sync")
    assert contents(result) == ["You see b."]
    assert DONE == ["a", "b"]
    assert [t.observation for t in ExperienceLog(tmp_path).read()] == ["You see a.", "You see b."]


def test_the_history_of_states_shows_what_was_decided(drive: Any, thread: Any) -> None:
    both = calls(("look", {"where": "bad"}, "1"), ("look", {"where": "a"}, "2"))
    agent = guarded([both, "Done."], checkpointer=InMemorySaver())
    drive(agent, "go", thread, durability="sync")
    (waiting,) = [s for s in agent.get_state_history(thread) if "tools" in s.next]
    verdicts = waiting.values["dyna"]["verdicts"]
    assert {i: j["verdict"]["decision"] for i, j in verdicts.items()} == {"1": "reject", "2": "approve"}
    assert verdicts["2"]["simulation"]["steps"][0]["prediction"]["observation"] == "You see a."
