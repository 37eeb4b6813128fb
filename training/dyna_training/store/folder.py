"""Folders that are there whole or not at all, and the files of episodes in them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from dyna_nodes.experience import ExperienceLog, TrajectoryWriter
from dyna_nodes.nouns import Trajectory, new_id
from dyna_training.data import Record, Rows, line_of
from dyna_training.store.problems import StoreError
from dyna_training.whole import write_whole

FORMAT: Final = "dyna-data/1"
MANIFEST: Final = "manifest.json"
LINES: Final = "trajectories.jsonl"
PART_BYTES: Final = 512 * 2**20
"""Bytes of JSON after which another Parquet file is begun."""
Form = Literal["jsonl", "parquet", "log"]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a hidden folder to write to, which takes the name ``out`` once everything is written.

    Raises:
        StoreError: There is something under that name already, or it cannot be written; nothing of it is there then.
    """
    _refuse_taken(out)
    partial = out.parent / f".{out.name}.{new_id()}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        _refuse_taken(out)
        os.replace(partial, out)
    except OSError as error:
        raise StoreError(
            f"cannot write {out}: {error.strerror or error}; nothing of it was kept, and what it is made of is as it "
            "was. Free space, or choose another --out"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_taken(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise StoreError(f"{out} is there already; choose another --out, or remove it")


class Output(Protocol):
    """Takes records, one after the other."""

    def append(self, record: Record) -> None:
        """Append a record."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class RecordWriter:
    """Writes records into a folder, and knows their number and digest.

    Args:
        folder: The folder; made if need be.
        form: As lines, as Parquet, or as a log.
        rows: What a row is, in Parquet.
        about: What Parquet files say of how they were made.

    Attributes:
        records: How many were written.
    """

    def __init__(
        self,
        folder: Path,
        form: Form,
        rows: Rows = "trajectory",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.records = 0
        self._digest = hashlib.sha256()
        folder.mkdir(parents=True, exist_ok=True)
        self._output: Output = _Lines(folder) if form == "jsonl" else _Log(folder)
        if form == "parquet":
            from dyna_training.store.parts import PartsWriter

            self._output = PartsWriter(folder, rows, about or {})

    def append(self, record: Record) -> None:
        """Append a record.

        Raises:
            StoreError: Files of this form cannot hold it.
            OSError: It cannot be written.
        """
        self._output.append(record)
        self._digest.update(line_of(record) + b"\n")
        self.records += 1

    @property
    def digest(self) -> str:
        """SHA-256 over the JSON lines of the records, in their order; the same in every form."""
        return self._digest.hexdigest()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._output.close()
            return
        with suppress(OSError):  # what went wrong is worth more than what is now thrown away
            self._output.close()


class _Lines:
    def __init__(self, folder: Path) -> None:
        self._writer = TrajectoryWriter(folder / LINES)

    def append(self, record: Record) -> None:
        if not isinstance(record, Trajectory):
            raise StoreError(f"step {record.id} belongs to no episode, and lines hold whole episodes")
        self._writer.append(record)

    def close(self) -> None:
        self._writer.close()


class _Log:
    def __init__(self, folder: Path) -> None:
        self._log = ExperienceLog(folder)

    def append(self, record: Record) -> None:
        if isinstance(record, Trajectory):
            raise StoreError(
                f"episode {record.id} cannot go into a log, which knows steps only and would lose its outcome, hidden "
                "state and provenance; --to jsonl keeps them"
            )
        self._log.append(record)

    def close(self) -> None:
        self._log.close()


def write_manifest(
    folder: Path,
    made: str,
    command: str,
    source: Sequence[Mapping[str, Any]],
    problems: Sequence[object],
    **more: Any,
) -> dict[str, Any]:
    """Write what a folder says of itself, and return it.

    Args:
        folder: The folder.
        made: Name of what was done.
        command: The command line.
        source: What it was made of; see `Source.described`.
        problems: What could not be read.
        more: What else there is to say.
    """
    manifest = {
        "format": FORMAT,
        "made": made,
        "command": command,
        **more,
        "source": list(source),
        "problems": [str(problem) for problem in problems],
        "versions": versions(),
    }
    # In ASCII: names of files and games may be no text that UTF-8 can hold.
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def versions() -> dict[str, str]:
    """Return the versions that belong into every record of how something was made."""
    return {"python": platform.python_version(), "dyna-graph": version("dyna-graph")}
