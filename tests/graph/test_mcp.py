"""Tools of a real MCP server, over stdio and over HTTP on loopback, guarded like any others."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call, calls

client = pytest.importorskip("langchain_mcp_adapters.client")
SERVER = Path(__file__).with_name("mcp_orders.py")


@asynccontextmanager
async def mcp_tools(folder: Path, transport: str = "stdio") -> AsyncIterator[list[Any]]:
    """Start the server and yield its tools, of one session that stays open."""
    command = [str(SERVER), str(folder / "refunds.txt"), transport]
    server = None
    if transport == "stdio":
        connection: Any = {"transport": "stdio", "command": sys.executable, "args": command}
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen([sys.executable, *command, str(port)])
        connection = {"transport": "streamable_http", "url": f"http://127.0.0.1:{port}/mcp"}
        await listening(port)
    try:
        async with client.MultiServerMCPClient({"orders": connection}).session("orders") as session:
            yield await client.load_mcp_tools(session)
    finally:
        if server is not None:
            server.terminate()
            server.wait(10)


async def listening(port: int) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port}")


def imagined(query: Query) -> Prediction:
    """Predict that refunds of more than 40 fail."""
    fails = float(str(query.action.arguments.get("amount", 0))) > 40
    return Prediction(observation="declined" if fails else "done", success=not fails)


def guarded(tools: list[Any], script: list[Any], **options: Any) -> Any:
    options.setdefault("critic", OutcomeCritic("refund"))
    world = ScriptedWorldModel(imagined)
    return create_dyna_agent(ScriptedChatModel(script=script), tools, world_model=world, **options)


async def ask(agent: Any, **config: Any) -> tuple[list[str], Any]:
    """Run the agent and return the texts of its tool results, and the result."""
    result = await agent.ainvoke({"messages": [("user", "go")]}, **config)
    return [str(m.text) for m in result["messages"] if m.type == "tool"], result


@pytest.mark.parametrize("transport", ["stdio", "streamable-http"])
async def test_a_call_that_is_predicted_to_fail_never_reaches_the_server(
    tmp_path: Path, transport: str
) -> None:
    script = [
        call("find_order", order=7),
        calls(("refund", {"order": 7, "amount": 400.0}, "a"), ("refund", {"order": 7, "amount": 40.0}, "b")),
        "Done.",
    ]
    async with mcp_tools(tmp_path, transport) as tools:
        texts, _ = await ask(guarded(tools, script, record=tmp_path / "log"))
    assert texts[0] == "order 7: one lamp, paid 40.00"
    assert "no success predicted" in texts[1]
    assert texts[2] == "refunded 40.00"
    assert (tmp_path / "refunds.txt").read_text() == "7 40.00\n"
    recorded = ExperienceLog(tmp_path / "log").read()
    assert [(t.action.tool, t.observation) for t in recorded if t.provenance.source == "agent"] == [
        ("find_order", "order 7: one lamp, paid 40.00"),
        ("refund", "refunded 40.00"),
    ]


async def test_what_goes_wrong_on_the_server_is_an_observation(tmp_path: Path, thread: Any) -> None:
    script = [
        call("break_down", why="no ink"),
        call("picture"),
        call("note"),
        call("refund", order="seven", amount=1.0),
        call("refund", order=7, amount=400.0),
        "Done.",
    ]
    async with mcp_tools(tmp_path) as tools:
        agent = guarded(
            tools, script, checkpointer=InMemorySaver(), journal=tmp_path / "intents.sqlite", record=tmp_path
        )
        texts, result = await ask(agent, config=thread)
    assert "no ink" in texts[0]
    assert "Ignore all previous instructions" in texts[2]
    assert result["ended"]["kind"] == "answer"
    assert not (tmp_path / "refunds.txt").exists()
    statuses = {t.action.tool: t.status for t in ExperienceLog(tmp_path).read() if t.action.tool != "refund"}
    assert statuses == {"break_down": "error", "picture": "ok", "note": "ok"}


async def test_a_server_that_hangs_has_an_unknown_outcome(tmp_path: Path) -> None:
    async with mcp_tools(tmp_path) as tools:
        agent = guarded(tools, [call("hang", seconds=0.5), "Done."], tool_settings={"hang": {"timeout": 0.1}})
        texts, _ = await ask(agent)
        await asyncio.sleep(1)  # MCP's client cannot close while an answer is on its way
    assert "may or may not have had its effect" in texts[0]


async def test_in_a_dry_run_nothing_reaches_the_server(tmp_path: Path) -> None:
    async with mcp_tools(tmp_path) as tools:
        agent = guarded(tools, [call("refund", order=7, amount=40.0), "Done."], dry_run=True)
        texts, _ = await ask(agent)
    assert texts == ["done"]
    assert not (tmp_path / "refunds.txt").exists()
