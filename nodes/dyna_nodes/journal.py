"""The intent journal: what was about to happen is written down before it happens.

A checkpoint tells which calls the agent had decided on; only the journal tells which of them were really
started. After a crash, an intent that was started and has no outcome may or may not have had its effect:
nobody knows, so a human is asked before anything else acts. A call that is known to be done is not done
again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from langchain_core.messages import ToolMessage, message_to_dict, messages_from_dict
from langgraph.checkpoint.memory import InMemorySaver

from dyna_nodes.nouns import Action

IntentStatus = Literal["started", "done", "failed", "suspended", "unknown", "settled"]
"""``unknown``: it never answered in time. ``settled``: a human has decided about a started or unknown one."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    thread TEXT NOT NULL, ns TEXT NOT NULL, call_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    tool TEXT NOT NULL, arguments TEXT NOT NULL, digest TEXT NOT NULL,
    status TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '', result TEXT,
    observed INTEGER NOT NULL DEFAULT 0, started REAL NOT NULL, ended REAL,
    UNIQUE (thread, ns, call_id, attempt)
);
CREATE INDEX IF NOT EXISTS open_intents ON intents (thread, ns) WHERE status IN ('started', 'unknown');
"""
_WAIT = 30.0
"""Seconds to wait for others who are at the file."""
_COLUMNS = "thread, ns, call_id, attempt, tool, arguments, digest, status, detail, result, observed, started"


class JournalError(OSError):
    """The intent journal cannot be written or read; nothing may act without it."""


class Intent(NamedTuple):
    """One attempt to execute one call.

    Attributes:
        thread: LangGraph thread id.
        ns: Namespace of the graph in the thread, without task ids.
        call_id: Id of the tool call.
        attempt: Number of the attempt, from 1.
        tool: Name of the tool.
        arguments: Its arguments as JSON.
        digest: What the verdict was bound to.
        status: How far it is known to have come.
        detail: What a human or the loop noted about it.
        result: The answer as JSON, where the call is done and its answer can be written as JSON.
        observed: Whether the answer has become part of the conversation.
        started: Unix time in seconds.
    """

    thread: str
    ns: str
    call_id: str
    attempt: int
    tool: str
    arguments: str
    digest: str
    status: IntentStatus = "started"
    detail: str = ""
    result: str | None = None
    observed: int = 0
    started: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Thread, namespace, call id and attempt."""
        return self.thread, self.ns, self.call_id, self.attempt

    @property
    def action(self) -> Action:
        """The call."""
        return Action(tool=self.tool, arguments=json.loads(self.arguments))

    def answer(self) -> ToolMessage | None:
        """Return the recorded answer; None where there is none."""
        if self.result is None:
            return None
        message = messages_from_dict([json.loads(self.result)])[0]
        return message if isinstance(message, ToolMessage) else None


