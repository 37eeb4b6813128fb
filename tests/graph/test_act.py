"""Execution: exactly what was approved, with injected state, commands, retries and time limits."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Annotated, Any

import pytest
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import add_messages
from langgraph.prebuilt import InjectedState, InjectedStore
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from dyna_graph import DynaMiddleware
from dyna_graph.agent import create_dyna_agent
from dyna_nodes.core import session_of
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call, calls

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


@tool
def look(where: str) -> str:
    """Look somewhere."""
    DONE.append(where)
    return f"You see {where}."


def contents(result: dict[str, Any]) -> list[str]:
    return [m.content for m in result["messages"] if m.type == "tool"]


def test_state_store_runtime_and_call_id_are_injected(drive: Any) -> None:
    seen: dict[str, Any] = {}

    @tool
    def inspect(
        what: str,
        messages: Annotated[list[Any], InjectedState("messages")],
        store: Annotated[BaseStore, InjectedStore()],
        call_id: Annotated[str, InjectedToolCallId],
        runtime: ToolRuntime,
    ) -> str:
        """Inspect."""
        seen.update(messages=len(messages), call_id=call_id, same=runtime.tool_call_id)
        store.put(("things",), what, {"seen": True})
        return "ok"

    store = InMemoryStore()
    model = ScriptedChatModel(script=[call("inspect", what="it", id="1"), "Done."])
    result = drive(create_dyna_agent(model, [inspect], store=store))
    assert contents(result) == ["ok"]
    assert seen == {"messages": 2, "call_id": "1", "same": "1"}
    assert store.get(("things",), "it") is not None


def test_a_policy_cannot_forge_injected_arguments(drive: Any) -> None:
    @tool
    def whoami(user: Annotated[str, InjectedState("user")]) -> str:
        """Tell."""
        return user

    class Mine(TypedDict):
        messages: Annotated[list[Any], add_messages]
        user: str

    model = ScriptedChatModel(script=[call("whoami", user="root"), "Done."])
    agent = create_dyna_agent(model, [whoami], state_schema=Mine)
    assert contents(drive(agent, {"messages": [("user", "go")], "user": "guest"})) == ["guest"]


def test_commands_of_tools_update_the_state_in_order(drive: Any, tmp_path: Any) -> None:
    class Mine(TypedDict):
        messages: Annotated[list[Any], add_messages]
        colour: str

    @tool
    def paint(colour: str, call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Paint."""
        return Command(
            update={
                "colour": colour,
                "messages": [ToolMessage(f"It is {colour}.", tool_call_id=call_id), HumanMessage("Nice!")],
            }
        )

    message = calls(("paint", {"colour": "red"}, "1"), ("look", {"where": "a"}, "2"))
    model = ScriptedChatModel(script=[message, "Done."])
    agent = create_dyna_agent(model, [paint, look], state_schema=Mine, record=tmp_path)
    result = drive(agent, {"messages": [("user", "go")], "colour": "none"})
    assert result["colour"] == "red"
    assert contents(result) == ["It is red.", "You see a."]
    assert [t.observation for t in ExperienceLog(tmp_path).read()] == ["It is red.", "You see a."]


def test_return_direct_ends_the_run(drive: Any) -> None:
    @tool(return_direct=True)
    def answer(text: str) -> str:
        """Answer."""
        return text

    result = drive(create_dyna_agent(ScriptedChatModel(script=[call("answer", text="42")]), [answer]))
    assert result["ended"]["kind"] == "return_direct"
    assert result["messages"][-1].content == "42"


