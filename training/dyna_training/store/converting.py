"""From lines or a log to Parquet, and back; a record at a time, and exact."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dyna_training.data import Rows, line_of
from dyna_training.store.folder import Form, RecordWriter, new_folder, versions, write_manifest
from dyna_training.store.problems import StoreError
from dyna_training.store.source import Source


def convert(
    source: Source, out: Path, form: Form, rows: Rows = "trajectory", command: str = ""
) -> dict[str, Any]:
    """Write what was read in another form.

    Parquet is read once more before it gets its name, and every record compared with the one it was made of.

    Args:
        source: What to read.
        out: The folder.
        form: ``parquet``, ``jsonl`` or ``log``.
        rows: What a row is, in Parquet. The steps of a log stay single where rows are steps; elsewhere they become
            episodes, which takes memory for the whole log.
        command: The command line, for the record.

    Returns:
        The manifest.

    Raises:
        StoreError: See `Source.records`, `new_folder` and `RecordWriter.append`.
    """
    described = source.described()
    single = form == "log" or (form == "parquet" and rows == "transition")
    about = {"command": command, "source": described, "versions": versions()}
    with new_folder(out) as folder:
        with RecordWriter(folder, form, rows, about) as writer:
            for record in source.records() if single else source.trajectories():
                writer.append(record)
        if form == "parquet":
            _compare(folder, writer)
        return write_manifest(
            folder,
            "convert",
            command,
            described,
            source.problems,
            form=form,
            rows=rows if form == "parquet" else None,
            counts={"records": writer.records, "repeated": source.repeated},
            digest=writer.digest,
        )


def _compare(folder: Path, writer: RecordWriter) -> None:
    """Compare what was written with what it was made of."""
    found = hashlib.sha256()
    for record in Source([folder]).records():
        found.update(line_of(record) + b"\n")
    if found.hexdigest() != writer.digest:
        raise StoreError(
            "what was written does not read back as it was; nothing was kept. Please report this"
        )
