"""Checkpointers that outlive the process, for sync and async runs alike: one SQLite file, or a Postgres database.

LangGraph has one class for sync and another for async code; what these functions return serves both, async calls in a
thread.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from dyna_graph.errors import DynaError
from dyna_graph.plugins import how_to_install
from dyna_nodes.journal.servers import patience

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
    )
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.checkpoint.sqlite import SqliteSaver

SECONDS = 30.0
"""How long a run waits for a connection to Postgres."""


class _InThreads(BaseCheckpointSaver[str]):
    """Async methods that run the sync ones of the class beside it in a thread."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that ``config`` names."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield the checkpoints of a thread, newest first."""
        found = await asyncio.to_thread(
            lambda: [*self.list(config, filter=filter, before=before, limit=limit)]
        )
        for checkpoint in found:
            yield checkpoint

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save what a task wrote."""
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints of a thread."""
        await asyncio.to_thread(self.delete_thread, thread_id)


def sqlite_checkpointer(file: str | os.PathLike[str]) -> SqliteSaver:
    """Return a checkpointer that keeps runs in one SQLite file.

    Args:
        file: The file; created, with its folder, when it does not exist.

    Raises:
        DynaError: The package is missing, or the file cannot be opened.
    """
    try:
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ImportError as error:
        raise _missing("SQLite", "langgraph-checkpoint-sqlite", error) from error

    class ThreadedSqliteSaver(_InThreads, SqliteSaver):
        """`SqliteSaver` for sync and async code."""

    path = Path(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        saver = ThreadedSqliteSaver(sqlite3.connect(path, check_same_thread=False))
        saver.setup()
    except (OSError, sqlite3.Error) as error:
        raise DynaError(f"cannot keep checkpoints in {path}: {error}") from error
    return saver


def postgres_checkpointer(url: str) -> PostgresSaver:
    """Return a checkpointer that keeps runs in a Postgres database, with a connection that heals.

    Args:
        url: ``postgresql://user:password@host:port/database``; the tables are made where they are missing.

    Raises:
        DynaError: A package is missing, or the database cannot be reached.
    """
    try:
        import psycopg
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import ConnectionPool, PoolTimeout
    except ImportError as error:
        raise _missing("Postgres", "langgraph-checkpoint-postgres", error) from error

    class ThreadedPostgresSaver(_InThreads, PostgresSaver):
        """`PostgresSaver` for sync and async code."""

    pool: Any = None
    try:
        waits = patience(url)
    except ValueError as error:
        raise DynaError(f"cannot keep checkpoints in Postgres: {error}") from error
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row, **waits}
    try:
        psycopg.connect(url, **waits).close()  # a pool would try for half a minute to say the same
        pool = ConnectionPool(
            url,
            min_size=1,
            max_size=8,
            kwargs=kwargs,
            timeout=SECONDS,
            check=ConnectionPool.check_connection,
            open=True,
        )
        saver = ThreadedPostgresSaver(pool)
        saver.setup()
    except (psycopg.Error, PoolTimeout) as error:
        if pool is not None:
            pool.close()
        raise DynaError(f"cannot keep checkpoints in Postgres: {error}") from error
    return saver


def _missing(what: str, package: str, error: ImportError) -> DynaError:
    return DynaError(
        f"the checkpointer in {what} needs a package that is missing: {how_to_install(package)} ({error})"
    )