def test_async_tools(drive: Any) -> None:
    @tool
    async def wait(seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "waited"

    model = ScriptedChatModel(script=[call("wait", seconds=0.0), "Done."])
    result = drive(create_dyna_agent(model, [wait]))
    expected = "waited" if drive.is_async else "NotImplementedError"
    assert contents(result)[0].startswith(expected)


def test_calls_of_one_message_run_at_the_same_time(drive: Any) -> None:
    barrier = threading.Barrier(3, timeout=5)

    @tool
    def meet(name: str) -> str:
        """Meet the others."""
        barrier.wait()
        return f"{name} met them"

    message = calls(*(("meet", {"name": n}, n) for n in "abc"))
    result = drive(create_dyna_agent(ScriptedChatModel(script=[message, "Done."]), [meet]))
    assert contents(result) == ["a met them", "b met them", "c met them"]


def test_a_call_that_changes_after_its_verdict_is_refused(drive: Any) -> None:
    message = call("look", where="a", id="1")

    def script(messages: list[Any]) -> Any:
        return "Done." if any(m.type == "tool" for m in messages) else message

    agent = create_dyna_agent(
        ScriptedChatModel(script=script), [look], checkpointer=InMemorySaver(), interrupt_before=["act"]
    )
    config = {"configurable": {"thread_id": "t"}}
    drive(agent, "go", config)
    state = agent.get_state(config)
    verdicts = state.values["verdicts"]
    verdicts["1"]["call"]["args"]["where"] = "forbidden"
    forged = Command(update={}, goto=[Send("act", {"call": verdicts["1"]["call"]})])
    result = drive(agent, forged, config)
    assert "forbidden" not in DONE
    assert any("refused" in text for text in contents(result))


def test_a_call_without_a_verdict_is_refused(drive: Any, thread: Any) -> None:
    agent = create_dyna_agent(
        ScriptedChatModel(script=["Hi.", "Done."]), [look], checkpointer=InMemorySaver()
    )
    drive(agent, "hello", thread)
    forged = {"name": "look", "args": {"where": "vault"}, "id": "evil", "type": "tool_call"}
    events = drive.stream(agent, Command(goto=[Send("act", {"call": forged})]), thread, stream_mode="custom")
    assert [e.status for e in events if e.type == "dyna.act"] == ["refused"]
    assert DONE == []


def test_a_tool_that_was_replaced_after_the_verdict_is_refused(drive: Any, thread: Any) -> None:
    """The verdict outlives the process in a checkpoint, but covers only the tool that was judged."""

    def make(text: str, description: str) -> Any:
        @tool("look", description=description)
        def other(where: str) -> str:
            DONE.append(text)
            return text

        return other

    saver = InMemorySaver()
    script = lambda m: "Done." if any(x.type == "tool" for x in m) else call("look", where="a", id="1")  # noqa: E731
    first = create_dyna_agent(
        ScriptedChatModel(script=script), [make("old", "Look.")], checkpointer=saver, interrupt_before=["act"]
    )
    drive(first, "go", thread)
    second = create_dyna_agent(ScriptedChatModel(script=script), [make("new", "Delete.")], checkpointer=saver)
    result = drive(second, None, thread)
    assert DONE == []
    assert "refused" in contents(result)[0]
    same = create_dyna_agent(ScriptedChatModel(script=script), [make("old", "Look.")], checkpointer=saver)
    other_thread = {"configurable": {"thread_id": "u"}}
    drive(first, "go", other_thread)
    drive(same, None, other_thread)
    assert DONE == ["old"]


def test_an_expired_verdict_is_refused(drive: Any, thread: Any) -> None:
    script = lambda m: "Done." if any(x.type == "tool" for x in m) else call("look", where="a")  # noqa: E731
    agent = create_dyna_agent(
        ScriptedChatModel(script=script),
        [look],
        checkpointer=InMemorySaver(),
        interrupt_before=["act"],
        verdict_ttl=0.1,
    )
    drive(agent, "go", thread)
    time.sleep(0.2)
    result = drive(agent, None, thread)
    assert DONE == []
    assert "its verdict has expired" in contents(result)[0]


def test_idempotent_tools_are_retried_in_numbered_attempts(drive: Any, thread: Any) -> None:
    tries: list[int] = []

    @tool
    def flaky(x: int) -> str:
        """Fail twice."""
        tries.append(x)
        if len(tries) < 3:
            raise ConnectionError("try again")
        return "at last"

    model = ScriptedChatModel(script=[call("flaky", x=1), "Done."])
    agent = create_dyna_agent(
        model,
        [flaky],
        checkpointer=InMemorySaver(),
        tool_settings={"flaky": {"idempotent": True, "retries": 4}},
    )
    assert contents(drive(agent, "go", thread)) == ["at last"]
    assert len(tries) == 3


def test_other_tools_are_not_retried(drive: Any) -> None:
    tries: list[int] = []

    @tool
    def flaky(x: int) -> str:
        """Fail."""
        tries.append(x)
        raise ConnectionError("no")

    drive(create_dyna_agent(ScriptedChatModel(script=[call("flaky", x=1), "Done."]), [flaky]))
    assert tries == [1]
    with pytest.raises(ValueError, match="idempotent"):
        create_dyna_agent(ScriptedChatModel(script=[]), [flaky], tool_settings={"flaky": {"retries": 2}})


@pytest.mark.parametrize("door", ["graph", "middleware"])
def test_settings_that_no_tool_would_get_are_refused(door: str) -> None:
    settings: Any = {"*": {"timeout": 30}, "refund_*": {"irreversible": True}}
    make: Any = DynaMiddleware if door == "middleware" else create_dyna_agent
    given: list[Any] = [] if door == "middleware" else [ScriptedChatModel(script=[]), []]
    with pytest.raises(ValueError, match=r"'refund_\*' is never reached, because '\*' stands before it"):
        make(*given, tool_settings=settings)


def test_a_tool_that_hangs_has_an_unknown_outcome(drive: Any, tmp_path: Any) -> None:
    release = threading.Event()

    @tool
    def hang(x: int) -> str:
        """Hang."""
        release.wait(2)
        return "late"

    model = ScriptedChatModel(script=[call("hang", x=1), "Done."])
    agent = create_dyna_agent(model, [hang], tool_settings={"hang": {"timeout": 0.1}}, record=tmp_path)
    parts = drive.stream(agent, stream_mode=["custom", "values"])
    release.set()
    events = [part for kind, part in parts if kind == "custom"]
    assert [(e.status, e.seconds < 1) for e in events if e.type == "dyna.act"] == [("unknown", True)]
    result = parts[-1][1]
    assert "may or may not have had its effect" in contents(result)[0]
    (transition,) = ExperienceLog(tmp_path).read()
    assert transition.status == "unknown"
    assert transition.scores == {}


def test_environment_tools_run_one_after_another(drive: Any) -> None:
    """Each call is imagined after the previous one was executed."""
    world = ScriptedWorldModel(lambda q: f"after {len(q.history.steps)}")
    critic = ScriptedCritic(lambda h, s: "reject" if s.action.arguments["where"] == "bad" else "approve")
    message = calls(*(("look", {"where": w}, w) for w in ("a", "bad", "c")))
    model = ScriptedChatModel(script=[message, "Done."])
    agent = create_dyna_agent(
        model, [look], world_model=world, critic=critic, tool_settings={"look": {"sequential": True}}
    )
    result = drive(agent)
    assert DONE == ["a", "c"]
    assert [m.tool_call_id for m in result["messages"] if m.type == "tool"] == ["a", "bad", "c"]
    assert [len(b) for b in world.batches] == [1, 1, 1]
    assert [len(b[0].history.steps) for b in world.batches] == [0, 1, 1]
    assert len(model.prompts) == 2


def test_an_episode_that_is_cut_off_was_not_solved(drive: Any, tmp_path: Any) -> None:
    """A reward for the last step is none for the task, so a prediction without success holds."""

    @tool(response_format="content_and_artifact")
    def act(command: str) -> tuple[str, dict[str, Any]]:
        """Act."""
        return f"You {command}.", {"reward": 0.5, "done": True, "truncated": command == "wait"}

    for command, outcome in (("wait", 1.0), ("win", 0.0)):
        world = ScriptedWorldModel(lambda query: Prediction(success=False))
        model = ScriptedChatModel(script=[call("act", command=command)])
        record = tmp_path / command
        result = drive(create_dyna_agent(model, [act], world_model=world, record=record))
        assert result["ended"]["kind"] == "done"
        [transition] = ExperienceLog(record).read()
        assert transition.scores == {"outcome": outcome}


def test_the_end_of_an_episode_ends_the_run_and_answers_the_rest(drive: Any, tmp_path: Any) -> None:
    @tool(response_format="content_and_artifact")
    def act(command: str) -> tuple[str, dict[str, Any]]:
        """Act."""
        DONE.append(command)
        return f"You {command}.", {"reward": 1.0, "done": command == "win"}

    message = calls(*(("act", {"command": c}, c) for c in ("go", "win", "rest")))
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message]),
        [act],
        tool_settings={"act": {"sequential": True}},
        record=tmp_path,
    )
    result = drive(agent)
    assert DONE == ["go", "win"]
    assert result["ended"]["kind"] == "done"
    assert contents(result) == ["You go.", "You win.", "Not run: the episode has ended."]
    first, second = ExperienceLog(tmp_path).read()
    assert (first.reward, first.done, second.done) == (1.0, False, True)
    assert second.index == 1


def test_max_steps_bounds_the_run(drive: Any) -> None:
    model = ScriptedChatModel(script=lambda messages: call("look", where=str(len(messages))))
    result = drive(create_dyna_agent(model, [look], max_steps=7))
    assert len(DONE) == 7
    assert result["ended"] == {"kind": "max_steps", "reason": "the limit of 7 steps is reached"}
    assert isinstance(result["messages"][-1], AIMessage)


def test_tools_and_world_model_speak_of_the_same_session(drive: Any, thread: Any) -> None:
    sessions: list[str | None] = []

    @tool
    def where_am_i(config: RunnableConfig) -> str:
        """Tell the session."""
        sessions.append(session_of(config))
        return "here"

    def world(query: Query) -> str:
        sessions.append(query.session)
        return "here"

    model = ScriptedChatModel(script=[call("where_am_i"), "Done."])
    agent = create_dyna_agent(
        model, [where_am_i], world_model=ScriptedWorldModel(world), checkpointer=InMemorySaver()
    )
    drive(agent, "go", thread)
    assert sessions == ["t", "t"]
