"""A checkpointer in one SQLite file, for sync and async runs alike."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_graph.errors import DynaError
from dyna_graph.plugins import how_to_install

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
    )
    from langgraph.checkpoint.sqlite import SqliteSaver


def sqlite_checkpointer(file: str | os.PathLike[str]) -> SqliteSaver:
    """Return a checkpointer that keeps runs in one SQLite file.

    LangGraph has one class for sync and another for async code; what this returns serves both, async calls in
    a thread.

    Args:
        file: The file; created, with its folder, when it does not exist.

    Raises:
        DynaError: The package is missing, or the file cannot be opened.
    """
    try:
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ImportError as error:
        command = how_to_install("langgraph-checkpoint-sqlite")
        raise DynaError(f"the checkpointer in SQLite needs a package that is missing: {command}") from error

    class ThreadedSqliteSaver(SqliteSaver):
        """`SqliteSaver` whose async methods run the sync ones in a thread."""

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

    path = Path(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        saver = ThreadedSqliteSaver(sqlite3.connect(path, check_same_thread=False))
        saver.setup()
    except (OSError, sqlite3.Error) as error:
        raise DynaError(f"cannot keep checkpoints in {path}: {error}") from error
    return saver
