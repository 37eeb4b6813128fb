"""The table of intents, in the words that SQLite and Postgres share."""

from __future__ import annotations

TABLE = "dyna_intents"
COLUMNS = "thread, ns, call_id, attempt, tool, arguments, digest, status, detail, result, observed, started"


def schema(key: str, real: str) -> str:
    """Return the statements that make the table where there is none.

    Args:
        key: Type of a key that counts up.
        real: Type of a floating-point number of eight bytes.
    """
    return f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    seq {key},
    thread TEXT NOT NULL, ns TEXT NOT NULL, call_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    tool TEXT NOT NULL, arguments TEXT NOT NULL, digest TEXT NOT NULL,
    status TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '', result TEXT,
    observed INTEGER NOT NULL DEFAULT 0, started {real} NOT NULL, ended {real},
    UNIQUE (thread, ns, call_id, attempt)
);
CREATE INDEX IF NOT EXISTS {TABLE}_open ON {TABLE} (thread, ns) WHERE status IN ('started', 'unknown');
"""
