"""The journal in a Postgres database: where agents on many machines write it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from dyna_nodes.journal.intents import JournalError
from dyna_nodes.journal.schema import TABLE, schema

POSTGRES = ("postgres://", "postgresql://")
_MAKING = 0x64796E61
"""Number of the lock that those take who make the table: two at a time would trip over each other."""
_PATIENCE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_UNREADABLE = (
    "its address cannot be read; write postgresql://user:password@host:port/database, special characters of user and "
    "password as %XX"
)
"""Said in the place of libpq's words, which quote what may be part of a password."""
_SECRET = frozenset(("password", "sslpassword", "oauth_client_secret"))
_PLACE = frozenset(("host", "hostaddr", "port", "dbname", "user", "service", "options"))
"""What of a connection's parameters decides which table it leads to; options may set another schema."""


def is_postgres(place: str) -> bool:
    """Tell URLs and connection strings of libpq from files."""
    return place.startswith(POSTGRES) or ("host=" in place and "dbname=" in place)


def parameters(url: str) -> dict[str, Any]:
    """Return the parameters of a connection to Postgres.

    Raises:
        ValueError: It cannot be read; nothing of it is quoted.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts: dict[str, Any] = dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        raise ValueError(_UNREADABLE) from None
    if "@" in str(parts.get("host", ""))[1:]:  # of a password with a bare @, the rest
        raise ValueError(_UNREADABLE)
    return parts


def patience(url: str) -> dict[str, Any]:
    """Return how long to wait for a server that has gone without a word, as far as its address says nothing about it.

    It is noticed within a minute. The system's own patience is two hours, in which an agent would stand still.

    Raises:
        ValueError: The address cannot be read; nothing of it is quoted.
    """
    said = parameters(url)
    return {name: value for name, value in _PATIENCE.items() if name not in said}


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
            from psycopg.conninfo import make_conninfo
        except ImportError as error:
            raise JournalError(
                "an intent journal in Postgres needs a package that is missing: pip install 'dyna-graph[postgres]'"
            ) from error
        self._psycopg = psycopg
        self._url = url
        self._lock = threading.Lock()
        self._connection: Any = None
        try:
            parts = parameters(url)
        except ValueError as error:
            raise JournalError(f"cannot open the intent journal in Postgres: {error}") from error
        self.name = make_conninfo(**{k: v for k, v in parts.items() if k not in _SECRET | {"options"}})
        self._place = make_conninfo(**{k: v for k, v in parts.items() if k in _PLACE})
        try:
            self._connected()
        except psycopg.Error as error:
            raise JournalError(
                f"cannot open the intent journal in Postgres: {error}; give another place with journal=…"
            ) from error

    @property
    def identity(self) -> str:
        """What tells this journal from others in the process."""
        return self._place

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows that answer a question; ``?`` stands for a value."""
        with self._lock:
            return list(self._done("read", sql, values).fetchall())

    def write(self, sql: str, values: Sequence[Any], *, power: bool = False) -> int:
        """Change rows, and return how many; a commit survives a power cut, whatever ``power`` says."""
        del power
        with self._lock:
            return int(self._done("write", sql, values).rowcount)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection, self._url = None, ""

    def _done(self, what: str, sql: str, values: Sequence[Any]) -> Any:
        words, before = sql.replace("?", "%s"), self._connection
        try:
            try:
                return self._connected().execute(words, values)
            except (self._psycopg.OperationalError, self._psycopg.InterfaceError):
                if before is None or not before.broken:
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
            # Prepared statements would be lost behind a pooler that gives each transaction another connection.
            connection = self._psycopg.connect(
                self._url, autocommit=True, prepare_threshold=None, **patience(self._url)
            )
            try:
                self._make_table(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _make_table(self, connection: Any) -> None:
        """Make the table where there is none: who may only read and write it needs no right to make one."""
        if connection.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone()[0] is not None:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            connection.execute(schema("BIGSERIAL PRIMARY KEY", "DOUBLE PRECISION"))
