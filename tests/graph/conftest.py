"""Drives agents from sync and from async code, so that every case is checked both ways."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent

from dyna_graph import DynaMiddleware, create_dyna_agent

HERE = str(Path(__file__).parent)
THREAD: dict[str, Any] = {"configurable": {"thread_id": "t"}}


class Driver:
    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async

    def __call__(self, agent: Any, given: Any = "go", config: Any = None, **options: Any) -> Any:
        """Invoke the agent with a user's text, messages or a command."""
        if isinstance(given, str):
            given = {"messages": [("user", given)]}
        if self.is_async:
            return asyncio.run(agent.ainvoke(given, config, **options))
        return agent.invoke(given, config, **options)

    def stream(self, agent: Any, given: Any = "go", config: Any = None, **options: Any) -> list[Any]:
        """Stream the agent to its end."""
        if isinstance(given, str):
            given = {"messages": [("user", given)]}

        async def collect() -> list[Any]:
            return [part async for part in agent.astream(given, config, **options)]

        if self.is_async:
            return asyncio.run(collect())
        return list(agent.stream(given, config, **options))


@pytest.fixture(scope="module")
def server() -> Any:
    """A clean process that has imported everything; each process of a test of crashes is a fork of it."""
    sys.path.insert(0, HERE)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["dyna_graph.middleware", "dyna_nodes.testing", "langgraph.checkpoint.sqlite.aio"]
    )
    yield context
    sys.path.remove(HERE)


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param == "async")


AGENT = ("system_prompt", "checkpointer", "store", "name", "context_schema", "interrupt_before")
"""Arguments that belong to the agent, not to the middleware."""


def agent_with_middleware(model: Any, tools: Any, **options: Any) -> Any:
    """Return an agent of LangChain with the middleware, from the arguments of `create_dyna_agent`."""
    given = {key: options.pop(key) for key in AGENT if key in options}
    return create_agent(model, list(tools), middleware=[DynaMiddleware(**options)], **given)


@pytest.fixture(params=["graph", "middleware"])
def make(request: pytest.FixtureRequest) -> Any:
    """Return what makes an agent: a graph of its own, or an agent of LangChain with the middleware."""
    return create_dyna_agent if request.param == "graph" else agent_with_middleware


@pytest.fixture
def thread() -> dict[str, Any]:
    return THREAD
