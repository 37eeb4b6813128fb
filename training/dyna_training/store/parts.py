"""A folder of Parquet files, begun anew when one has grown large."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyna_training.data import Record, Rows
from dyna_training.store.folder import PART_BYTES
from dyna_training.store.parquet import ParquetWriter


class PartsWriter:
    """Writes records to ``part-00000.parquet`` and so on.

    Args:
        folder: The folder.
        rows: What a row is.
        about: What every file says of how it was made.
    """

    def __init__(self, folder: Path, rows: Rows, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._rows: Rows = rows
        self._about = about
        self._number = 0
        self._writer = self._next()

    def append(self, record: Record) -> None:
        """Append a record."""
        if self._writer.bytes >= PART_BYTES:
            self._writer.close()
            self._writer = self._next()
        self._writer.append(record)

    def close(self) -> None:
        """Finish the last file."""
        self._writer.close()

    def _next(self) -> ParquetWriter:
        path = self._folder / f"part-{self._number:05}.parquet"
        self._number += 1
        return ParquetWriter(path, self._rows, self._about)
