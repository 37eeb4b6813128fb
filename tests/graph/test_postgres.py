"""Checkpoints and journal in Postgres: the same promises as in SQLite, on a real server."""

from __future__ import annotations

import json
import signal
import socket
import threading
import traceback
import uuid
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from dyna_graph import DynaConfig
from dyna_graph.checkpoints import postgres_checkpointer
from dyna_graph.config import ConfigError
from dyna_graph.errors import DynaError
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal import (
    Intent,
    IntentJournal,
    JournalError,
    ajournal_beside,
    has_place_beside,
    journal_beside,
)
from dyna_nodes.testing import ScriptedChatModel, call, calls
from tests.graph.crashing import lines
from tests.graph.judged import DONE, look

psycopg = pytest.importorskip("psycopg")


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


def intent(call_id: str = "1", attempt: int = 1) -> Intent:
    return Intent("t", "", call_id, attempt, "look", '{"where": "a"}', "digest")


# ---------------------------------------------------------------- the loop, killed and resumed


@pytest.mark.parametrize("door", ["graph", "middleware"])
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("where", ["before b", "after b"])
def test_killed_in_a_tool(
    tmp_path: Path, postgres_url: str, server: Any, door: str, how: str, where: str
) -> None:
    import crashing

    crashing.use_postgres(tmp_path, postgres_url)

    def run(where: str, text: str = "") -> Any:
        child = server.Process(target=crashing.main, args=(tmp_path, where, how, text, door))
        child.start()
        child.join(60)
        return child.exitcode

    assert run(where, "a b c") == -signal.SIGKILL
    before = lines(tmp_path, "effects")
    assert run("never") == 0
    assert lines(tmp_path, "effects") == before, "nothing acts before the unknown is decided"
    pauses = json.loads((tmp_path / "result").read_text())["pauses"]
    assert "how it ended is not known" in pauses[0]["action_requests"][0]["description"]
    with crashing.saver_in(tmp_path) as saver:
        agent = crashing.make_agent(tmp_path, "never", saver, door)
        waiting = [i.id for t in agent.get_state(crashing.CONFIG).tasks for i in t.interrupts]
        answers = {pause: {"decisions": [{"type": "approve"}]} for pause in waiting}
        final = agent.invoke(Command(resume=answers), crashing.CONFIG, **crashing.durability(door))
    assert [m.content for m in final["messages"] if m.type == "tool"] == ["wrote a", "wrote b", "wrote c"]
    assert sorted(lines(tmp_path, "effects")) == sorted([*before, "b", "c"])
    recorded = sorted(t.observation for t in ExperienceLog(tmp_path / "experience").read())
    assert recorded == ["wrote a", "wrote b", "wrote c"]


# ---------------------------------------------------------------- the journal


def test_machines_share_a_journal(postgres_url: str) -> None:
    first, second = IntentJournal(postgres_url), IntentJournal(postgres_url)
    second._live = set()  # as on another machine
    first.start(intent(), power=True)
    assert [i.call_id for i in second.open("t", "")] == ["1"]
    assert first.open("t", "") == [], "what this process is executing is not lost"
    first.finish(intent(), "done", result="{}")
    assert second.open("t", "") == []
    assert [i.status for i in second.untold("t", "")] == ["done"]
    second.observe("t", "", ["1"])
    assert first.untold("t", "") == []
    first.start(intent("2"))
    first.abandon(intent("2"))
    second.settle("t", "", "2", "a human: approve")
    assert [(i.status, i.detail) for i in first.relevant("t", "", "2")] == [("settled", "a human: approve")]


def test_a_connection_that_breaks_is_made_again(postgres_url: str) -> None:
    journal = IntentJournal(postgres_url)
    journal.start(intent())
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    journal.finish(intent(), "unknown")
    assert [i.status for i in journal.open("t", "")] == ["unknown"]


def test_a_server_that_has_gone_without_a_word_is_noticed_soon(postgres_url: str) -> None:
    """Unless its address says otherwise; and one that never answers holds nobody up."""
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}keepalives_idle=7"
    told = IntentJournal(url).storage._connection.info.get_parameters()
    assert (told["keepalives_idle"], told["keepalives_count"], told["tcp_user_timeout"]) == (
        "7",
        "3",
        "60000",
    )
    saver = postgres_checkpointer(url)
    with saver.conn.connection() as connection:
        assert connection.info.get_parameters()["keepalives_interval"] == "10"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        nowhere = f"postgresql://me@127.0.0.1:{mute.getsockname()[1]}/x?connect_timeout=2"
        with pytest.raises(JournalError, match="timeout"):
            IntentJournal(nowhere)


