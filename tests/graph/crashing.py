"""An agent that works on files and kills its process where it is told to.

The agent calls ``write`` for every word of its task, all in one message, and answers. Every effect is a line
in ``FOLDER/effects``, every request to the policy one in ``FOLDER/policy``. Checkpoints lie in ``FOLDER/state.sqlite``,
or in the database that ``FOLDER/postgres`` names.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from dyna_graph import DynaMiddleware, create_dyna_agent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal import IntentJournal
from dyna_nodes.testing import ScriptedChatModel, calls

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}, "max_concurrency": 1}


def die() -> None:
    """Die as if the power of this process were cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def once(folder: Path, mark: str) -> bool:
    """Tell whether this is the first time, in any process."""
    try:
        (folder / f"once-{mark}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def note(folder: Path, name: str, line: str) -> None:
    with (folder / name).open("a") as file:
        file.write(line + "\n")


def lines(folder: Path, name: str) -> list[str]:
    """Return what has been noted in a file."""
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def make_agent(folder: Path, where: str, saver: Any, door: str = "graph") -> Any:
    """Build the agent, as a graph of its own or as LangChain's with the middleware; equal in every process."""

    def policy(messages: list[Any]) -> Any:
        answers = [m for m in messages if m.type == "tool"]
        note(folder, "policy", str(len(messages)))
        if where == "policy" and answers and once(folder, "policy"):
            die()
        words = messages[0].content.split()
        return "Done." if answers else calls(*(("write", {"word": w}, None) for w in words))

    @tool
    def write(word: str) -> str:
        """Write a word."""
        if where == f"before {word}" and once(folder, word):
            die()
        if where == "slowly":
            time.sleep(0.004)
        note(folder, "effects", word)
        if where == "slowly":
            time.sleep(0.004)
        if where == f"after {word}" and once(folder, word):
            die()
        return f"wrote {word}"

    model, settings = ScriptedChatModel(script=policy), {"write": {"irreversible": True}}
    record = folder / "experience"
    if door == "graph":
        return create_dyna_agent(model, [write], checkpointer=saver, record=record, tool_settings=settings)
    middleware = DynaMiddleware(record=record, tool_settings=settings)
    return create_agent(model, [write], middleware=[middleware], checkpointer=saver)


def cut_wires(folder: Path, where: str) -> None:
    """Make the process die right after a write that the next process must be able to rely on."""
    if where == "finish":
        finish = IntentJournal.finish

        def finish_and_die(self: Any, *args: Any, **kwargs: Any) -> None:
            finish(self, *args, **kwargs)
            if once(folder, "finish"):
                die()

        IntentJournal.finish = finish_and_die  # type: ignore[method-assign]
    if where == "record":
        append = ExperienceLog.append

        def append_and_die(self: Any, *args: Any, **kwargs: Any) -> None:
            append(self, *args, **kwargs)
            if once(folder, "record"):
                die()

        ExperienceLog.append = append_and_die  # type: ignore[method-assign]


def given(text: str) -> Any:
    return {"messages": [("user", text)]} if text else None


def durability(door: str) -> Any:
    """Return how a caller of an agent of LangChain gets what the graph has by itself."""
    return {} if door == "graph" else {"durability": "sync"}


def saver_in(folder: Path) -> AbstractContextManager[Any]:
    """Return the checkpointer of a folder for sync code."""
    if (folder / "postgres").exists():
        from langgraph.checkpoint.postgres import PostgresSaver

        return PostgresSaver.from_conn_string((folder / "postgres").read_text())
    return SqliteSaver.from_conn_string(str(folder / "state.sqlite"))


def async_saver_in(folder: Path) -> AbstractAsyncContextManager[Any]:
    """Return the checkpointer of a folder for async code."""
    if (folder / "postgres").exists():
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        return AsyncPostgresSaver.from_conn_string((folder / "postgres").read_text())
    return AsyncSqliteSaver.from_conn_string(str(folder / "state.sqlite"))


def use_postgres(folder: Path, url: str) -> None:
    """Keep the checkpoints of a folder in Postgres."""
    (folder / "postgres").write_text(url)
    with saver_in(folder) as saver:
        saver.setup()


def open_journal(url: str) -> None:
    """Open a journal, as the first of many."""
    IntentJournal(url).close()


def play(folder: Path, door: str, how: str, given: Any, where: str = "never") -> Any:
    """Give something to the agent and return its result."""

    async def invoked() -> Any:
        async with async_saver_in(folder) as saver:
            return await make_agent(folder, where, saver, door).ainvoke(given, CONFIG, **durability(door))

    if how == "async":
        return asyncio.run(invoked())
    with saver_in(folder) as saver:
        return make_agent(folder, where, saver, door).invoke(given, CONFIG, **durability(door))


def main(folder: Path, where: str, how: str, text: str, door: str = "graph") -> None:
    """Run the agent and leave what it says in ``FOLDER/result``."""
    cut_wires(folder, where)
    result = play(folder, door, how, given(text), where)
    pauses = [p.value for p in result.get("__interrupt__", ())]
    tools = [m.content for m in result["messages"] if m.type == "tool"]
    (folder / "result").write_text(json.dumps({"tools": tools, "pauses": pauses}))
