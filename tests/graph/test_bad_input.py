"""Tools that misbehave, calls that no checkpoint can hold, and checkpoints of another version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dyna_graph.agent import create_dyna_agent
from dyna_graph.checkpoints import sqlite_checkpointer
from dyna_nodes import core, state
from dyna_nodes.critics import HouseholdCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.state import StateError
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call, calls
from tests.graph.judged import DONE, agent_with, answered_at_the_end, answered_in_order, contents, look


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


class Unprintable:
    """Something whose representation cannot be made."""

    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


@tool
def get(what: str) -> Any:
    """Get something."""
    found = THINGS[what][0]
    if isinstance(found, BaseException):
        raise found
    return found


THINGS: dict[str, tuple[Any, str, str]] = {
    "an error": (RuntimeError("broken pipe"), "error", "RuntimeError: broken pipe"),
    "an error without words": (Exception(), "error", "Exception"),
    "an error that is no text": (RuntimeError("\ud800"), "error", "RuntimeError: \ud800"),
    "no memory": (MemoryError(), "error", "MemoryError"),
    "endless recursion": (RecursionError("too deep"), "error", "RecursionError: too deep"),
    "a time-out": (TimeoutError("5 s"), "error", "TimeoutError: 5 s"),
    "bytes": (b"\x00\xff\x1b[2J", "ok", "b'\\x00\\xff\\x1b[2J'"),
    "bytes in a dict": ({"a": b"\xff"}, "ok", "{'a': b'\\xff'}"),
    "three megabytes": ("x" * 3_000_000, "ok", "x" * 3_000_000),
    "control characters": ("\x00\x1b[2J\x04", "ok", "\x00\x1b[2J\x04"),
    "half a surrogate pair": ("\ud800", "ok", "\ud800"),
    "nothing": (None, "ok", "null"),
    "no number": (float("nan"), "ok", "NaN"),
    "an object": (Unprintable(), "error", "RuntimeError: no words for it"),
    "a picture": (
        [{"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}],
        "ok",
        '{"base64": "iVBORw0KGgo=", "mime_type": "image/png", "type": "image"}',
    ),
}


@pytest.mark.parametrize("what", THINGS)
def test_whatever_a_tool_returns_is_an_observation(
    drive: Any, make: Any, thread: Any, tmp_path: Any, what: str
) -> None:
    agent = make(
        ScriptedChatModel(script=[call("get", what=what), call("look", where="a"), "Done."]),
        [get, look],
        world_model=ScriptedWorldModel(lambda query: "something"),
        critic=HouseholdCritic(),
        checkpointer=sqlite_checkpointer(tmp_path / "runs.sqlite"),
        record=tmp_path / "log",
    )
    if make is not create_dyna_agent and THINGS[what][1] == "error":
        with pytest.raises(
            type(THINGS[what][0]) if isinstance(THINGS[what][0], BaseException) else RuntimeError
        ):
            drive(agent, "go", thread)  # an agent of LangChain ends with what a tool raises
        (only,) = ExperienceLog(tmp_path / "log").read()
        assert (only.status, only.observation) == THINGS[what][1:]
        return
    result = drive(agent, "go", thread)
    first, second = ExperienceLog(tmp_path / "log").read()
    assert (first.status, first.observation) == THINGS[what][1:]
    assert (second.status, second.observation) == ("ok", "You see a.")
    assert answered_in_order(result["messages"])
    assert DONE == ["a"]


def test_a_tool_that_ends_the_process_is_asked_about(
    drive: Any, make: Any, thread: Any, tmp_path: Any
) -> None:
    ended: list[int] = []

    @tool
    def leave(code: int) -> str:
        """Leave."""
        ended.append(code)
        raise SystemExit(code)

    agent = make(
        ScriptedChatModel(script=[call("leave", code=3), "Done."]),
        [leave],
        checkpointer=sqlite_checkpointer(tmp_path / "runs.sqlite"),
    )
    with pytest.raises(SystemExit):  # which ends the event loop with whatever is not yet written
        drive(agent, "go", thread, durability="sync")
    (pause,) = drive(agent, None, thread)["__interrupt__"]
    assert "may or may not have had its effect" in pause.value["action_requests"][0]["description"]
    drive(agent, Command(resume={"decisions": [{"type": "reject", "message": "It left."}]}), thread)
    assert ended == [3], "it is not called again by itself"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@tool
def put(what: Any) -> str:
    """Put something down."""
    DONE.append("put")
    return "It lies there."


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"what": "\ud800"}, "surrogate"),
        ({"what": {"\udfff": 1}}, "surrogate"),
        ({"what": 2**64}, "64 bits"),
        ({"what": nested(65)}, "64 levels"),
        ({"what": nested(100_000)}, "64 levels"),
    ],
)
def test_arguments_that_cannot_be_written_make_a_call_unreadable(
    drive: Any, make: Any, thread: Any, tmp_path: Any, arguments: Any, why: str
) -> None:
    block = {"type": "tool_use", "id": "1", "name": "put", "input": arguments}
    message = calls(("put", arguments, "1"), ("look", {"where": "a"}, "2"))
    message.content = [block]
    agent = make(
        ScriptedChatModel(script=[message, "Done."]),
        [put, look],
        checkpointer=sqlite_checkpointer(tmp_path / "runs.sqlite"),
        record=tmp_path / "log",
    )
    result = drive(agent, "go", thread)
    assert DONE == ["a"], "the other call of the message runs"
    assert any(why in text for text in contents(result))
    assert answered_at_the_end(result)


@pytest.mark.parametrize("arguments", [{"what": nested(60)}, {"what": 2**64 - 1}, {"what": "é\U0001f600"}])
def test_what_can_be_written_runs(drive: Any, make: Any, thread: Any, tmp_path: Any, arguments: Any) -> None:
    agent = make(
        ScriptedChatModel(script=[calls(("put", arguments, "1")), "Done."]),
        [put],
        world_model=ScriptedWorldModel(lambda query: "It lies there."),
        checkpointer=sqlite_checkpointer(tmp_path / "runs.sqlite"),
        record=tmp_path / "log",
    )
    drive(agent, "go", thread)
    assert DONE == ["put"]
    (transition,) = ExperienceLog(tmp_path / "log").read()
    assert transition.scores["exact"] == 1.0


def test_an_id_that_cannot_be_written_is_issued_anew(drive: Any, make: Any, thread: Any) -> None:
    agent = agent_with(
        [call("look", id="\ud800", where="a"), "Done."], make=make, checkpointer=InMemorySaver()
    )
    result = drive(agent, "go", thread)
    assert DONE == ["a"]
    assert result["messages"][1].tool_calls[0]["id"].isascii()


@contextmanager
def version(written: str) -> Iterator[None]:
    """Be a version of dyna-graph whose checkpoints have another format."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (state, core):
            patch.setattr(module, "STATE_FORMAT", written)
        yield


