"""The loop with the project's other parts and inside larger graphs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from typing_extensions import TypedDict

from dyna_graph.agent import create_dyna_agent
from dyna_nodes import trust
from dyna_nodes.critics import OutcomeCritic, TrustGate, ValueCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Prediction, Provenance, Query, Verdict
from dyna_nodes.testing import (
    SamplingChatModel,
    ScriptedChatModel,
    ScriptedCritic,
    ScriptedWorldModel,
    call,
    calls,
)

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


@tool
def look(where: str) -> str:
    """Look somewhere."""
    DONE.append(where)
    return f"You see {where}."


class Outer(TypedDict):
    messages: Annotated[list[Any], add_messages]


def seeing(query: Query) -> str:
    return f"You see {query.action.arguments.get('where')}."


def contents(result: dict[str, Any]) -> list[str]:
    return [m.content for m in result["messages"] if m.type == "tool"]


def test_measured_reliability_reaches_the_critic(drive: Any) -> None:
    """Wrong about a, right about b: the running figures are those of the executed calls so far."""
    figures: list[float] = []

    def rule(history: Any, simulation: Any) -> str:
        figures.append(trust.estimate(trust.current(), "look").mean)
        return "approve"

    world = ScriptedWorldModel(lambda q: "wrong" if q.action.arguments["where"] == "a" else seeing(q))
    script = [call("look", where=w) for w in "abb"] + ["Done."]
    drive(
        create_dyna_agent(
            ScriptedChatModel(script=script), [look], world_model=world, critic=ScriptedCritic(rule)
        )
    )
    assert figures == [0.0, 0.0, 0.5]


def test_parallel_calls_add_up_in_reliability(drive: Any, thread: Any) -> None:
    message = calls(*(("look", {"where": w}, w) for w in "abc"))
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message, "Done."]),
        [look],
        world_model=ScriptedWorldModel(seeing),
        checkpointer=InMemorySaver(),
    )
    drive(agent, "go", thread)
    found = trust.estimate(agent.get_state(thread).values["reliability"], "look")
    assert (found.calls, found.mean) == (3, 1.0)


def test_a_trust_gate_around_a_critic(drive: Any) -> None:
    inner = ValueCritic(minimum=0.5, spare_best=False)
    gate = TrustGate(inner, minimum_count=2, lower_bound=0.3, untrusted="approve")
    world = ScriptedWorldModel(lambda q: Prediction(observation=seeing(q), value=0.1))
    script = [call("look", where=w) for w in "abcdefgh"]
    agent = create_dyna_agent(
        ScriptedChatModel(script=script),
        [look],
        world_model=world,
        critic=gate,
        max_revisions=0,
        max_blocks=1,
    )
    result = drive(agent)
    assert result["ended"]["kind"] == "blocked", "once the world model is trusted, its low values count"
    assert DONE == ["a", "b"], "as long as it is not, they do not"


def test_the_value_critic_chooses(drive: Any) -> None:
    values = {"a": 0.2, "b": 0.8}
    world = ScriptedWorldModel(
        lambda q: Prediction(observation="x", value=values[str(q.action.arguments["where"])])
    )
    model = SamplingChatModel(script=[call("look", where="a"), call("look", where="b"), "Done.", "Done."])
    drive(create_dyna_agent(model, [look], world_model=world, critic=ValueCritic(), candidates=2))
    assert DONE == ["b"]


def test_the_outcome_critic_stops_what_is_predicted_to_fail(drive: Any) -> None:
    world = ScriptedWorldModel(
        lambda q: Prediction(observation="Error: no such place", success=False, reward=-1)
    )
    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("look", where="a"), "I cannot."]),
        [look],
        world_model=world,
        critic=OutcomeCritic(),
    )
    result = drive(agent)
    assert result["messages"][-1].content == "I cannot."
    assert DONE == []


def test_a_dry_run_has_no_effect(drive: Any, tmp_path: Any) -> None:
    script = [call("look", where="a"), call("look", where="b"), "Done."]
    agent = create_dyna_agent(
        ScriptedChatModel(script=script),
        [look],
        world_model=ScriptedWorldModel({'look({"where": "a"})': "You would see a."}),
        record=tmp_path,
        dry_run=True,
    )
    result = drive(agent)
    assert DONE == []
    first, second = contents(result)
    assert first == "You would see a."
    assert second.startswith("Dry run: this call did not run, and the script has no prediction")
    assert {t.provenance.source for t in ExperienceLog(tmp_path).read()} == {"imagination"}


def test_a_dry_run_goes_on_in_the_imagined_world(drive: Any) -> None:
    world = ScriptedWorldModel(
        lambda q: Prediction(observation=f"step {len(q.history.steps)}", success=len(q.history.steps) == 2)
    )
    model = ScriptedChatModel(script=lambda m: call("look", where=str(len(m))))
    result = drive(create_dyna_agent(model, [look], world_model=world, dry_run=True))
    assert contents(result) == ["step 0", "step 1", "step 2"]
    assert result["ended"]["kind"] == "done"
    assert DONE == []


def test_provenance(drive: Any, thread: Any, tmp_path: Any) -> None:
    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]),
        [look],
        world_model=ScriptedWorldModel(seeing),
        checkpointer=InMemorySaver(),
        record=tmp_path,
        provenance=Provenance(policy="tester", versions={"model": "7"}),
    )
    config = {"configurable": {**thread["configurable"], "provenance": {"environment": "house", "seed": 3}}}
    drive(agent, "go", config)
    (transition,) = ExperienceLog(tmp_path).read()
    found = transition.provenance
    assert (found.policy, found.environment, found.seed, found.thread) == ("tester", "house", 3, "t")
    assert {"model": "7", "world_model": "scripted"}.items() <= found.versions.items()
    assert "dyna-graph" in found.versions


def test_what_does_not_run_is_recorded_and_kept_apart(drive: Any, tmp_path: Any) -> None:
    critic = ScriptedCritic(
        lambda h, s: (
            Verdict(decision=Decision.REJECT, reason="bad")
            if s.action.arguments["where"] == "bad"
            else "approve"
        )
    )
    message = calls(("look", {"where": "a"}, "1"), ("look", {"where": "bad"}, "2"))
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message, call("look", where="bad"), "Done."]),
        [look],
        world_model=ScriptedWorldModel(seeing),
        critic=critic,
        record=tmp_path,
    )
    drive(agent)
    imagined = [t for t in ExperienceLog(tmp_path).read() if t.provenance.source == "imagination"]
    assert [t.action.arguments["where"] for t in imagined] == ["bad", "bad"]
    assert all(t.verdict is not None and t.verdict.reason == "bad" for t in imagined)
    real = [t for t in ExperienceLog(tmp_path).trajectories() if not t.id.endswith("/imagined")]
    assert [[s.observation for s in t.transitions] for t in real] == [["You see a."]]


def test_a_verdict_that_never_lasts_ends_the_run(drive: Any) -> None:
    model = ScriptedChatModel(script=lambda m: call("look", where="a"))
    result = drive(create_dyna_agent(model, [look], verdict_ttl=1e-9, max_blocks=4))
    assert result["ended"]["kind"] == "blocked"
    assert len(model.prompts) == 4
    assert DONE == []


def test_inside_a_graph_that_has_the_checkpointer(drive: Any, thread: Any, tmp_path: Any) -> None:
    critic = ScriptedCritic(lambda h, s: "escalate", can_escalate=True)
    world = ScriptedWorldModel(seeing)
    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]),
        [look],
        world_model=world,
        critic=critic,
        checkpointer=True,
        journal=tmp_path / "intents.sqlite",
    )
    graph = StateGraph(Outer).add_node("agent", agent).add_edge(START, "agent").add_edge("agent", END)
    outer = graph.compile(checkpointer=InMemorySaver())
    result = drive(outer, "go", thread)
    assert result["__interrupt__"][0].value["action_requests"][0]["name"] == "look"
    assert world.batches[0][0].session == "t|agent"
    result = drive(outer, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert contents(result) == ["You see a."]
    assert DONE == ["a"]


def test_a_tool_that_hands_over_to_the_parent_graph(drive: Any, tmp_path: Any) -> None:
    @tool
    def hand_over(to: str, call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Hand over."""
        answer = ToolMessage(f"over to {to}", tool_call_id=call_id)
        return Command(goto=to, graph=Command.PARENT, update={"messages": [answer]})

    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("hand_over", to="other")]), [hand_over], record=tmp_path
    )
    graph = StateGraph(Outer)
    graph.add_node("agent", agent, destinations=("other",))
    graph.add_node("other", lambda state: {"messages": [("ai", "I am the other.")]})
    graph.add_edge(START, "agent")
    result = drive(graph.compile())
    assert result["messages"][-1].content == "I am the other."
    assert [t.observation for t in ExperienceLog(tmp_path).read()] == ["over to other"]


