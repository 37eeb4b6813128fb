"""The experience log: every transition an agent lived through, never lost and never mixed up.

A folder of segments, each written by one writer alone (created with ``O_EXCL`` and held under an exclusive
lock), so any number of processes may share a folder. A segment is a header line and then one transition per
line.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import BuiltinFunctionType, TracebackType
from typing import Literal, Self

from pydantic import Field, ValidationError

from dyna_nodes.experience.lines import (
    LineWriter,
    Problem,
    another_format,
    dump,
    explain,
    format_of,
    is_being_written,
    load,
    read_lines,
    report,
)
from dyna_nodes.nouns import TRUNCATED, Noun, Trajectory, Transition
from dyna_nodes.scoring import solved

LOG_FORMAT = "dyna-experience/1"
Level = Literal["process", "power"]
Redact = Callable[[Transition], Transition | None]


class Retention(Noun):
    """What `ExperienceLog.prune` may delete: whole segments, oldest first, never one that is being written.

    Attributes:
        days: Delete segments whose last record is older than this many days.
        size: Delete the oldest segments until the folder holds at most this many bytes.
    """

    days: float | None = Field(default=None, gt=0)
    size: int | None = Field(default=None, gt=0)


class ExperienceLog:
    """An append-only log of transitions in a folder.

    Args:
        folder: Where the segments lie; created with the first record.
        level: ``process``: a record that was appended survives the death of the process; ``power``: it
            survives a power cut too (fsync, milliseconds per record).
        redact: Called with every transition before it is written; returns what may be written, or None to
            write nothing. When it raises, nothing is written and the error goes to the caller.
        retention: What to delete when this writer opens a segment; None keeps everything.
        segment_bytes: Begin a new segment when the present one has grown beyond this.

    Example:
        >>> with ExperienceLog("experience") as log:
        ...     log.append(transition)
        >>> for trajectory in ExperienceLog("experience").trajectories():
        ...     print(trajectory.task, trajectory.outcome)
    """

    def __init__(
        self,
        folder: str | Path,
        level: Level = "process",
        redact: Redact | None = None,
        retention: Retention | None = None,
        *,
        segment_bytes: int = 64 * 2**20,
    ) -> None:
        if level not in ("process", "power"):
            raise ValueError(f"unknown durability level {level!r}; choose 'process' or 'power'")
        self.folder = Path(folder)
        self.level = level
        self.redact = redact
        self.retention = retention
        self.segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._writer: LineWriter | None = None
        self._pid = os.getpid()
        self._handing_over = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def append(self, transition: Transition, *, level: Level | None = None) -> None:
        """Append one transition; when this returns, it is as safe as the level says.

        Args:
            transition: What happened.
            level: A level for this record alone.

        Raises:
            ExperienceError: It could not be written; nothing of it is in the log, and appending again is
                safe.
        """
        if self.redact is not None:
            redacted = self.redact(transition)
            if redacted is None:
                return
            transition = redacted
        line = dump(transition)
        self._forget_parent()
        with self._lock:
            self._segment().write(line, sync=(level or self.level) == "power")

    async def aappend(self, transition: Transition, *, level: Level | None = None) -> None:
        """Append one transition without holding up the event loop; the order of calls is kept.

        What may wait (the disk, a redaction hook, a new segment, an earlier record) is done in a thread, and
        cancelling the caller does not cancel it. The rest, a record of level ``process`` in an open segment, is
        one write into the kernel's cache: handing that over would hold up the loop for longer than doing it. Under
        a server that raises at every blocking call, as ``langgraph dev`` does, a thread does that, too.
        """
        self._forget_parent()
        if self._writes_at_once(level or self.level):
            self.append(transition, level=level)
            return
        with self._handing_over:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dyna-experience")
            self._last = self._thread.submit(self.append, transition, level=level)
            last = self._last
        await asyncio.shield(asyncio.wrap_future(last))

    def segments(self) -> list[Path]:
        """Return the segment files, oldest first."""
        return sorted(self.folder.glob("*.jsonl"))

    def read(self, problems: list[Problem] | None = None) -> Iterator[Transition]:
        """Yield every transition once, segment by segment in the order in which they were written.

        Args:
            problems: Takes what could not be read: damaged lines, the last line that a killed writer left
                half written (its bytes stay in the file and in ``Problem.raw``), segments of another format.
                When None, problems are logged as warnings.
        """
        seen: set[str] = set()
        for path in self.segments():
            for transition in read_segment(path, problems):
                if transition.id not in seen:
                    seen.add(transition.id)
                    yield transition

    def trajectories(self, problems: list[Problem] | None = None) -> Iterator[Trajectory]:
        """Yield the transitions grouped into trajectories, in the order in which those began.

        The whole log is read before the first one is yielded, because a trajectory that was interrupted
        continues in another segment. The outcome is that of the last transition: ``unknown`` without an end
        flag.
        """
        yield from grouped(self.read(problems))

    def prune(self) -> list[Path]:
        """Delete what the retention setting says; return the deleted segments."""
        if self.retention is None:
            return []
        done = [path for path in self.segments() if not is_being_written(path)]
        total = sum(path.stat().st_size for path in self.segments())
        oldest = time.time() - (self.retention.days or 0) * 86400
        deleted: list[Path] = []
        for path in done:
            status = path.stat()
            if status.st_size == 0 and status.st_mtime > time.time() - 3600:
                continue  # perhaps just created, and its writer is about to lock it
            expired = self.retention.days is not None and status.st_mtime < oldest
            if expired or (self.retention.size is not None and total > self.retention.size):
                path.unlink(missing_ok=True)
                total -= status.st_size
                deleted.append(path)
        return deleted

    def close(self) -> None:
        """Close this writer's segment; records are safe without it, and appending again opens another."""
        self._forget_parent()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True)
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _writes_at_once(self, level: Level) -> bool:
        """Tell whether a record can be appended now without waiting for anything or anybody."""
        handed_over = self._last is not None and not self._last.done()
        if (
            level == "power"
            or self.redact is not None
            or _is_watched()
            or handed_over
            or not self._lock.acquire(blocking=False)
        ):
            return False
        try:
            writer = self._writer
            return writer is not None and not writer.broken and writer.size < self.segment_bytes
        finally:
            self._lock.release()

    def _segment(self) -> LineWriter:
        if self._writer is not None and (self._writer.broken or self._writer.size >= self.segment_bytes):
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer = self._open()
        return self._writer

    def _open(self) -> LineWriter:
        self.prune()
        # Nanoseconds first, so that names sort by time; pid and UUID make a name unique across threads and
        # machines.
        name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex}.jsonl"
        writer = LineWriter(self.folder / name, new=True, sync=self.level == "power")
        header = {
            "format": LOG_FORMAT,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "time": time.time(),
        }
        try:
            writer.write(json.dumps(header, sort_keys=True).encode())
        except BaseException:
            writer.close()
            writer.path.unlink(missing_ok=True)
            raise
        return writer

    def _forget_parent(self) -> None:
        """After a fork, leave the parent's segment, lock and thread alone: each process writes its own."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock, self._handing_over = threading.Lock(), threading.Lock()
            self._thread = self._last = None
            if self._writer is not None:
                self._writer.close()
                self._writer = None


def grouped(transitions: Iterable[Transition]) -> Iterator[Trajectory]:
    """Yield transitions as trajectories; see `ExperienceLog.trajectories`."""
    groups: dict[str, list[Transition]] = {}
    for transition in transitions:
        groups.setdefault(transition.trajectory or transition.id, []).append(transition)
    for name, group in groups.items():
        yield _trajectory(name, sorted(group, key=lambda t: (t.index, t.time)))


def is_segment(path: Path) -> bool:
    """Tell whether a file begins as a segment of a log does, of whatever version.

    Raises:
        OSError: The file cannot be read.
    """
    line = next(read_lines(path), None)
    return line is not None and (format_of(line.raw) or "").startswith(f"{LOG_FORMAT.partition('/')[0]}/")


def read_segment(path: Path, problems: list[Problem] | None = None) -> Iterator[Transition]:
    """Yield the transitions of one segment; see `ExperienceLog.read`."""
    headed = False
    for line in read_lines(path):
        if not headed:
            headed = True
            found = format_of(line.raw)
            if found == LOG_FORMAT:
                continue
            if found is not None:
                report(Problem(path, line.number, another_format(found, LOG_FORMAT), line.raw), problems)
                return
            report(
                Problem(path, line.number, f"no header line with format {LOG_FORMAT!r}", line.raw), problems
            )
        try:
            yield load(Transition, line.raw)
        except ValidationError as error:
            if line.whole:
                report(Problem(path, line.number, f"not a transition: {explain(error)}", line.raw), problems)
            elif not is_being_written(path):
                reason = "the last line is incomplete: its writer was killed while writing it"
                report(Problem(path, line.number, reason, line.raw), problems)


def _trajectory(name: str, transitions: list[Transition]) -> Trajectory:
    last = transitions[-1]
    outcome: Literal["success", "failure", "truncated", "unknown"] = "unknown"
    if last.done:
        cut_off = bool(last.labels.get(TRUNCATED))
        outcome = "truncated" if cut_off else "success" if solved(last.reward, True) else "failure"
    first = transitions[0]
    return Trajectory(
        id=name, task=first.task, transitions=tuple(transitions), outcome=outcome, provenance=first.provenance
    )


def _is_watched() -> bool:
    """Tell whether somebody has wrapped `os.write` to find blocking calls on the event loop."""
    return not isinstance(os.write, BuiltinFunctionType)
