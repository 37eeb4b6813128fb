"""Agents as LangChain's documentation writes them, and the one line that is added: a middleware from a file.

The models are scripts, since there is no other offline; the world models are asked over HTTP, with the OpenAI protocol.
Everything else is what the documentation has: a chat with tools, a database, tools of an MCP server.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain.tools import ToolRuntime, tool
from langgraph.checkpoint.memory import InMemorySaver

from dyna_graph import DynaMiddleware
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Transition
from dyna_nodes.testing import ScriptedChatModel, call
from tests.graph.loopback import completion, openai_server, send

Imagine = Callable[[str], tuple[str, bool]]
SERVER = Path(__file__).parents[1] / "mcp_orders.py"


class World:
    """A server whose model imagines what calls do."""

    def __init__(self, folder: Path, url: str, asked: list[dict[str, Any]]) -> None:
        self.folder, self.url, self.asked = folder, url, asked

    def file(self, critic: str, more: str = "") -> Path:
        """Write the configuration that is added to an agent."""
        file = self.folder / "dyna.yaml"
        file.write_text(
            f"world_model: vllm:m@{self.url}\ncritic: {critic}\nrecord: experience\njournal: false\n{more}"
        )
        return file

    @property
    def transitions(self) -> list[Transition]:
        return [t for t in ExperienceLog(self.folder / "experience").read() if t.provenance.source == "agent"]


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Serve the world model that the test names: from the last call in the prompt to observation and success."""
    imagine: Imagine = request.param

    def reply(handler: Any) -> None:
        observation, success = imagine(str(asked[-1]["messages"][-1]["content"]))
        text = f"<observation>{observation}</observation><success>{'yes' if success else 'no'}</success>"
        send(handler, completion({"content": text}))

    with openai_server(reply) as (url, asked):
        yield World(tmp_path, url, asked)


def results(result: Any) -> list[tuple[str, str]]:
    return [(m.status, str(m.text)) for m in result["messages"] if m.type == "tool"]


# ---------------------------------------------------------------- chat with tools


@dataclass
class Context:
    """Who asks."""

    user_id: str


@dataclass
class ResponseFormat:
    """What the agent answers."""

    punny_response: str
    weather_conditions: str | None = None


@tool
def get_weather_for_location(city: str) -> str:
    """Get weather for a given city."""
    return f"It's always sunny in {city}!"


@tool
def get_user_location(runtime: ToolRuntime[Context]) -> str:
    """Retrieve user information based on user ID."""
    return "Florida" if runtime.context.user_id == "1" else "SF"


def weather(prompt: str) -> tuple[str, bool]:
    return ("no such city", False) if "Atlantis" in prompt else ("It's always sunny in Florida!", True)


@pytest.mark.parametrize("world", [weather], indirect=True)
def test_a_chat_with_tools(drive: Any, thread: Any, world: World) -> None:
    script = [
        call("get_user_location"),
        call("get_weather_for_location", city="Atlantis"),
        call("get_weather_for_location", city="Florida"),
        call("ResponseFormat", punny_response="Sun-thing to look forward to!", weather_conditions="sunny"),
    ]
    agent = create_agent(
        model=ScriptedChatModel(script=script),
        system_prompt="You are an expert weather forecaster, who speaks in puns.",
        tools=[get_user_location, get_weather_for_location],
        context_schema=Context,
        response_format=ToolStrategy(ResponseFormat),
        checkpointer=InMemorySaver(),
        middleware=[DynaMiddleware.from_file(world.file("outcome"))],
    )
    result = drive(agent, "what is the weather outside?", thread, context=Context(user_id="1"))
    assert result["structured_response"] == ResponseFormat("Sun-thing to look forward to!", "sunny")
    statuses = [status for status, _ in results(result)]
    assert statuses == ["success", "error", "success", "success"]
    assert [(t.action.tool, t.observation) for t in world.transitions] == [
        ("get_user_location", "Florida"),
        ("get_weather_for_location", "It's always sunny in Florida!"),
    ]
    assert world.transitions[1].scores["exact"] == 1
    assert "expert weather forecaster" not in str(world.asked), (
        "the world model is told what was executed only"
    )


