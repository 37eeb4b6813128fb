"""The journal in an SQLite file: where many processes of one machine write it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyna_nodes.journal.intents import JournalError
from dyna_nodes.journal.schema import schema

MEMORY = ":memory:"
_WAIT = 30.0
"""Seconds to wait for others who are at the file."""


class SqliteFile:
    """The table of intents in an SQLite file, safe for many processes and threads.

    Args:
        path: The file; ``:memory:`` lives as long as the object.

    Raises:
        JournalError: The file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self._lock = threading.Lock()
        self._full = False
        try:
            if self.name != MEMORY:
                Path(self.name).parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.name, check_same_thread=False, isolation_level=None, timeout=_WAIT
            )
            _write_ahead(self._connection)
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(schema("INTEGER PRIMARY KEY AUTOINCREMENT", "REAL"))
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"cannot open the intent journal {self.name}: {error}; give another file with journal=…"
            ) from error

    @property
    def identity(self) -> str | None:
        """What tells this journal from others in the process; None for one that nobody else can see."""
        return None if self.name == MEMORY else os.path.realpath(self.name)

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows that answer a question; ``?`` stands for a value."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._broken("read", error) from error

    def write(self, sql: str, values: Sequence[Any], *, power: bool = False) -> int:
        """Change rows, and return how many; the change then survives the process, with ``power`` a power cut too."""
        with self._lock:
            try:
                if power != self._full:
                    # In WAL mode FULL forces every commit to the disk; NORMAL leaves that to the kernel.
                    self._connection.execute(f"PRAGMA synchronous={'FULL' if power else 'NORMAL'}")
                    self._full = power
                return self._connection.execute(sql, values).rowcount
            except sqlite3.Error as error:
                raise self._broken("write", error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _broken(self, what: str, error: sqlite3.Error) -> JournalError:
        return JournalError(
            f"cannot {what} the intent journal {self.name}: {error}; nothing acts without it. "
            "Free space, repair the file or give another one with journal=…"
        )


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
