"""Harvesting from a real Postgres server, started for these tests; skipped where none is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.types import Command

from dyna_graph.errors import DynaError
from dyna_graph.harvest import harvest, open_database
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.testing import ScriptedChatModel, call

psycopg = pytest.importorskip("psycopg")
postgres = pytest.importorskip("langgraph.checkpoint.postgres")


def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing on {place}"


def test_a_server_without_checkpoints_and_one_that_is_not_there(postgres_url: str) -> None:
    with pytest.raises(DynaError, match="has no tables `checkpoints` and `checkpoint_blobs`"):
        open_database(postgres_url)
    with pytest.raises(DynaError, match=r"postgres:127\.0\.0\.1/x cannot be read") as caught:
        open_database("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


def test_what_an_agent_did_is_harvested_once(postgres_url: str, tmp_path: Path) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    script = [call("look", place="desk"), call("look", place="bed"), "done"]
    with postgres.PostgresSaver.from_conn_string(postgres_url) as saver:
        saver.setup()
        human = HumanInTheLoopMiddleware(interrupt_on={"look": True})
        agent: Any = create_agent(
            ScriptedChatModel(script=script), [look], checkpointer=saver, middleware=[human]
        )
        agent.invoke({"messages": [("user", "Look.")]}, config)
        edit = {"type": "edit", "edited_action": {"name": "look", "args": {"place": "shelf"}}}
        agent.invoke(Command(resume={"decisions": [edit]}), config)
        agent.invoke(Command(resume={"decisions": [{"type": "reject"}]}), config)
    log = ExperienceLog(tmp_path / "log")
    with open_database(postgres_url) as database:
        found = harvest(database, log)
        assert (found.new, found.reasons, found.unreadable) == (1, {"rejected by a human": 1}, ())
        assert harvest(database, log).new == 0
    (transition,) = log.read()
    assert (transition.action.arguments, transition.observation) == ({"place": "shelf"}, "nothing on shelf")
    database = urlsplit(postgres_url).path.strip("/")
    assert (transition.task, transition.provenance.origin) == ("Look.", f"postgres:local/{database}")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE checkpoint_blobs SET blob = '\\xc1c1' WHERE channel = 'messages'")
    with open_database(postgres_url) as database:
        broken = harvest(database, ExperienceLog(tmp_path / "other"))
    assert broken.new == 0
    reasons = {line.reason for line in broken.unreadable}
    assert all("cannot be decoded as msgpack" in reason for reason in reasons), reasons
    assert broken.unreadable
