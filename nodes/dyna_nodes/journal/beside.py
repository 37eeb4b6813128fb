"""The journal that lies beside a checkpointer, the same one every time.

==========================  ======================================================================================
checkpointer                journal
==========================  ======================================================================================
an SQLite file              a file with ``-intents`` added to its name
a Postgres database         a table in the same database
in memory                   in memory: neither outlives the process
anything else               nobody knows; the user says
==========================  ======================================================================================
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from langgraph.checkpoint.memory import InMemorySaver

from dyna_nodes.journal.files import MEMORY
from dyna_nodes.journal.journal import IntentJournal

_FILES = "PRAGMA database_list"
_BESIDE: WeakKeyDictionary[Any, IntentJournal] = WeakKeyDictionary()
_BESIDE_LOCK = threading.Lock()


def has_place_beside(checkpointer: Any) -> bool:
    """Tell whether `journal_beside` knows where the journal of a checkpointer belongs."""
    connection: Any = getattr(checkpointer, "conn", None)
    if (
        _package(connection) == "psycopg_pool"
    ):  # addresses that are made anew for each connection are its own affair
        return not callable(connection.conninfo) and not callable(connection.kwargs)
    return (
        isinstance(checkpointer, InMemorySaver)
        or isinstance(connection, sqlite3.Connection)
        or _package(connection) in ("aiosqlite", "psycopg")
    )


def journal_beside(checkpointer: Any) -> IntentJournal:
    """Return the journal that lies beside a checkpointer.

    Raises:
        JournalError: It cannot be opened.
    """
    with _BESIDE_LOCK:
        if checkpointer not in _BESIDE:
            connection = getattr(checkpointer, "conn", None)
            if isinstance(connection, sqlite3.Connection):
                place = _path_beside(connection.execute(_FILES).fetchall())
            else:
                place = _url_of(connection) or MEMORY
            _BESIDE[checkpointer] = IntentJournal(place)
        return _BESIDE[checkpointer]


async def ajournal_beside(checkpointer: Any) -> IntentJournal:
    """Return the journal that lies beside a checkpointer, without blocking the event loop."""
    connection = getattr(checkpointer, "conn", None)
    if connection is None or checkpointer in _BESIDE or _package(connection) != "aiosqlite":
        return await asyncio.to_thread(journal_beside, checkpointer)
    async with connection.execute(_FILES) as cursor:
        path = _path_beside(await cursor.fetchall())
    journal = await asyncio.to_thread(IntentJournal, path)
    with _BESIDE_LOCK:
        return _BESIDE.setdefault(checkpointer, journal)


def _package(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0]


def _path_beside(files: Iterable[Any]) -> str:
    file = next((row[2] for row in files if row[1] == "main"), "")
    return f"{file}-intents" if file else MEMORY


def _url_of(connection: Any) -> str | None:
    """Return where a connection to Postgres, or a pool of them, leads; None for anything else."""
    package = _package(connection)
    if package not in ("psycopg", "psycopg_pool"):
        return None
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    if package == "psycopg":
        return make_conninfo(connection.info.dsn, password=connection.info.password or None)
    of_libpq = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    own = {k: v for k, v in (connection.kwargs or {}).items() if k in of_libpq}
    return make_conninfo(connection.conninfo, **own)
