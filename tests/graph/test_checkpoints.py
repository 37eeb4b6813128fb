"""One SQLite file keeps runs of sync and async code, and survives the process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

from dyna_graph.checkpoints import sqlite_checkpointer
from dyna_graph.errors import DynaError

CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}


def ask(state: MessagesState) -> MessagesState:
    """Wait for a human, then repeat what was answered."""
    return {"messages": [("ai", f"heard {interrupt('well?')}")]}  # type: ignore[list-item]


def graph(file: Path) -> CompiledStateGraph[Any, Any, Any, Any]:
    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=sqlite_checkpointer(file))


async def test_what_async_code_began_sync_code_of_another_process_ends(tmp_path: Path) -> None:
    from langgraph.types import Command

    file = tmp_path / "state" / "runs.sqlite"
    first = graph(file)
    await first.ainvoke({"messages": [("user", "hi")]}, CONFIG)
    states = [state async for state in first.aget_state_history(CONFIG)]
    assert states[0].next == ("ask",)
    second = graph(file)  # a new connection, as a new process has
    result = second.invoke(Command(resume="yes"), CONFIG)
    assert [m.content for m in result["messages"]] == ["hi", "heard yes"]
    assert isinstance(second.checkpointer, BaseCheckpointSaver)
    await second.checkpointer.adelete_thread("1")
    assert (await second.aget_state(CONFIG)).values == {}


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DynaError, match=r"cannot keep checkpoints in .*file/runs\.sqlite"):
        sqlite_checkpointer(tmp_path / "file" / "runs.sqlite")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_text("not a database" * 100)
    with pytest.raises(DynaError, match=r"cannot keep checkpoints in .*: file is not a database"):
        sqlite_checkpointer(tmp_path / "runs.sqlite")


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.sqlite", None)
    with pytest.raises(DynaError, match=r"a package that is missing: pip install '?(dyna-graph|langgraph-)"):
        sqlite_checkpointer(tmp_path / "runs.sqlite")
