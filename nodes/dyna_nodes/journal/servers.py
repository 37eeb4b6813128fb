"""The journal in a Postgres database: where agents on many machines write it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from dyna_nodes.journal.intents import JournalError
from dyna_nodes.journal.schema import schema

POSTGRES = ("postgres://", "postgresql://")
_MAKING = 0x64796E61
"""Number of the lock that those take who make the table: two at a time would trip over each other."""


class PostgresTable:
    """The table of intents in a Postgres database, safe for many machines.

    A connection that breaks is made again once; a write that may have arrived before it broke is repeated, which
    changes nothing: every write says how a row is to be.

    Args:
        url: Where it is, ``postgresql://…`` or a connection string of libpq.

    Raises:
        JournalError: The package psycopg is missing, or the database cannot be reached or written.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError as error:
            raise JournalError(
                "an intent journal in Postgres needs a package that is missing: pip install 'dyna-graph[postgres]'"
            ) from error
        self._psycopg = psycopg
        self._url = url
        self._lock = threading.Lock()
        self._connection: Any = None
        try:
            parts: dict[str, Any] = dict(conninfo_to_dict(url))
            self.name = make_conninfo(**{k: v for k, v in parts.items() if k not in ("password", "options")})
            self._connected().execute("SELECT 1")
        except psycopg.Error as error:
            raise JournalError(
                f"cannot open the intent journal in Postgres: {error}; give another place with journal=…"
            ) from error

    @property
    def identity(self) -> str:
        """What tells this journal from others in the process."""
        return self.name

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows that answer a question; ``?`` stands for a value."""
        with self._lock:
            return list(self._done("read", sql, values).fetchall())

    def write(self, sql: str, values: Sequence[Any], *, power: bool = False) -> None:
        """Change rows; a commit of Postgres survives a power cut, whatever ``power`` says."""
        del power
        with self._lock:
            self._done("write", sql, values)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection, self._url = None, ""

    def _done(self, what: str, sql: str, values: Sequence[Any]) -> Any:
        words = sql.replace("?", "%s")
        try:
            try:
                return self._connected().execute(words, values)
            except (self._psycopg.OperationalError, self._psycopg.InterfaceError):
                if self._connection is not None and not self._connection.broken:
                    raise
                self._connection = None
                return self._connected().execute(words, values)
        except self._psycopg.Error as error:
            raise JournalError(
                f"cannot {what} the intent journal in Postgres ({self.name}): {error}; nothing acts without it"
            ) from error

    def _connected(self) -> Any:
        """Return the connection, made anew where there is none; the table exists then."""
        if self._connection is None:
            if not self._url:
                raise self._psycopg.OperationalError("the journal is closed")
            self._connection = self._psycopg.connect(self._url, autocommit=True)
            with self._connection.transaction():
                self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
                self._connection.execute(schema("BIGSERIAL PRIMARY KEY", "DOUBLE PRECISION"))
        return self._connection