# ---------------------------------------------------------------- a database


def rows(prompt: str) -> tuple[str, bool]:
    """Imagine that what changes the database is refused."""
    changes = re.search(r"\b(DELETE|UPDATE|DROP|INSERT)\b", prompt.rpartition("sql_db_query")[2])
    return ("permission denied", False) if changes else ("[('AC/DC',)]", True)


@pytest.mark.parametrize("world", [rows], indirect=True)
def test_a_sql_agent(drive: Any, tmp_path: Path, world: World) -> None:
    toolkits = pytest.importorskip("langchain_community.agent_toolkits")
    utilities = pytest.importorskip("langchain_community.utilities")
    connection = sqlite3.connect(tmp_path / "chinook.db")
    connection.executescript("CREATE TABLE Artist (Name TEXT); INSERT INTO Artist VALUES ('AC/DC');")
    connection.close()
    model = ScriptedChatModel(
        script=[
            call("sql_db_list_tables", tool_input=""),
            call("sql_db_schema", table_names="Artist"),
            call("sql_db_query", query="DELETE FROM Artist"),
            call("sql_db_query", query="SELECT Name FROM Artist LIMIT 5"),
            "There is AC/DC.",
        ]
    )
    db = utilities.SQLDatabase.from_uri(f"sqlite:///{tmp_path / 'chinook.db'}")
    tools = toolkits.SQLDatabaseToolkit(db=db, llm=model).get_tools()
    file = world.file("{critic: outcome, tools: [sql_db_query]}")
    agent = create_agent(
        model,
        tools,
        system_prompt="You are an agent designed to interact with a SQL database.",
        middleware=[DynaMiddleware.from_file(file)],
    )
    result = drive(agent, "Which artists are there?")
    listed, schema, refused, found = results(result)
    assert listed == ("success", "Artist")
    assert "CREATE TABLE" in schema[1]
    assert refused[0] == "error"
    assert "permission denied" in refused[1]
    assert found == ("success", "[('AC/DC',)]")
    assert result["messages"][-1].content == "There is AC/DC."
    left = sqlite3.connect(tmp_path / "chinook.db")
    assert left.execute("SELECT count(*) FROM Artist").fetchone() == (1,), "nothing was deleted"
    left.close()
    assert [t.action.tool for t in world.transitions] == [
        "sql_db_list_tables",
        "sql_db_schema",
        "sql_db_query",
    ]


# ---------------------------------------------------------------- tools of an MCP server


def refunds(prompt: str) -> tuple[str, bool]:
    amounts = re.findall(r'"amount": (\d+)', prompt)
    return ("declined", False) if amounts and int(amounts[-1]) > 40 else ("refunded", True)


@pytest.mark.parametrize("world", [refunds], indirect=True)
async def test_an_agent_with_tools_of_an_mcp_server(tmp_path: Path, world: World) -> None:
    clients = pytest.importorskip("langchain_mcp_adapters.client")
    client = clients.MultiServerMCPClient(
        {
            "orders": {
                "transport": "stdio",
                "command": sys.executable,
                "args": [str(SERVER), str(tmp_path / "refunds.txt"), "stdio"],
            }
        }
    )
    tools = await client.get_tools()
    script = [
        call("find_order", order=7),
        call("refund", order=7, amount=400.0),
        call("refund", order=7, amount=40.0),
        "Done.",
    ]
    file = world.file("{critic: outcome, tools: [refund]}")
    agent = create_agent(
        ScriptedChatModel(script=script), tools, middleware=[DynaMiddleware.from_file(file, tools=tools)]
    )
    result = await agent.ainvoke({"messages": [{"role": "user", "content": "My lamp broke."}]})
    assert [status for status, _ in results(result)] == ["success", "error", "success"]
    assert (tmp_path / "refunds.txt").read_text() == "7 40.00\n"
    assert [t.action.tool for t in world.transitions] == ["find_order", "refund"]