NODES = {
    "simulate": "model",
    "critique": "DynaMiddleware.after_model",
    "act": "tools",
    "observe": "DynaMiddleware.before_model",
}
"""Where the nodes' work is done in an agent of LangChain."""


FIRST = {True: "progress", False: "dyna"}
"""What stands in the state once there is something to read, of the graph and of an agent of LangChain."""


@pytest.mark.parametrize("before", NODES)
@pytest.mark.parametrize("other", ["dyna-state/0", "dyna-state/99"])
def test_a_checkpoint_of_another_version_is_refused(
    drive: Any, make: Any, thread: Any, before: str, other: str
) -> None:
    agent = agent_with(
        [call("look", where="a"), call("look", where="b"), "Done."],
        make=make,
        checkpointer=InMemorySaver(),
        interrupt_before=[before if make is create_dyna_agent else NODES[before]],
    )
    with version(other):
        drive(agent, "go", thread)
        while not agent.get_state(thread).values.get(FIRST[make is create_dyna_agent]):
            drive(agent, None, thread)  # at its second visit there is something to read
    ran = list(DONE)
    with pytest.raises(StateError, match="nothing was executed") as caught:
        drive(agent, None, thread)
    assert other in str(caught.value)
    assert ran == DONE
    with version(other):
        drive(agent, None, thread)


def test_a_user_who_speaks_in_a_thread_of_another_version_is_told(drive: Any, make: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="a"), "Done.", "Again."], make=make, checkpointer=InMemorySaver())
    with version("dyna-state/0"):
        result = drive(agent, "go", thread)
    with pytest.raises(StateError, match="begin a new thread with its messages"):
        drive(agent, "And now?", thread)
    another = {"configurable": {"thread_id": "u"}}
    again = drive(agent, {"messages": [*result["messages"], ("user", "And now?")]}, another)
    assert again["messages"][-1].content == "Again."