def test_a_journal_that_cannot_be_reached_says_so_without_its_password(postgres_url: str) -> None:
    with pytest.raises(JournalError, match="give another place") as caught:
        IntentJournal("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    journal = IntentJournal(postgres_url)
    journal.close()
    with pytest.raises(JournalError, match="nothing acts without it"):
        journal.start(intent())


@pytest.mark.parametrize("password", ["sec%ret", "sec@ret"])
def test_an_address_that_cannot_be_read_is_not_quoted(password: str) -> None:
    url = f"postgresql://me:{password}@127.0.0.1:1/x"
    with pytest.raises(JournalError, match="its address cannot be read; write") as caught:
        IntentJournal(url)
    with pytest.raises(DynaError, match="its address cannot be read; write") as refused:
        postgres_checkpointer(url)
    for error in (caught.value, refused.value):
        said = "".join(traceback.format_exception(error))
        assert "ret@" not in said
        assert "sec%" not in said


def test_a_write_that_had_arrived_before_the_connection_broke(postgres_url: str) -> None:
    journal = IntentJournal(postgres_url)
    storage: Any = journal.storage
    done, asked = storage._done, []

    def twice(what: str, sql: str, values: Any) -> Any:
        asked.append(what)
        done(what, sql, values)
        return done(what, sql, values)

    storage._done = twice
    assert journal.start(intent()), "its own row is nobody else's"
    journal.finish(intent(), "done", result="{}")
    journal.observe("t", "", ["1"])
    assert [(i.status, i.observed) for i in journal.relevant("t", "", "1")] == [("done", 1)]
    assert asked.count("write") == 3


def test_who_may_not_make_tables_uses_those_that_are_there(postgres_url: str) -> None:
    IntentJournal(postgres_url)
    role = f"role_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT SELECT, INSERT, UPDATE ON dyna_intents TO {role}")
        connection.execute(f"GRANT USAGE ON dyna_intents_seq_seq TO {role}")
    url = postgres_url.replace("postgres@", f"{role}@")
    assert IntentJournal(url).start(intent())
    threads = threading.active_count()
    with pytest.raises(DynaError, match="permission denied"):
        postgres_checkpointer(url)
    assert threading.active_count() == threads, "no pool is left behind"


def test_a_journal_in_a_schema_of_its_own(postgres_url: str) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver
    from psycopg_pool import ConnectionPool

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA tenant")
    options = {"options": "-c search_path=tenant"}
    with ConnectionPool(postgres_url, kwargs=options, min_size=1, open=True) as pool:
        journal = journal_beside(PostgresSaver(pool))
    journal.start(intent())
    other = IntentJournal(postgres_url)
    assert other.relevant("t", "", "1") == []
    assert not other.is_live(intent()), "another table's calls are others"
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT call_id FROM tenant.dyna_intents").fetchall() == [("1",)]


def test_a_pool_that_makes_its_addresses_itself_needs_a_journal() -> None:
    from langgraph.checkpoint.postgres import PostgresSaver
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(lambda: "postgresql://127.0.0.1:1/x", open=False)
    assert not has_place_beside(PostgresSaver(pool))


def test_many_make_the_table_at_the_same_moment(postgres_url: str, server: Any) -> None:
    import crashing

    children = [server.Process(target=crashing.open_journal, args=(postgres_url,)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 6


async def test_the_journal_lies_in_the_database_of_the_checkpointer(postgres_url: str) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    IntentJournal(postgres_url).start(intent("elsewhere"))
    with PostgresSaver.from_conn_string(postgres_url) as saver:
        journal = journal_beside(saver)
        assert [i.call_id for i in journal.relevant("t", "", "elsewhere")] == ["elsewhere"]
        assert journal_beside(saver) is journal
    async with AsyncPostgresSaver.from_conn_string(postgres_url) as asaver:
        journal = await ajournal_beside(asaver)
        assert [i.call_id for i in journal.relevant("t", "", "elsewhere")] == ["elsewhere"]
    pooled = journal_beside(postgres_checkpointer(postgres_url))
    assert [i.call_id for i in pooled.relevant("t", "", "elsewhere")] == ["elsewhere"]


# ---------------------------------------------------------------- checkpoints, from YAML


def test_a_configured_agent_goes_on_and_travels_in_time(
    drive: Any, thread: Any, tmp_path: Path, postgres_url: str
) -> None:
    file = tmp_path / "dyna.yaml"
    file.write_text("model: local:smollm2\ncheckpointer: ${WHERE}\nrecord: experience\n")

    def agent(script: Any) -> Any:
        config = DynaConfig.from_file(file, environment={"WHERE": postgres_url})
        return config.build(tools=[look], model=ScriptedChatModel(script=script))

    both = calls(("look", {"where": "a"}, "1"), ("look", {"where": "b"}, "2"))
    first = agent([both, "Done."])
    drive(first, "go", thread)
    again = agent([call("look", where="c"), "Again."])
    result = drive(again, "more", thread)
    assert [m.content for m in result["messages"] if m.type == "tool"] == [
        "You see a.",
        "You see b.",
        "You see c.",
    ]
    past = [s for s in again.get_state_history(thread) if s.next and s.next[0] == "act"]
    assert len(past) == 2
    assert sorted(DONE) == ["a", "b", "c"]
    (pause,) = drive(again, None, past[0].config)["__interrupt__"]
    assert "it has run before" in pause.value["action_requests"][0]["description"]
    assert sorted(DONE) == ["a", "b", "c"], "travelling in time repeats no effect"


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DynaError, match="cannot keep checkpoints in Postgres") as caught:
        postgres_checkpointer("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    file = tmp_path / "dyna.yaml"
    file.write_text("model: local:smollm2\ncheckpointer: postgresql://me:secret@127.0.0.1:1/x\n")
    with pytest.raises(ConfigError, match=r"dyna\.yaml:2.*cannot keep checkpoints") as refused:
        DynaConfig.from_file(file).build(tools=[look], model=ScriptedChatModel(script=[]))
    assert "secret" not in str(refused.value)
