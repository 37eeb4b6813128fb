"""What a command reads: every record once, with a report of everything that is none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dyna_nodes.experience import Problem
from dyna_nodes.nouns import Trajectory
from dyna_training.data import Record, as_trajectories, line_of, read_records, trajectory_files
from dyna_training.store.problems import StoreError
from dyna_training.store.versions import newer


class Source:
    """Files of experience: lines, logs, Parquet, and folders of them.

    Args:
        paths: Files and folders.

    Attributes:
        files: The files.
        problems: What the last reading could not read; damaged and half-written lines, ids that stand for two
            things.
        repeated: How many records the last reading left out because the same record had been read before.

    Raises:
        StoreError: A path does not exist, or a folder holds none.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        try:
            self.files = list(dict.fromkeys(trajectory_files(paths)))
        except FileNotFoundError as error:
            raise StoreError(str(error)) from error
        self.problems: list[Problem] = []
        self.repeated = 0

    def records(self) -> Iterator[Record]:
        """Yield every record once.

        Raises:
            StoreError: There is none, a file is damaged as a whole, or a newer version wrote a record.
        """
        self.problems, self.repeated = [], 0
        seen: dict[tuple[bool, str], bytes] = {}
        for file in self.files:
            for record in self._read(file):
                key = (isinstance(record, Trajectory), record.id)
                content = hashlib.blake2b(line_of(record), digest_size=16).digest()
                if key not in seen:
                    seen[key] = content
                    yield record
                elif seen[key] == content:
                    self.repeated += 1
                else:
                    reason = f"id {record.id} stands for something else before; this record is left out"
                    self.problems.append(Problem(file, 0, reason, b""))
        if not seen:
            names = ", ".join(str(file) for file in self.files[:3])
            why = f"; the first problem: {self.problems[0]}" if self.problems else ""
            raise StoreError(f"there is no episode in {names}{why}")

    def _read(self, file: Path) -> Iterator[Record]:
        before = len(self.problems)
        try:
            yield from read_records(file, self.problems)
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror or error}") from error
        for problem in self.problems[before:]:
            found = newer(problem.raw)
            if found is not None:
                raise StoreError(
                    f"{problem.file}:{problem.line}: {found} was written by a newer version of dyna-graph; update it"
                )

    def trajectories(self) -> Iterator[Trajectory]:
        """Yield every episode once; the single steps of logs last, grouped into episodes."""
        yield from as_trajectories(self.records())

    def described(self) -> list[dict[str, Any]]:
        """Return name, size and SHA-256 of each file, for the record of what something was made of."""
        found = []
        for path in self.files:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append({"file": str(path), "bytes": path.stat().st_size, "sha256": digest})
        return found
