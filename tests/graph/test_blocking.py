"""Nothing blocks the event loop: `langgraph dev` raises at every blocking call, and so does its detector here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import BlockingError, blockbuster_ctx
from langchain_core.tools import tool
from langgraph.types import Command

from dyna_graph.agent import create_dyna_agent
from dyna_graph.checkpoints import sqlite_checkpointer
from dyna_graph.models import resolve_model
from dyna_nodes.critics import JudgeCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_nodes.world_models.chat import ChatWorldModel
from tests.graph.loopback import completion, openai_server, send

RAN: list[str] = []


@tool
async def track(order: int) -> str:
    """Look where an order is."""
    await asyncio.sleep(0)
    RAN.append("track")
    return "on its way"


@tool
def refund(order: int) -> str:
    """Pay back; a tool that is not async may block, since LangChain runs it in a thread."""
    time.sleep(0.01)
    RAN.append("refund")
    return "paid"


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    RAN.clear()
    with blockbuster_ctx():
        yield


def test_the_detector_works() -> None:
    async def blocks() -> None:
        time.sleep(0.01)

    with pytest.raises(BlockingError):
        asyncio.run(blocks())


@pytest.mark.parametrize("level", ["process", "power"])
def test_a_run_with_everything_on_does_not_block(tmp_path: Any, level: Any, thread: Any) -> None:
    """Prompted world model and judge over HTTP, time limits, log, journal, checkpoints, and a human."""
    pytest.importorskip("langchain_openai")

    def answer(handler: Any) -> None:
        judging = "You check the actions" in str(asked[-1]["messages"][0]["content"])
        decision = "escalate" if "refund" in str(asked[-1]["messages"][-1]["content"]) else "approve"
        said = f'{{"decision": "{decision}"}}' if judging else "<observation>paid</observation>"
        send(handler, completion({"content": said}))

    with openai_server(answer) as (url, asked):
        agent = create_dyna_agent(
            ScriptedChatModel(script=[call("track", order=7), call("refund", order=7), "Done."]),
            [track, refund],
            world_model=ChatWorldModel(resolve_model(f"vllm:m@{url}")),
            critic=JudgeCritic(resolve_model(f"vllm:m@{url}")),
            candidates=1,
            world_model_timeout=20,
            critic_timeout=20,
            tool_settings={"*": {"timeout": 20}, "refund": {"irreversible": True, "timeout": 20}},
            checkpointer=sqlite_checkpointer(tmp_path / "runs.sqlite"),
            record=ExperienceLog(tmp_path / "log", level=level),
        )

        async def run() -> Any:
            paused = await agent.ainvoke({"messages": [("user", "Refund order 7.")]}, thread)
            assert "__interrupt__" in paused
            return await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), thread)

        result = asyncio.run(run())
    assert RAN == ["track", "refund"]
    assert result["ended"]["kind"] == "answer"
    log = ExperienceLog(tmp_path / "log")
    assert [t.action.tool for t in log.read()] == ["track", "refund"]
