"""The journal: what was started, how it ended, and what nobody knows the end of."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from dyna_nodes.journal.files import MEMORY, SqliteFile
from dyna_nodes.journal.intents import Intent, IntentStatus, JournalError
from dyna_nodes.journal.schema import COLUMNS, TABLE
from dyna_nodes.journal.servers import PostgresTable, is_postgres


class Storage(Protocol):
    """Where the table of intents lies.

    Attributes:
        name: The place, without passwords.
    """

    name: str

    @property
    def identity(self) -> str | None:
        """What tells this place from others in the process; None for one that nobody else can see."""
        ...

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows that answer a question; ``?`` stands for a value."""
        ...

    def write(self, sql: str, values: Sequence[Any], *, power: bool = False) -> int:
        """Change rows, and return how many; the change then survives the process, with ``power`` a power cut too."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class IntentJournal:
    """A journal in an SQLite file or in Postgres, for many processes and threads; every write survives the process.

    Args:
        place: The file, or ``postgresql://…``; ``:memory:`` lives as long as the object.

    Raises:
        JournalError: It cannot be opened.
    """

    def __init__(self, place: str | os.PathLike[str] = MEMORY) -> None:
        text = os.fspath(place)
        scheme, url, _ = text.partition("://")
        if url and not is_postgres(text):
            raise JournalError(
                f"an intent journal is a file or lies at postgresql://…; {scheme}:// leads to neither"
            )
        self.storage: Storage = PostgresTable(text) if is_postgres(text) else SqliteFile(text)
        self._live = _live_in(self.storage.identity)

    @property
    def name(self) -> str:
        """Where it lies, without passwords."""
        return self.storage.name

    def relevant(self, thread: str, ns: str, call_id: str) -> list[Intent]:
        """Return the attempts of one call and what `open` returns, oldest first."""
        rows = self.storage.query(
            f"SELECT {COLUMNS} FROM {TABLE} WHERE thread=? AND ns=? "
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
        rows = self.storage.query(
            f"SELECT {COLUMNS} FROM {TABLE} WHERE thread=? AND ns=? AND status='done' AND observed=0 "
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
        rows = self.storage.query(
            f"SELECT {COLUMNS} FROM {TABLE} WHERE thread=? AND ns=? "
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
            self.storage.write(
                f"UPDATE {TABLE} SET observed=1 WHERE thread=? AND ns=? AND call_id IN ({marks})",
                (thread, ns, *ids),
            )

    def is_live(self, intent: Intent) -> bool:
        """Tell whether this process is executing the intent right now."""
        return intent.key in self._live

    def start(self, intent: Intent, *, power: bool = False) -> bool:
        """Write an intent; when this returns it survives the process, with ``power`` a power cut too.

        Returns:
            False, and nothing is written, where another run has started the same attempt and has not ended it: one
            of all that ask at once may execute it.
        """
        with _LIVE_LOCK:
            if intent.key in self._live:
                return False
            self._live.add(intent.key)
        written = 0
        try:
            written = self.storage.write(
                f"INSERT INTO {TABLE} ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) "
                "ON CONFLICT (thread, ns, call_id, attempt) "
                "DO UPDATE SET status='started', started=excluded.started "
                # The same moment: it is this very statement, repeated over a new connection.
                f"WHERE {TABLE}.status <> 'started' OR {TABLE}.started = excluded.started",
                (*intent._replace(started=time.time()),),
                power=power,
            )
        finally:
            if not written:
                self._live.discard(intent.key)
        return bool(written)

    def finish(
        self, intent: Intent, status: IntentStatus, *, detail: str = "", result: str | None = None
    ) -> None:
        """Write how an intent ended."""
        try:
            self.storage.write(
                f"UPDATE {TABLE} SET status=?, detail=?, result=?, ended=? "
                "WHERE thread=? AND ns=? AND call_id=? AND attempt=?",
                (status, _plain(detail), result, time.time(), *intent.key),
            )
        finally:
            self._live.discard(intent.key)

    def abandon(self, intent: Intent) -> None:
        """Note that this process no longer executes the intent, without knowing how it ended."""
        self._live.discard(intent.key)

    def settle(self, thread: str, ns: str, call_id: str, detail: str) -> None:
        """Write that a human has decided about the intents of a call whose outcome was not known."""
        self.storage.write(
            f"UPDATE {TABLE} SET status='settled', detail=?, ended=? "
            "WHERE thread=? AND ns=? AND call_id=? "
            "AND (status IN ('started', 'unknown') OR status='done' AND observed=0)",
            (_plain(detail), time.time(), thread, ns, call_id),
        )

    def close(self) -> None:
        """Close the file or connection."""
        self.storage.close()


_LIVE: dict[str, set[tuple[str, str, str, int]]] = {}
_LIVE_LOCK = threading.Lock()


def _live_in(identity: str | None) -> set[tuple[str, str, str, int]]:
    """Return the intents that this process is executing; agents that share a journal share the set."""
    return set() if identity is None else _LIVE.setdefault(identity, set())


def _plain(text: str) -> str:
    """Return text that every storage can hold: no half of a surrogate pair, and no NUL, which Postgres refuses."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