def answer_text(message: ToolMessage) -> str | None:
    """Write an answer for the journal; None when it holds something that JSON cannot hold."""
    try:
        return json.dumps(message_to_dict(message))
    except (TypeError, ValueError):
        return None


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. For others who do so at the same moment SQLite does not wait, so this does."""
    end = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)
        else:
            return


class IntentJournal:
    """A journal in an SQLite file, safe for many processes and threads; every write survives the process.

    Args:
        path: The file; ``:memory:`` lives as long as the object.

    Raises:
        JournalError: The file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] = ":memory:") -> None:
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._live = _live_in(self.path)
        self._full = False
        try:
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, check_same_thread=False, isolation_level=None, timeout=_WAIT
            )
            _write_ahead(self._connection)
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"cannot open the intent journal {self.path}: {error}; give another file with journal=…"
            ) from error

    def relevant(self, thread: str, ns: str, call_id: str) -> list[Intent]:
        """Return the attempts of one call and what `open` returns, oldest first."""
        rows = self._query(
            f"SELECT {_COLUMNS} FROM intents WHERE thread=? AND ns=? "
            "AND (status IN ('started', 'unknown') OR call_id=?) ORDER BY seq",
            (thread, ns, call_id),
        )
        found = [Intent(*row) for row in rows]
        if all(intent.call_id == call_id for intent in found):
            return found
        lost = {intent.key for intent in self._lost(thread, ns)}
        return [intent for intent in found if intent.call_id == call_id or intent.key in lost]

    def open(self, thread: str, ns: str) -> list[Intent]:
        """Return the intents whose outcome is not known and which nobody in this process is executing."""
        return self._lost(thread, ns)

    def untold(self, thread: str, ns: str) -> list[Intent]:
        """Return the calls that are done and whose answer no conversation has taken in yet."""
        rows = self._query(
            f"SELECT {_COLUMNS} FROM intents WHERE thread=? AND ns=? AND status='done' AND observed=0 "
            "AND detail='' ORDER BY seq",
            (thread, ns),
        )
        return [Intent(*row) for row in rows]

    def _lost(self, thread: str, ns: str) -> list[Intent]:
        lost = [intent for intent in self._started(thread, ns) if not self.is_live(intent)]
        if not lost:
            return []
        # A sibling may have finished between the look into the journal and the look at what is live; its outcome
        # is written before it stops being live, so that a second look tells.
        still = {intent.key for intent in self._started(thread, ns)}
        return [intent for intent in lost if intent.key in still]

    def _started(self, thread: str, ns: str) -> list[Intent]:
        rows = self._query(
            f"SELECT {_COLUMNS} FROM intents WHERE thread=? AND ns=? "
            "AND status IN ('started', 'unknown') ORDER BY seq",
            (thread, ns),
        )
        return [Intent(*row) for row in rows]

    def observe(self, thread: str, ns: str, call_ids: Iterable[str]) -> None:
        """Note that the answers of calls have become part of the conversation.

        From then on a checkpoint that still wants to execute them is one from the past: somebody travels in
        time.
        """
        ids = list(call_ids)
        if ids:
            marks = ",".join("?" * len(ids))
            self._write(
                f"UPDATE intents SET observed=1 WHERE thread=? AND ns=? AND call_id IN ({marks})",
                (thread, ns, *ids),
            )

    def is_live(self, intent: Intent) -> bool:
        """Tell whether this process is executing the intent right now."""
        return intent.key in self._live

    def start(self, intent: Intent, *, power: bool = False) -> None:
        """Write an intent; when this returns it survives the process, with ``power`` a power cut too."""
        self._live.add(intent.key)
        try:
            self._write(
                f"INSERT INTO intents ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) "
                "ON CONFLICT (thread, ns, call_id, attempt) "
                "DO UPDATE SET status='started', started=excluded.started",
                (*intent._replace(started=time.time()),),
                power=power,
            )
        except BaseException:
            self._live.discard(intent.key)
            raise

    def finish(
        self, intent: Intent, status: IntentStatus, *, detail: str = "", result: str | None = None
    ) -> None:
        """Write how an intent ended."""
        try:
            self._write(
                "UPDATE intents SET status=?, detail=?, result=?, ended=? "
                "WHERE thread=? AND ns=? AND call_id=? AND attempt=?",
                (status, detail, result, time.time(), *intent.key),
            )
        finally:
            self._live.discard(intent.key)

    def abandon(self, intent: Intent) -> None:
        """Note that this process no longer executes the intent, without knowing how it ended."""
        self._live.discard(intent.key)

    def settle(self, thread: str, ns: str, call_id: str, detail: str) -> None:
        """Write that a human has decided about the intents of a call whose outcome was not known."""
        self._write(
            "UPDATE intents SET status='settled', detail=?, ended=? "
            "WHERE thread=? AND ns=? AND call_id=? "
            "AND (status IN ('started', 'unknown') OR status='done' AND observed=0)",
            (detail, time.time(), thread, ns, call_id),
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._broken("read", error) from error

    def _write(self, sql: str, values: tuple[Any, ...], *, power: bool = False) -> None:
        with self._lock:
            try:
                if power != self._full:
                    # In WAL mode FULL forces every commit to the disk; NORMAL leaves that to the kernel.
                    self._connection.execute(f"PRAGMA synchronous={'FULL' if power else 'NORMAL'}")
                    self._full = power
                self._connection.execute(sql, values)
            except sqlite3.Error as error:
                raise self._broken("write", error) from error

    def _broken(self, what: str, error: sqlite3.Error) -> JournalError:
        return JournalError(
            f"cannot {what} the intent journal {self.path}: {error}; nothing acts without it. "
            "Free space, repair the file or give another one with journal=…"
        )


_LIVE: dict[str, set[tuple[str, str, str, int]]] = {}
_BESIDE: WeakKeyDictionary[Any, IntentJournal] = WeakKeyDictionary()
_BESIDE_LOCK = threading.Lock()


def _live_in(path: str) -> set[tuple[str, str, str, int]]:
    """Return the intents that this process is executing; agents that share a journal file share the set."""
    return set() if path == ":memory:" else _LIVE.setdefault(os.path.realpath(path), set())


def has_place_beside(checkpointer: Any) -> bool:
    """Tell whether `journal_beside` knows where the journal of a checkpointer belongs."""
    connection = getattr(checkpointer, "conn", None)
    return (
        isinstance(checkpointer, InMemorySaver)
        or isinstance(connection, sqlite3.Connection)
        or _is_async(connection)
    )


def journal_beside(checkpointer: Any) -> IntentJournal:
    """Return the journal that lies beside a checkpointer, the same one every time.

    Beside an SQLite file lies a file with ``-intents`` added to its name; beside a checkpointer in memory,
    which does not outlive the process either, a journal in memory.
    """
    with _BESIDE_LOCK:
        if checkpointer not in _BESIDE:
            connection = getattr(checkpointer, "conn", None)
            rows = connection.execute(_FILES).fetchall() if isinstance(connection, sqlite3.Connection) else []
            _BESIDE[checkpointer] = IntentJournal(_path_beside(rows))
        return _BESIDE[checkpointer]


async def ajournal_beside(checkpointer: Any) -> IntentJournal:
    """Return the journal that lies beside a checkpointer, without blocking the event loop."""
    connection = getattr(checkpointer, "conn", None)
    if connection is None or checkpointer in _BESIDE or not _is_async(connection):
        return await asyncio.to_thread(journal_beside, checkpointer)
    async with connection.execute(_FILES) as cursor:
        path = _path_beside(await cursor.fetchall())
    journal = await asyncio.to_thread(IntentJournal, path)
    with _BESIDE_LOCK:
        return _BESIDE.setdefault(checkpointer, journal)


_FILES = "PRAGMA database_list"


def _is_async(connection: Any) -> bool:
    return type(connection).__module__.partition(".")[0] == "aiosqlite"


def _path_beside(files: Iterable[Any]) -> str:
    file = next((row[2] for row in files if row[1] == "main"), "")
    return f"{file}-intents" if file else ":memory:"
