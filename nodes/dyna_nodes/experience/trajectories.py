"""Files of trajectories: one per line, each carrying its format, so that every line explains itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from dyna_nodes.experience.lines import (
    ExperienceError,
    LineWriter,
    Problem,
    another_format,
    dump,
    explain,
    format_of,
    load,
    read_lines,
    report,
)
from dyna_nodes.nouns import TRAJECTORY_FORMAT, Trajectory


class TrajectoryWriter:
    """Appends trajectories to one file; a run that was killed is continued by opening its file again.

    A last line that the killed run left half written is moved to ``<file>.truncated`` and reported, so that
    nothing is glued to it.

    Args:
        path: The file, usually ``*.jsonl``; created if need be.
        sync: Force every trajectory to the disk before `append` returns.
        problems: Takes the report of a half-written last line; logged as a warning when None.

    Raises:
        ExperienceError: The file cannot be opened, or another process is writing it.
    """

    def __init__(
        self, path: str | Path, *, sync: bool = False, problems: list[Problem] | None = None
    ) -> None:
        self.path = Path(path)
        self._writer = LineWriter(self.path, new=False, sync=sync)
        try:
            self._set_aside_tail(problems)
        except BaseException:
            self._writer.close()
            raise

    def append(self, trajectory: Trajectory) -> None:
        """Append one trajectory; when this returns, it survives the death of the process.

        Raises:
            ExperienceError: It could not be written; the file then ends with the trajectory before it.
        """
        self.append_line(trajectory_line(trajectory))

    def append_line(self, line: bytes) -> None:
        """Append what `trajectory_line` made, for example in another process; see `append`."""
        self._writer.write(line)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_aside_tail(self, problems: list[Problem] | None) -> None:
        tail = None
        for line in read_lines(self.path):
            tail = line
        if tail is None or tail.whole:
            return
        aside = self.path.with_name(f"{self.path.name}.truncated")
        with contextlib.closing(LineWriter(aside, new=False, sync=True)) as keep:
            keep.write(tail.raw)
        self._writer.cut(self._writer.size - len(tail.raw))
        reason = f"the last line was incomplete (its writer was killed) and now lies in {aside.name}"
        report(Problem(self.path, tail.number, reason, tail.raw), problems)


def trajectory_line(trajectory: Trajectory) -> bytes:
    """Return the line of JSON that stands for a trajectory in a file."""
    # The format is a default and would be left out, but each line has to name it.
    return b'{"format":"%b",' % TRAJECTORY_FORMAT.encode() + dump(trajectory)[1:]


def write_trajectory(path: str | Path, trajectory: Trajectory) -> None:
    """Append one trajectory to a file; see `TrajectoryWriter` for many."""
    with TrajectoryWriter(path) as writer:
        writer.append(trajectory)


def iter_trajectory_file(path: str | Path, problems: list[Problem] | None = None) -> Iterator[Trajectory]:
    """Yield the trajectories of a file in order; a second one with the same id is left out.

    Args:
        path: The file.
        problems: Takes damaged or half-written lines; logged as warnings when None.

    Raises:
        ExperienceError: The file cannot be read.
    """
    seen: set[str] = set()
    for trajectory in read_trajectory_file(path, problems):
        if trajectory.id not in seen:
            seen.add(trajectory.id)
            yield trajectory


def read_trajectory_file(path: str | Path, problems: list[Problem] | None = None) -> Iterator[Trajectory]:
    """Yield every trajectory of a file in order, also those whose id has been there; see `iter_trajectory_file`."""
    path = Path(path)
    try:
        for line in read_lines(path):
            try:
                trajectory = load(Trajectory, line.raw)
            except ValidationError as error:
                reason = _why_not(line.raw, error) if line.whole else "the last line is incomplete"
                report(Problem(path, line.number, reason, line.raw), problems)
                continue
            yield trajectory
    except OSError as error:
        raise ExperienceError(f"cannot read trajectories from {path}: {error.strerror}") from error


def _why_not(raw: bytes, error: ValidationError) -> str:
    found = format_of(raw)
    if found not in (None, TRAJECTORY_FORMAT):
        return another_format(str(found), TRAJECTORY_FORMAT)
    return f"not a trajectory: {explain(error)}"
