"""Where all candidates are rejected, others are drawn from the same prompt before the policy is told why."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, RemoveMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field

from dyna_nodes.events import ActEvent, CritiqueEvent, SimulateEvent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Verdict
from dyna_nodes.testing import SamplingChatModel, ScriptedChatModel, ScriptedWorldModel, call
from tests.graph.judged import DONE, agent_with, answered_in_order, contents, seeing
from tests.graph.middleware.doors import guarded, own_graph, recorded


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


class Seeded(ScriptedChatModel):
    """Says the same whenever it is asked with the same seed."""

    seed: int = 3
    seeds: list[int] = Field(default_factory=list)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        seed = kwargs.get("seed", self.seed)
        self.seeds.append(seed)
        if messages[-1].type == "tool":
            reply = AIMessage("Done.")
        else:
            reply = call("look", where="bad" if seed == self.seed else "good")
        return ChatResult(generations=[ChatGeneration(message=reply)])


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
    assert (rejected.resampled, chosen.resampled) == (True, False)
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


def test_a_conversation_without_messages_is_no_reason_to_break(drive: Any) -> None:
    agent = agent_with([*looks("bad"), "Done."], resample=2)
    assert drive(agent, {"messages": []})["ended"]["kind"] == "answer"


@pytest.mark.parametrize("make", [own_graph, guarded])
class TestThroughBothDoors:
    def test_the_same_happens_and_is_recorded(self, drive: Any, make: Any, tmp_path: Any) -> None:
        script = [*looks("bad", "bad 1", "bad 2", "good", "bad 3"), *looks("a", "b"), "Done.", "Done."]
        result = drive(make(script, candidates=2, resample=3, record=tmp_path))
        assert DONE == ["good", "a"]
        assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "ai", "tool", "ai"]
        assert answered_in_order(result["messages"])
        found = [(t["action"]["arguments"]["where"], t["provenance"]["source"]) for t in recorded(tmp_path)]
        imagined = ("b", "bad", "bad 1", "bad 2", "bad 3")
        assert sorted(found) == sorted(
            [("good", "agent"), ("a", "agent"), *((w, "imagination") for w in imagined)]
        )

    def test_nothing_is_lost_where_both_draws_use_the_same_ids(
        self, drive: Any, make: Any, tmp_path: Any
    ) -> None:
        script = [call("look", "1", where=w) for w in ("bad", "bad 2", "bad 3", "bad 4", "good")]
        drive(make([*script, "Done."], resample=1, record=tmp_path))
        found = [t["action"]["arguments"]["where"] for t in recorded(tmp_path)]
        assert sorted(found) == ["bad", "bad 2", "bad 3", "bad 4", "good"]

    def test_a_single_response_that_may_be_dropped_does_not_stream(self, drive: Any, make: Any) -> None:
        streamed = drive.stream(make([*looks("bad", "good"), "Done."], resample=1), stream_mode="messages")
        shown = [c["args"]["where"] for m, _ in streamed for c in getattr(m, "tool_calls", ())]
        assert shown.count("bad") == 0
        assert shown.count("good") == 1

    def test_a_turn_that_is_taken_back_is_played_anew(self, drive: Any, make: Any) -> None:
        """What came after the user's message is removed; nothing of the earlier attempt is left."""
        agent = make(
            [*looks("bad", "bad 1", "bad", "good"), "Done."],
            resample=1,
            max_revisions=0,
            max_blocks=1,
            checkpointer=InMemorySaver(),
            journal=False,
        )
        config = {"configurable": {"thread_id": "1"}}
        first = drive(agent, "go", config)["messages"]
        assert DONE == []
        taken_back = [RemoveMessage(id=m.id) for m in first[1:]]
        result = drive(agent, {"messages": taken_back}, config)
        assert DONE == ["good"]
        assert answered_in_order(result["messages"])

    def test_a_seeded_model_is_asked_for_others(self, drive: Any, make: Any) -> None:
        model = Seeded(script=[])
        drive(make(model, resample=2))
        assert DONE == ["good"]
        assert model.seeds[0] == 3
        assert 3 not in model.seeds[1:3]
