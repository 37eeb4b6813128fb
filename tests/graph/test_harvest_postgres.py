"""Harvesting from a real Postgres server, started for these tests; skipped where none is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
NOBODY = 65534


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start a server on a socket of its own, as a user without rights where the tests run as root."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("no Postgres server is installed")
    folder = Path(tempfile.mkdtemp(prefix="dyna-pg-"))
    who: dict[str, Any] = {}
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    data = str(folder / "data")
    quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **who}
    subprocess.run(["initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"], check=True, **quiet)
    command = ["postgres", "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    running = subprocess.Popen(command, **quiet)
    url = f"postgresql://postgres@/postgres?host={folder}"
    try:
        for _ in range(200):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield url
    finally:
        running.terminate()
        running.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing on {place}"


def test_a_server_without_checkpoints_and_one_that_is_not_there(server: str) -> None:
    with pytest.raises(DynaError, match="has no tables `checkpoints` and `checkpoint_blobs`"):
        open_database(server)
    with pytest.raises(DynaError, match=r"postgres:127\.0\.0\.1/x cannot be read") as caught:
        open_database("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


def test_what_an_agent_did_is_harvested_once(server: str, tmp_path: Path) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    script = [call("look", place="desk"), call("look", place="bed"), "done"]
    with postgres.PostgresSaver.from_conn_string(server) as saver:
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
    with open_database(server) as database:
        found = harvest(database, log)
        assert (found.new, found.reasons, found.unreadable) == (1, {"rejected by a human": 1}, ())
        assert harvest(database, log).new == 0
    (transition,) = log.read()
    assert (transition.action.arguments, transition.observation) == ({"place": "shelf"}, "nothing on shelf")
    assert (transition.task, transition.provenance.origin) == ("Look.", "postgres:local/postgres")
    with psycopg.connect(server) as connection:
        connection.execute("UPDATE checkpoint_blobs SET blob = '\\xc1c1' WHERE channel = 'messages'")
    with open_database(server) as database:
        broken = harvest(database, ExperienceLog(tmp_path / "other"))
    assert broken.new == 0
    reasons = {line.reason for line in broken.unreadable}
    assert all("cannot be decoded as msgpack" in reason for reason in reasons), reasons
    assert broken.unreadable
