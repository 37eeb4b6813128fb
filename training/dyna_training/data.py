"""Recorded trajectories on disk, as training reads them: files of lines, logs, and Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from dyna_nodes.experience import (
    Problem,
    grouped,
    is_segment,
    read_segment,
    read_trajectory_file,
    trajectory_line,
)
from dyna_nodes.experience.lines import dump, read_lines
from dyna_nodes.nouns import Trajectory, Transition

SUFFIXES: Final = (".jsonl", ".parquet")
Record = Trajectory | Transition
"""What a file holds: whole episodes, or the single steps of a log."""
Rows = Literal["trajectory", "transition"]
"""What a row of a Parquet file is."""


def trajectory_files(paths: Iterable[Path]) -> list[Path]:
    """Return the trajectory files named by files and folders, sorted.

    Hidden ones in a folder are left out: they are still being written.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no ``*.jsonl`` and no ``*.parquet``.
    """
    files: list[Path] = []
    for path in paths:
        found = _in_folder(path) if path.is_dir() else [path] * path.is_file()
        if not found:
            raise FileNotFoundError(
                f"{path}: no trajectories there; `dyna collect --out {path}` records some"
            )
        files += found
    return files


def _in_folder(folder: Path) -> list[Path]:
    inside = (p.relative_to(folder) for suffix in SUFFIXES for p in folder.rglob(f"*{suffix}"))
    shown = (folder / p for p in inside if not any(part.startswith(".") for part in p.parts))
    return sorted(path for path in shown if path.is_file())


def read_records(file: Path, problems: list[Problem] | None = None) -> Iterator[Record]:
    """Yield everything that a file holds, in its order; an id may come more than once.

    Args:
        file: Lines of trajectories, a segment of a log, or Parquet.
        problems: Takes damaged and half-written lines and empty files; lines are logged as warnings when None.

    Raises:
        StoreError: A Parquet file is damaged, or of another version.
        ExperienceError: A file cannot be read.
    """
    if problems is not None and not file.stat().st_size:
        problems.append(Problem(file, 0, "the file is empty", b""))
    elif file.suffix == ".parquet":
        from dyna_training.store.parquet import read_parquet

        yield from read_parquet(file)
    elif is_segment(file):
        yield from read_segment(file, problems)
    else:
        yield from read_trajectory_file(file, problems)


def count_records(file: Path) -> int:
    """Return the number of records in a file without building any; damaged ones count.

    Raises:
        StoreError: A Parquet file is damaged, or of another version.
    """
    if file.suffix == ".parquet":
        from dyna_training.store.parquet import read_about

        return read_about(file).records
    return sum(1 for _ in read_lines(file))


def as_trajectories(records: Iterable[Record]) -> Iterator[Trajectory]:
    """Yield the episodes among records, and then the single steps grouped into episodes, as a log groups them."""
    steps: dict[str, Transition] = {}
    for record in records:
        if isinstance(record, Trajectory):
            yield record
        else:
            steps.setdefault(record.id, record)
    yield from grouped(steps.values())


def read_trajectories(
    paths: Iterable[Path], problems: list[Problem] | None = None, *, imagined: bool = False
) -> Iterator[Trajectory]:
    """Read every trajectory once; a second record with the same id is dropped.

    Args:
        paths: Files, and folders of them.
        problems: Takes what `read_records` reports.
        imagined: Read also what was played inside a world model; it never happened, so that nothing may learn from
            it, or count it, unless it is asked for.
    """
    seen: set[str] = set()
    files = trajectory_files(paths)
    for trajectory in as_trajectories(record for file in files for record in read_records(file, problems)):
        if trajectory.id not in seen and (imagined or trajectory.provenance.source != "imagination"):
            seen.add(trajectory.id)
            yield trajectory


def line_of(record: Record) -> bytes:
    """Return the line of JSON that stands for a record in a file."""
    return trajectory_line(record) if isinstance(record, Trajectory) else dump(record)
