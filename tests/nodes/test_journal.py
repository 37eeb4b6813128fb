"""The intent journal: written before effects, shared by processes, and honest about what it does not know."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from dyna_nodes.journal import (
    Intent,
    IntentJournal,
    JournalError,
    ajournal_beside,
    answer_text,
    has_place_beside,
    journal_beside,
)


def intent(call_id: str = "1", attempt: int = 1, thread: str = "t") -> Intent:
    return Intent(thread, "", call_id, attempt, "look", '{"where": "a"}', "digest")


def test_an_intent_from_start_to_end() -> None:
    journal = IntentJournal()
    journal.start(intent())
    (found,) = journal.relevant("t", "", "1")
    assert (found.status, found.action.arguments, found.started > 0) == ("started", {"where": "a"}, True)
    assert journal.is_live(found)
    assert journal.open("t", "") == [], "what this process is executing is not lost"
    message = ToolMessage("You see a.", tool_call_id="1", artifact={"reward": 1})
    journal.finish(found, "done", result=answer_text(message))
    (found,) = journal.relevant("t", "", "1")
    assert found.status == "done"
    assert found.answer() == message
    assert not journal.is_live(found)


@pytest.mark.parametrize("status", ["done", "failed", "suspended", "settled"])
def test_only_started_and_unknown_intents_are_open(status: Any) -> None:
    journal = IntentJournal()
    journal.start(intent())
    journal.finish(intent(), status)
    assert journal.open("t", "") == []
    journal.finish(intent(), "unknown")
    assert [i.call_id for i in journal.open("t", "")] == ["1"]
    journal.settle("t", "", "1", "a human: approve")
    assert journal.open("t", "") == []


def test_of_two_runs_that_start_the_same_attempt_one_executes_it(tmp_path: Path) -> None:
    journal, elsewhere = IntentJournal(tmp_path / "j"), IntentJournal(tmp_path / "j")
    elsewhere._live = set()  # as in another process
    assert journal.start(intent())
    assert not journal.start(intent()), "in this process"
    assert not elsewhere.start(intent()), "in another"
    assert journal.is_live(intent())
    assert not elsewhere.is_live(intent())
    journal.finish(intent(), "suspended")
    assert elsewhere.start(intent()), "what was suspended goes on, anywhere"


def test_what_is_noted_may_be_no_text() -> None:
    journal = IntentJournal()
    journal.start(intent())
    journal.finish(intent(), "failed", detail="half \ud800, NUL \0")
    assert journal.relevant("t", "", "1")[0].detail == "half \\ud800, NUL \\x00"


def test_an_address_that_leads_nowhere_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JournalError, match=r"postgresql\+psycopg:// leads to neither") as caught:
        IntentJournal("postgresql+psycopg://me:secret@127.0.0.1/x")
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_another_process_sees_what_was_started(tmp_path: Path) -> None:
    """Two connections without shared memory of what is live stand for two processes."""
    first, second = IntentJournal(tmp_path / "j"), IntentJournal(tmp_path / "j")
    second._live = set()
    first.start(intent())
    assert [i.call_id for i in second.open("t", "")] == ["1"]
    assert first.open("t", "") == []


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    def work(name: int) -> None:
        journal = IntentJournal(tmp_path / "j")
        for i in range(20):
            journal.start(intent(f"{name}-{i}"))
            journal.finish(intent(f"{name}-{i}"), "unknown")
        journal.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(IntentJournal(tmp_path / "j").open("t", "")) == 80


def test_many_open_a_new_journal_at_the_same_moment(tmp_path: Path) -> None:
    """SQLite's own waiting does not cover the switch to the write-ahead log: one round in thirty used to fail."""
    failures: list[Exception] = []

    def work(path: Path, together: threading.Barrier) -> None:
        together.wait()
        try:
            IntentJournal(path).close()
        except Exception as error:
            failures.append(error)

    for number in range(100):
        together = threading.Barrier(8)
        threads = [threading.Thread(target=work, args=(tmp_path / f"{number}", together)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_irreversible_intents_are_forced_to_the_disk() -> None:
    journal = IntentJournal()
    statements: list[str] = []
    journal.storage._connection.set_trace_callback(statements.append)
    journal.start(intent("1"), power=True)
    journal.start(intent("2"))
    levels = [s.partition("=")[2] for s in statements if s.startswith("PRAGMA synchronous")]
    assert levels == ["FULL", "NORMAL"]
    assert statements[0].startswith("PRAGMA synchronous=FULL"), "before the intent is written"


def test_answers_that_json_cannot_hold_are_not_kept() -> None:
    message = ToolMessage("x", tool_call_id="1", artifact=object())
    assert answer_text(message) is None


def test_a_file_that_is_no_journal_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("this is not a database, and long enough to be taken for one" * 100)
    with pytest.raises(JournalError, match=r"cannot open the intent journal .*journal=…"):
        IntentJournal(path)


def test_a_folder_that_cannot_be_made_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="give another file"):
        IntentJournal(tmp_path / "file" / "j")


def test_the_journal_lies_beside_the_checkpointer(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "state.sqlite")) as saver:
        assert has_place_beside(saver)
        journal = journal_beside(saver)
        assert journal.name == str(tmp_path / "state.sqlite-intents")
        assert journal_beside(saver) is journal
    assert journal_beside(InMemorySaver()).name == ":memory:"
    assert journal_beside(SqliteSaver(sqlite3.connect(":memory:"))).name == ":memory:"


def test_the_journal_lies_beside_an_async_checkpointer(tmp_path: Path) -> None:
    async def check() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "state.sqlite")) as saver:
            assert has_place_beside(saver)
            journal = await ajournal_beside(saver)
            assert journal.name == str(tmp_path / "state.sqlite-intents")
            assert await ajournal_beside(saver) is journal

    asyncio.run(check())


def test_a_sibling_that_finishes_between_two_looks_is_not_lost(tmp_path: Path) -> None:
    class Finishing(IntentJournal):
        def is_live(self, intent: Intent) -> bool:
            self.finish(intent, "done")
            return super().is_live(intent)

    journal = Finishing(tmp_path / "journal.sqlite")
    journal.start(Intent("t", "", "sibling", 1, "look", "{}", ""))
    assert journal.relevant("t", "", "mine") == []
    journal.start(Intent("t", "", "another", 1, "look", "{}", ""))
    assert journal.open("t", "") == []
