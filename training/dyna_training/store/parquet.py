"""Parquet files of episodes, or of their steps; each explains itself.

The columns are those of `dyna_training.store.rows`. The metadata of a file, under the key ``dyna``, name format and
version, what a row is, the number of records, a digest of them, what they were made of, and the versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from dyna_nodes.experience.lines import explain
from dyna_nodes.nouns import TRAJECTORY_FORMAT
from dyna_training.data import Record, Rows, line_of
from dyna_training.store.arrow import pa, pq
from dyna_training.store.columns import unknown_field
from dyna_training.store.problems import StoreError
from dyna_training.store.rows import SCHEMAS, Row, batch_of, episode_of, rows_of, steps_of

FORMAT: Final = "dyna-parquet/1"
KEY: Final = b"dyna"
BATCH: Final = 4 * 2**20
"""Bytes of JSON after which rows are handed to the file; a reader needs a few times as much memory."""


_BATCH_ROWS: Final = 64
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)
_RESTORE: Final = "restore it, make it once more of what it was made of, or leave it out"


class About(NamedTuple):
    """What a file says of itself.

    Attributes:
        rows: What a row is.
        records: How many episodes, or steps of a log, it holds.
        digest: SHA-256 over the JSON lines of its records, in their order.
    """

    rows: Rows
    records: int
    digest: str


class ParquetWriter:
    """Writes records to one file.

    Args:
        path: The file.
        rows: What a row is; a single step is a row of its own wherever rows are steps, and is refused elsewhere.
        about: What the metadata say besides: source, command, versions.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, path: Path, rows: Rows, about: Mapping[str, Any]) -> None:
        self.rows: Rows = rows
        self.records = 0
        self.bytes = 0
        self._about = about
        self._digest = hashlib.sha256()
        self._pending: list[Row] = []
        self._pending_bytes = 0
        self._writer = pq.ParquetWriter(path, SCHEMAS[rows], compression="zstd", write_page_checksum=True)

    def append(self, record: Record) -> None:
        """Append an episode or a step of a log.

        Raises:
            OSError: The file cannot be written.
            StoreError: A single step for a file of whole episodes.
        """
        line = line_of(record)
        self._digest.update(line + b"\n")
        self._pending += rows_of(record, self.rows)
        self._pending_bytes += len(line)
        self.bytes += len(line)
        self.records += 1
        if self._pending_bytes >= BATCH:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the metadata.

        Raises:
            OSError: The file cannot be written.
        """
        try:
            self._flush()
            about = {
                "format": FORMAT,
                "rows": self.rows,
                "nouns": TRAJECTORY_FORMAT,
                "records": self.records,
                "digest": self._digest.hexdigest(),
                **self._about,
            }
            self._writer.add_key_value_metadata({KEY: json.dumps(about).encode()})
            self._writer.close()
        finally:
            self._writer.is_open = False  # or one whose disk is full would try once more when it is collected

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_batch(batch_of(self._pending, SCHEMAS[self.rows]))
            self._pending, self._pending_bytes = [], 0


def read_about(path: Path) -> About:
    """Return what a file says of itself.

    Raises:
        StoreError: It is no such file, is damaged, or a newer version wrote it.
    """
    return _opened(path)[1]


def read_parquet(path: Path) -> Iterator[Record]:
    """Yield the records of a file in order, a few at a time.

    Raises:
        StoreError: It is no such file, is damaged, or a newer version wrote it.
    """
    file, about = _opened(path)
    try:
        with file:
            rows = (row for batch in file.iter_batches(_BATCH_ROWS) for row in batch.to_pylist())
            yield from map(episode_of, rows) if about.rows == "trajectory" else steps_of(rows)
    except _DAMAGE as error:
        raise StoreError(f"{path} is damaged ({_first(error)}); {_RESTORE}") from error


def _opened(path: Path) -> tuple[pq.ParquetFile, About]:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except _DAMAGE as error:
        raise StoreError(f"{path} cannot be read as Parquet ({_first(error)}); {_RESTORE}") from error
    try:
        about = json.loads((file.metadata.metadata or {})[KEY])
        found = About(about["rows"], about["records"], about["digest"])
        same = (about["format"], about["nouns"]) == (FORMAT, TRAJECTORY_FORMAT)
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(
            f"{path} is Parquet, but holds no episodes that dyna-graph wrote; `dyna data import` reads other formats"
        ) from error
    unknown = None
    if found.rows in SCHEMAS:
        unknown = unknown_field(pa.struct(list(file.schema_arrow)), pa.struct(list(SCHEMAS[found.rows])), "")
    if not same or found.rows not in SCHEMAS or unknown:
        what = (
            f"its column {unknown!r} is unknown here" if unknown else f"{about['format']}, {about['nouns']}"
        )
        raise StoreError(
            f"{path} was written by another version of dyna-graph ({what}); this one reads {FORMAT} with "
            f"{TRAJECTORY_FORMAT}: update dyna-graph"
        )
    return file, found


def _first(error: Exception) -> str:
    return explain(error) if isinstance(error, ValidationError) else str(error).partition("\n")[0]
