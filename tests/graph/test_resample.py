"""Where all candidates are rejected, others are drawn from the same prompt before the policy is told why."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from dyna_nodes.events import ActEvent, CritiqueEvent, SimulateEvent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Verdict
from dyna_nodes.testing import SamplingChatModel, ScriptedWorldModel, call
from tests.graph.judged import DONE, agent_with, answered_in_order, contents, seeing
from tests.graph.middleware.doors import guarded, own_graph


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


def looks(*places: str) -> list[AIMessage]:
    return [call("look", where=place) for place in places]


def test_others_are_drawn_and_the_policy_is_not_told(drive: Any, tmp_path: Any) -> None:
    agent = agent_with(
        [*looks("bad 1", "bad 2", "bad 3", "good", "bad 4"), "Done.", "Done."],
        kind=SamplingChatModel,
        candidates=2,
        resample=3,
        record=tmp_path,
    )
    events = drive.stream(agent, stream_mode="custom")
    assert DONE == ["good"]
    assert [type(e) for e in events[:5]] == [
        SimulateEvent,
        CritiqueEvent,
        SimulateEvent,
        CritiqueEvent,
        ActEvent,
    ]
    assert [len(e.candidates) for e in events if isinstance(e, SimulateEvent)] == [2, 3, 0]
    rejected, chosen = [e for e in events if isinstance(e, CritiqueEvent)]
    assert (rejected.runs, len(rejected.verdicts), len(rejected.others)) == ((), 1, 1)
    assert {v.decision for v in (*rejected.verdicts.values(), *rejected.others.values())} == {Decision.REJECT}
    assert len(chosen.runs) == 1
    first, *_, last = agent.model.prompts
    assert [p for p in agent.model.prompts if p == first] == [first] * 5
    assert [m.type for m in last] == ["human", "ai", "tool"]
    recorded = [(t.provenance.source, t.action.arguments["where"]) for t in ExperienceLog(tmp_path).read()]
    assert sorted(recorded) == [
        ("agent", "good"),
        *(("imagination", f"bad {i}") for i in range(1, 5)),
    ]


def test_the_policy_is_told_where_these_are_rejected_too(drive: Any) -> None:
    bad = looks(*(f"bad {i}" for i in range(6)))
    agent = agent_with([*bad, "Done."], kind=SamplingChatModel, resample=2, max_revisions=1, max_blocks=1)
    result = drive(agent)
    # One and two others; told about the best of these; one and two others again; refused.
    assert result["ended"]["kind"] == "blocked"
    assert len(agent.model.prompts) == 6
    assert [len(p) for p in agent.model.prompts] == [1, 1, 1, 3, 3, 3]
    assert [c["args"]["where"] for m in result["messages"] for c in getattr(m, "tool_calls", ())] == [
        "bad 1",
        "bad 4",
    ]
    assert answered_in_order(result["messages"])
    assert DONE == []


def test_one_approved_call_is_enough(drive: Any) -> None:
    script = [*looks("bad", "good"), "Done.", "Done."]
    agent = agent_with(script, kind=SamplingChatModel, candidates=2, resample=4)
    drive(agent)
    assert DONE == ["good"]
    assert len(agent.model.prompts) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "shadow"},
        {"mode": "advise"},
        {"rule": lambda history, simulation: Verdict(decision=Decision.END, reason="enough")},
        {"rule": lambda history, simulation: RuntimeError("out of order"), "max_revisions": 0},
    ],
    ids=["shadow", "advise", "ended", "broken critic"],
)
def test_where_others_would_not_help_none_are_drawn(drive: Any, options: dict[str, Any]) -> None:
    script = [*looks("bad"), "Done."]
    agent = agent_with(script, kind=SamplingChatModel, resample=4, max_blocks=1, **options)
    drive(agent)
    assert len({len(p) for p in agent.model.prompts}) == len(agent.model.prompts)


def test_a_first_answer_ends_the_turn(drive: Any) -> None:
    agent = agent_with([*looks("bad"), "Never mind.", "Done."], kind=SamplingChatModel, resample=2)
    result = drive(agent)
    assert [m.type for m in result["messages"]] == ["human", "ai"]
    assert result["messages"][-1].content == "Never mind."


def test_the_task_stays_one_task(drive: Any) -> None:
    world = ScriptedWorldModel(seeing)
    drive(agent_with([*looks("bad", "good"), "Done."], world_model=world, resample=1))
    assert [q.history.task for batch in world.batches for q in batch] == ["go", "go"]
    assert [len(q.history.steps) for batch in world.batches for q in batch] == [0, 0]


def test_a_resumed_run_knows_what_it_was_about_to_draw(drive: Any) -> None:
    script = [*looks("bad", "good", "good"), "Done."]
    agent = agent_with(
        script,
        kind=SamplingChatModel,
        resample=2,
        checkpointer=InMemorySaver(),
        journal=False,
        interrupt_after=["critique"],
    )
    config = {"configurable": {"thread_id": "1"}}
    result = drive(agent, config=config)
    assert contents(result) == []
    assert len(agent.model.prompts) == 1
    drive(agent, given=None, config=config)
    assert len(agent.model.prompts) == 3


def test_a_user_who_speaks_meanwhile_begins_a_new_turn(drive: Any) -> None:
    world = ScriptedWorldModel(seeing)
    agent = agent_with(
        [*looks("bad", "good"), "Done."],
        world_model=world,
        resample=3,
        checkpointer=InMemorySaver(),
        journal=False,
        interrupt_after=["critique"],
    )
    config = {"configurable": {"thread_id": "1"}}
    drive(agent, "go", config)
    drive(agent, "no, stay", config)
    assert len(agent.model.prompts) == 2
    assert world.batches[-1][0].history.task == "go\n\nno, stay"


@pytest.mark.parametrize("make", [own_graph, guarded])
def test_through_both_doors(drive: Any, make: Any) -> None:
    agent = make([*looks("bad", "bad 2", "good"), *looks("a"), "Done."], resample=2)
    result = drive(agent)
    assert DONE == ["good", "a"]
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert answered_in_order(result["messages"])