def test_many_runs_at_once_do_not_mix(tmp_path: Any) -> None:
    def policy(messages: list[Any]) -> Any:
        name, seen = messages[0].content, sum(m.type == "tool" for m in messages)
        return call("look", where=f"{name}-{seen}") if seen < 5 else f"{name} is done"

    agent = create_dyna_agent(
        ScriptedChatModel(script=policy),
        [look],
        world_model=ScriptedWorldModel(seeing),
        critic=ScriptedCritic(lambda h, s: "approve"),
        checkpointer=InMemorySaver(),
        record=tmp_path,
    )

    def run(name: str) -> Any:
        return agent.invoke({"messages": [("user", name)]}, {"configurable": {"thread_id": name}})

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(
            *(
                agent.ainvoke({"messages": [("user", f"a{i}")]}, {"configurable": {"thread_id": f"a{i}"}})
                for i in range(10)
            )
        )

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(run, [f"s{i}" for i in range(10)])) + asyncio.run(all_at_once())
    for result in results:
        name = result["messages"][0].content
        assert contents(result) == [f"You see {name}-{i}." for i in range(5)]
        assert result["messages"][-1].content == f"{name} is done"
    found = list(ExperienceLog(tmp_path).trajectories())
    assert len(found) == 20
    for trajectory in found:
        assert [t.index for t in trajectory.transitions] == list(range(5))
        assert {t.action.arguments["where"].split("-")[0] for t in trajectory.transitions} == {
            trajectory.task
        }
