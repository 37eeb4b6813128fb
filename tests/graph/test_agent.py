"""The loop as a whole: what goes in and out, events, candidates, imagination, streams."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import InjectedState
from typing_extensions import TypedDict

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.events import ActEvent, CritiqueEvent, ObserveEvent, SimulateEvent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Prediction, Query, Verdict
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


@tool
def fail(why: str) -> str:
    """Fail."""
    raise RuntimeError(why)


def seeing(query: Query) -> str:
    return f"You see {query.action.arguments.get('where')}."


def kinds(result: dict[str, Any]) -> list[str]:
    return [m.type for m in result["messages"]]


def test_the_loop_from_task_to_answer(drive: Any, tmp_path: Any) -> None:
    model = ScriptedChatModel(script=[call("look", where="a", content="I wonder."), "It is a."])
    world = ScriptedWorldModel(seeing)
    agent = create_dyna_agent(model, [look], world_model=world, record=tmp_path, system_prompt="Be brief.")
    result = drive(agent, "What is there?")
    assert kinds(result) == ["human", "ai", "tool", "ai"]
    assert result["messages"][2].content == "You see a."
    assert result["ended"]["kind"] == "answer"
    assert set(result) == {"messages", "ended"}
    assert DONE == ["a"]
    assert isinstance(model.prompts[0][0], SystemMessage)
    (transition,) = ExperienceLog(tmp_path).read()
    assert (transition.task, transition.thought, transition.observation) == (
        "What is there?",
        "I wonder.",
        "You see a.",
    )
    assert transition.prediction is not None
    assert transition.prediction.observation == "You see a."
    assert transition.verdict is not None
    assert transition.verdict.decision is Decision.APPROVE
    assert transition.scores["exact"] == 1.0
    assert transition.history == world.batches[0][0].history.digest


def test_events_tell_the_whole_story_in_order(drive: Any) -> None:
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    agent = create_dyna_agent(model, [look], world_model=ScriptedWorldModel({'look({"where": "a"})': "No."}))
    events = drive.stream(agent, stream_mode="custom")
    assert [type(e) for e in events] == [
        SimulateEvent,
        CritiqueEvent,
        ActEvent,
        ObserveEvent,
        SimulateEvent,
    ]
    assert [e.type for e in events[:4]] == ["dyna.simulate", "dyna.critique", "dyna.act", "dyna.observe"]
    assert events[0].simulations[0].prediction.observation == "No."
    assert events[3].transitions[0].scores["exact"] == 0.0
    assert events[4].answer == "Done."
    assert len({e.trajectory for e in events}) == 1
    assert all(type(e).model_validate_json(e.model_dump_json()) == e for e in events)


def test_draws_itself() -> None:
    agent = create_dyna_agent(ScriptedChatModel(script=[]), [look])
    edges = {(e.source, e.target) for e in agent.get_graph().edges}
    assert edges == {
        ("__start__", "simulate"),
        ("simulate", "critique"),
        ("simulate", "__end__"),
        ("critique", "act"),
        ("critique", "simulate"),
        ("critique", "critique"),
        ("critique", "__end__"),
        ("act", "observe"),
        ("observe", "simulate"),
        ("observe", "critique"),
        ("observe", "__end__"),
    }


def value(text: str) -> float:
    return {"a": 0.1, "b": 0.9, "c": 0.5}[text]


def graded(query: Query) -> Prediction:
    where = str(query.action.arguments["where"])
    return Prediction(observation=f"You see {where}.", value=value(where), model="graded")


@pytest.mark.parametrize("kind", [ScriptedChatModel, SamplingChatModel])
def test_the_best_of_several_candidates_runs(
    drive: Any, kind: type[ScriptedChatModel], tmp_path: Any
) -> None:
    script = [call("look", where=w) for w in "abc"] + ["Done.", "Done.", "Done."]
    model = kind(script=script)
    world = ScriptedWorldModel(graded)
    agent = create_dyna_agent(model, [look], world_model=world, candidates=3, record=tmp_path)
    result = drive(agent)
    assert DONE == ["b"]
    assert kinds(result) == ["human", "ai", "tool", "ai"]
    assert [len(batch) for batch in world.batches] == [3], "all candidates are imagined in one batch"
    recorded = list(ExperienceLog(tmp_path).read())
    imagined = [t for t in recorded if t.provenance.source == "imagination"]
    assert sorted(t.action.arguments["where"] for t in imagined) == ["a", "c"]
    assert all(t.observation == "" and t.prediction is not None for t in imagined)
    assert [t.action.arguments["where"] for t in recorded if t.provenance.source == "agent"] == ["b"]


def test_a_model_that_samples_is_asked_once(drive: Any) -> None:
    requests: list[int] = []

    class Counting(SamplingChatModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            requests.append(kwargs.get("n") or 1)
            return super()._generate(messages, *args, **kwargs)

    model = Counting(script=[call("look", where=w) for w in "abc"] + ["Done."] * 3)
    drive(create_dyna_agent(model, [look], world_model=ScriptedWorldModel(graded), candidates=3))
    assert requests == [3, 3]


def test_equal_candidates_are_imagined_once(drive: Any) -> None:
    model = SamplingChatModel(script=[call("look", where="a") for _ in range(4)] + ["Done."] * 4)
    world = ScriptedWorldModel(graded)
    drive(create_dyna_agent(model, [look], world_model=world, candidates=4))
    assert [len(batch) for batch in world.batches] == [1]


def test_a_first_answer_wins_and_later_answers_are_dropped(drive: Any) -> None:
    model = SamplingChatModel(script=["Answer.", call("look", where="a")])
    result = drive(create_dyna_agent(model, [look], candidates=2))
    assert result["messages"][-1].content == "Answer."
    assert DONE == []
    model = SamplingChatModel(script=[call("look", where="a"), "Answer.", "Done.", "Done."])
    result = drive(create_dyna_agent(model, [look], candidates=2))
    assert DONE == ["a"]
    assert "Answer." not in [m.content for m in result["messages"]]


def test_an_unreadable_candidate_gives_way_to_a_readable_one(drive: Any) -> None:
    bad = AIMessage(
        "",
        invalid_tool_calls=[
            {"name": "look", "args": "{", "id": "x", "error": "no", "type": "invalid_tool_call"}
        ],
    )
    model = SamplingChatModel(script=[bad, call("look", where="a"), "Done.", "Done."])
    drive(create_dyna_agent(model, [look], candidates=2))
    assert DONE == ["a"]


def test_the_policy_goes_on_in_the_imagined_world(drive: Any) -> None:
    def policy(messages: list[Any]) -> Any:
        seen = [m.content for m in messages if isinstance(m, ToolMessage)]
        if not seen:
            return call("look", where="a")
        if seen == ["You see a."] and not DONE:
            return call("look", where="b")
        return "Done."

    def world(query: Query) -> Prediction:
        where = str(query.action.arguments["where"])
        return Prediction(observation=f"You see {where}.", value=0.5 if where == "b" else 0.0)

    model, imagination = ScriptedChatModel(script=policy), ScriptedWorldModel(world)
    events = drive.stream(
        create_dyna_agent(model, [look], world_model=imagination, horizon=3), stream_mode="custom"
    )
    simulation = events[0].simulations[0]
    assert [s.action.arguments["where"] for s in simulation.steps] == ["a", "b"]
    assert simulation.value == pytest.approx(DISCOUNT * 0.5)
    second = imagination.batches[1][0]
    assert second.imagined == 1
    assert [s.observation for s in second.history.steps] == ["You see a."]
    assert DONE == ["a"], "what is imagined has no effect"


def test_imagined_steps_of_all_candidates_are_batched(drive: Any) -> None:
    def policy(messages: list[Any]) -> Any:
        seen = [m.content for m in messages if isinstance(m, ToolMessage)]
        return call("look", where="c") if len(seen) == 1 and not DONE else "Done."

    first = iter("ab")

    class Model(SamplingChatModel):
        def _next(self, messages: Any) -> Any:
            if not any(isinstance(m, ToolMessage) for m in messages):
                return call("look", where=next(first))
            return super()._next(messages)

    world = ScriptedWorldModel(graded)
    drive(create_dyna_agent(Model(script=policy), [look], world_model=world, candidates=2, horizon=2))
    assert [len(batch) for batch in world.batches][:2] == [2, 2]


def test_parallel_calls_know_of_each_other_and_run_in_parallel(drive: Any) -> None:
    model = ScriptedChatModel(
        script=[calls(("look", {"where": "a"}, "1"), ("look", {"where": "b"}, "2")), "Done."]
    )
    world = ScriptedWorldModel(seeing)
    result = drive(create_dyna_agent(model, [look], world_model=world))
    assert [[a.arguments["where"] for a in q.siblings] for q in world.batches[0]] == [["b"], ["a"]]
    assert sorted(DONE) == ["a", "b"]
    assert [m.tool_call_id for m in result["messages"] if m.type == "tool"] == ["1", "2"]


def test_the_world_model_is_told_what_was_executed_and_nothing_else(drive: Any) -> None:
    script = [
        call("look", where="bad"),
        call("look", where="a", content="thought"),
        call("look", where="b"),
        "Done.",
    ]
    critic = ScriptedCritic(lambda h, s: "reject" if s.action.arguments["where"] == "bad" else "approve")
    world = ScriptedWorldModel(seeing)
    drive(
        create_dyna_agent(ScriptedChatModel(script=script), [look], world_model=world, critic=critic), "Task."
    )
    history = world.batches[-1][0].history
    assert history.task == "Task."
    assert [(s.action.text, s.observation) for s in history.steps] == [('look({"where": "a"})', "You see a.")]


def test_an_earlier_conversation_counts_as_history(drive: Any) -> None:
    before = [
        HumanMessage("First."),
        call("look", where="x", id="old"),
        ToolMessage("You saw x.", tool_call_id="old"),
        AIMessage("It was x."),
        HumanMessage("Second."),
    ]
    world = ScriptedWorldModel(seeing)
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    drive(create_dyna_agent(model, [look], world_model=world), {"messages": before})
    history = world.batches[0][0].history
    assert history.task == "First.\n\nSecond."
    assert [s.observation for s in history.steps] == ["You saw x."]


def test_a_thread_goes_on_where_it_was(drive: Any, thread: Any) -> None:
    world = ScriptedWorldModel(seeing)
    model = ScriptedChatModel(script=[call("look", where="a"), "One.", call("look", where="b"), "Two."])
    agent = create_dyna_agent(model, [look], world_model=world, checkpointer=InMemorySaver(), max_steps=1)
    assert drive(agent, "First.", thread)["ended"]["kind"] == "max_steps"
    result = drive(agent, "Second.", thread)
    assert result["messages"][-1].content == "One.", "a new turn has its own steps"
    drive(agent, "Third.", thread)
    history = world.batches[-1][0].history
    assert history.task == "First.\n\nSecond.\n\nThird."
    assert [s.observation for s in history.steps] == ["You see a."]
    assert world.batches[-1][0].session == "t"


def test_nothing_of_what_goes_on_inside_leaks_into_the_stream_of_messages(drive: Any) -> None:
    inner = ScriptedChatModel(script=lambda messages: "INNER")

    class Thinking(ScriptedWorldModel):
        def predict(self, queries: Any) -> Any:
            inner.invoke("imagine")
            return super().predict(queries)

        async def apredict(self, queries: Any) -> Any:
            await inner.ainvoke("imagine")
            return super().predict(queries)

    class Judging(ScriptedCritic):
        def judge(self, history: Any, simulations: Any) -> Any:
            inner.invoke("judge")
            return super().judge(history, simulations)

        async def ajudge(self, history: Any, simulations: Any) -> Any:
            await inner.ainvoke("judge")
            return super().judge(history, simulations)

    model = SamplingChatModel(
        script=[call("look", where="a", content="A"), call("look", where="b", content="B"), "End.", "No."]
    )
    agent = create_dyna_agent(
        model, [look], world_model=Thinking(graded), critic=Judging(lambda h, s: "approve"), candidates=2
    )
    parts = drive.stream(agent, stream_mode="messages")
    assert [m.content for m, _ in parts] == ["B", "You see b.", "End."]


class StreamingModel(BaseChatModel):
    """Streams an answer in pieces."""

    @property
    def _llm_type(self) -> str:
        return "streaming"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("one two"))])

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        for piece in ("one ", "two"):
            yield ChatGenerationChunk(message=AIMessageChunk(piece))


def test_a_single_answer_streams_as_it_is_written(drive: Any) -> None:
    parts = drive.stream(create_dyna_agent(StreamingModel()), stream_mode="messages")
    assert [m.content for m, _ in parts if m.content] == ["one ", "two"]


def test_a_tool_that_raises_answers_with_an_error(drive: Any, tmp_path: Any) -> None:
    model = ScriptedChatModel(script=[call("fail", why="broken"), "Sorry."])
    result = drive(create_dyna_agent(model, [fail], record=tmp_path))
    message = result["messages"][2]
    assert (message.status, message.content) == ("error", "RuntimeError: broken")
    (transition,) = ExperienceLog(tmp_path).read()
    assert transition.status == "error"


def test_arguments_that_do_not_fit_the_tool_answer_with_an_error(drive: Any) -> None:
    model = ScriptedChatModel(script=[call("look", wher="a"), "Sorry."])
    result = drive(create_dyna_agent(model, [look]))
    assert result["messages"][2].status == "error"
    assert "where" in result["messages"][2].content
    assert DONE == []


def test_a_model_that_raises_ends_the_run_with_its_error(drive: Any) -> None:
    with pytest.raises(ConnectionError, match="no route"):
        drive(create_dyna_agent(ScriptedChatModel(script=[ConnectionError("no route")]), [look]))


def test_a_node_of_a_larger_graph(drive: Any) -> None:
    class Outer(TypedDict):
        messages: Annotated[list[Any], add_messages]

    agent = create_dyna_agent(ScriptedChatModel(script=[call("look", where="a"), "Done."]), [look])
    graph = (
        StateGraph(Outer).add_node("agent", agent).add_edge(START, "agent").add_edge("agent", END).compile()
    )
    assert kinds(drive(graph)) == ["human", "ai", "tool", "ai"]


def test_a_state_of_ones_own(drive: Any) -> None:
    class Mine(TypedDict):
        messages: Annotated[list[Any], add_messages]
        budget: int

    seen: list[int] = []

    @tool
    def spend(amount: int, budget: Annotated[int, InjectedState("budget")]) -> str:
        """Spend."""
        seen.append(budget)
        return f"{budget - amount} left"

    model = ScriptedChatModel(script=[call("spend", amount=3), "Done."])
    agent = create_dyna_agent(model, [spend], state_schema=Mine)
    result = drive(agent, {"messages": [("user", "go")], "budget": 10})
    assert seen == [10]
    assert result["messages"][2].content == "7 left"
    assert result["budget"] == 10


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools are called 'look'"):
        create_dyna_agent(ScriptedChatModel(script=[]), [look, look])


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="candidates"):
        create_dyna_agent(ScriptedChatModel(script=[]), [look], candidates=0)


def test_a_model_by_name_goes_through_the_resolver() -> None:
    model = ScriptedChatModel(script=["Hello."])
    names: list[str] = []

    def resolve(name: str) -> BaseChatModel:
        names.append(name)
        return model

    agent = create_dyna_agent("local:tiny", [look], resolve_model=resolve)
    assert agent.invoke({"messages": [("user", "hi")]})["messages"][-1].content == "Hello."
    assert names == ["local:tiny"]


def test_verdicts_that_are_nouns_pass_through(drive: Any) -> None:
    critic = ScriptedCritic(lambda h, s: Verdict(decision=Decision.APPROVE, score=0.7, reason="fine"))
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    events = drive.stream(create_dyna_agent(model, [look], critic=critic), stream_mode="custom")
    (verdict,) = events[1].verdicts.values()
    assert (verdict.score, verdict.reason, verdict.critic) == (0.7, "fine", "scripted")
