"""Rows of the tables that LangGraph's checkpointers keep, read without changing anything.

Rows are read one by one rather than through the checkpointers, so that a damaged one costs itself alone, nothing is
set up or migrated in somebody else's database, and no class that a database names is imported to be called.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote, urlsplit

from dyna_graph.errors import DynaError
from dyna_graph.plugins import how_to_install

POSTGRES = ("postgres://", "postgresql://")
SQLITE = "sqlite:"
OTHER_VERSION = (
    "if another version of the checkpointer wrote it, open it with your agent once, which migrates it"
)


class CheckpointRow(NamedTuple):
    """One checkpoint.

    Attributes:
        id: Its id; ids of one thread sort by time.
        parent: Id of the checkpoint before it; None for a first one.
        checkpoint: The checkpoint as LangGraph keeps it, with ``channel_values``; None when it cannot be read.
        source: What made it: ``input``, ``loop``, ``update`` or ``fork``.
        problem: Why it cannot be read; empty when it can.
    """

    id: str
    parent: str | None
    checkpoint: Mapping[str, Any] | None
    source: str = ""
    problem: str = ""


class CheckpointDatabase(Protocol):
    """Where checkpoints lie.

    Attributes:
        name: How transitions name it, without passwords or folders.
    """

    name: str

    def threads(self) -> list[tuple[str, str]]:
        """Return every thread with its namespace, outer namespaces first."""
        ...

    def rows(self, thread: str, namespace: str, channels: Sequence[str]) -> Iterator[CheckpointRow]:
        """Yield the checkpoints of a thread, oldest first, with the values of these channels at least."""
        ...


def open_database(place: str) -> SqliteCheckpoints | PostgresCheckpoints:
    """Open the database that a user names: an SQLite file, or a ``postgresql://`` URL.

    Raises:
        DynaError: It does not exist, is none, or a package is missing.
    """
    if place.startswith(POSTGRES):
        return PostgresCheckpoints(place)
    return SqliteCheckpoints(place.removeprefix(SQLITE))


class SqliteCheckpoints:
    """The tables of ``langgraph-checkpoint-sqlite`` in a file, opened for reading only.

    Args:
        file: The file.

    Raises:
        DynaError: The file does not exist, is no database, or holds no checkpoints.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.name = f"sqlite:{self.file.name}"
        self._serializer = _serializer()
        if not self.file.is_file():
            raise DynaError(f"{file}: there is no such file")
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(self.file.resolve()))}?mode=ro", uri=True)
            columns = {row[1] for row in self._connection.execute("PRAGMA table_info(checkpoints)")}
        except sqlite3.Error as error:
            raise DynaError(f"{file} cannot be read: {error}") from error
        needed = {"thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint"}
        if not needed <= columns:
            self._connection.close()
        if not columns:
            raise DynaError(f"{file} has no table `checkpoints`; is it the file of a LangGraph checkpointer?")
        if missing := sorted(needed - columns):
            raise DynaError(f"{file}: its table `checkpoints` has no column {missing[0]!r}; {OTHER_VERSION}")
        self._has_metadata = "metadata" in columns

    def threads(self) -> list[tuple[str, str]]:
        """Return every thread with its namespace, outer namespaces first."""
        question = "SELECT DISTINCT thread_id, checkpoint_ns FROM checkpoints"
        try:
            return sorted((str(t), str(n)) for t, n in self._connection.execute(question))
        except sqlite3.Error as error:
            raise DynaError(f"{self.file} cannot be read: {error}") from error

    def rows(self, thread: str, namespace: str, channels: Sequence[str]) -> Iterator[CheckpointRow]:
        """Yield the checkpoints of a thread, oldest first; one that the file has lost ends them with a problem."""
        del channels  # a row holds the values of all channels
        columns = "checkpoint_id, parent_checkpoint_id, type, checkpoint"
        columns += ", metadata" if self._has_metadata else ", NULL"
        question = f"SELECT {columns} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY checkpoint_id"
        try:
            for id, parent, kind, blob, metadata in self._connection.execute(question, (thread, namespace)):
                checkpoint, problem = self._read(kind, blob)
                yield CheckpointRow(str(id), parent, checkpoint, _source(metadata), problem)
        except sqlite3.Error as error:
            yield CheckpointRow("", None, None, problem=f"the file is damaged here: {error}")

    def _read(self, kind: Any, blob: Any) -> tuple[Mapping[str, Any] | None, str]:
        try:
            value = self._serializer.loads_typed((kind, blob))
        except Exception as error:  # whatever a damaged or foreign row makes the deserialiser raise
            return None, _unreadable(kind, error)
        if not isinstance(value, dict) or not isinstance(value.get("channel_values"), dict):
            return None, f"no checkpoint but {type(value).__name__}"
        return value, ""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PostgresCheckpoints:
    """The tables of ``langgraph-checkpoint-postgres``, read in read-only transactions.

    Args:
        url: ``postgresql://user:password@host:port/database``.

    Raises:
        DynaError: The package psycopg is missing, the server cannot be reached, or it holds no checkpoints.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = f"postgres:{parts.hostname or 'local'}{parts.path}"
        self._serializer = _serializer()
        try:
            import psycopg
        except ImportError as error:
            raise DynaError(
                f"reading Postgres needs a package that is missing: {how_to_install('psycopg')}"
            ) from error
        self._error = psycopg.Error
        try:
            self._connection = psycopg.connect(url, autocommit=True)
            self._connection.read_only = True
            found = self._connection.execute(
                "SELECT to_regclass('checkpoints') IS NOT NULL AND to_regclass('checkpoint_blobs') IS NOT NULL"
            ).fetchone()
        except psycopg.Error as error:
            raise DynaError(f"{self.name} cannot be read: {str(error).strip()}") from error
        if found is None or not found[0]:
            self._connection.close()
            raise DynaError(
                f"{self.name} has no tables `checkpoints` and `checkpoint_blobs`; {OTHER_VERSION}"
            )

    def threads(self) -> list[tuple[str, str]]:
        """Return every thread with its namespace, outer namespaces first."""
        question = "SELECT DISTINCT thread_id, checkpoint_ns FROM checkpoints"
        try:
            return sorted((str(t), str(n)) for t, n in self._connection.execute(question).fetchall())
        except self._error as error:
            raise DynaError(f"{self.name} cannot be read: {str(error).strip()}") from error

    def rows(self, thread: str, namespace: str, channels: Sequence[str]) -> Iterator[CheckpointRow]:
        """Yield the checkpoints of a thread, oldest first, with the values of these channels."""
        place = (thread, namespace)
        blobs = self._connection.execute(
            "SELECT channel, version, type, blob FROM checkpoint_blobs "
            "WHERE thread_id = %s AND checkpoint_ns = %s AND channel = ANY(%s)",
            (*place, list(channels)),
        ).fetchall()
        values = {(channel, version): (kind, blob) for channel, version, kind, blob in blobs}
        found = self._connection.execute(
            "SELECT checkpoint_id, parent_checkpoint_id, checkpoint, metadata FROM checkpoints "
            "WHERE thread_id = %s AND checkpoint_ns = %s ORDER BY checkpoint_id",
            place,
        ).fetchall()
        for id, parent, checkpoint, metadata in found:
            value, problem = self._with_values(checkpoint, channels, values)
            yield CheckpointRow(str(id), parent, value, _source(metadata), problem)

    def _with_values(
        self, checkpoint: Any, channels: Sequence[str], values: Mapping[tuple[str, str], tuple[str, Any]]
    ) -> tuple[Mapping[str, Any] | None, str]:
        if not isinstance(checkpoint, dict):
            return None, f"no checkpoint but {type(checkpoint).__name__}"
        found = dict(checkpoint.get("channel_values") or {})
        for channel in channels:
            version = str((checkpoint.get("channel_versions") or {}).get(channel))
            kind, blob = values.get((channel, version), ("empty", None))
            if kind == "empty" or blob is None:
                continue
            try:
                found[channel] = self._serializer.loads_typed((kind, blob))
            except Exception as error:  # whatever a damaged or foreign row makes the deserialiser raise
                return None, _unreadable(kind, error)
        return {**checkpoint, "channel_values": found}, ""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serializer() -> Any:
    """Return a deserialiser that makes messages and plain values, and calls nothing else that a row names."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer(allowed_msgpack_modules=None, pickle_fallback=False)


def _source(metadata: Any) -> str:
    """Return what made a checkpoint, by its metadata; they are JSON, or a dictionary already."""
    if isinstance(metadata, bytes | str):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            return ""
    return str(metadata.get("source") or "") if isinstance(metadata, dict) else ""


def _unreadable(kind: Any, error: Exception) -> str:
    if "+" in str(kind):
        return f"encrypted ({kind}); harvest where the key is, from a decrypted copy"
    return f"cannot be decoded as {kind}: {type(error).__name__}: {error}"[:300]
