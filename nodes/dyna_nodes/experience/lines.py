"""Files of one JSON document per line: appended whole or not at all, and read with every damage reported.

A line counts once its newline is in the file. What a killed process leaves behind is at most one line without
a newline, and no later line is ever glued to it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from dyna_nodes.nouns import Noun

if sys.platform != "win32":
    import fcntl

N = TypeVar("N", bound=Noun)
logger = logging.getLogger("dyna_nodes.experience")


class ExperienceError(OSError):
    """Experience could not be written or read; the message says which file and what to do."""


class Problem(NamedTuple):
    """Something in a file that is not a good record; nothing is deleted because of it.

    Attributes:
        file: The file.
        line: Line number, from 1.
        reason: What is wrong.
        raw: The bytes of the line, as they stand in the file.
    """

    file: Path
    line: int
    reason: str
    raw: bytes

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def report(problem: Problem, problems: list[Problem] | None) -> None:
    """Add a problem to the caller's list, or log it as a warning when the caller keeps none."""
    if problems is None:
        logger.warning("%s", problem)
    else:
        problems.append(problem)


class Line(NamedTuple):
    """One line of a file: number from 1, bytes without the newline, and whether the newline was there."""

    number: int
    raw: bytes
    whole: bool


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, empty ones left out."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            body = raw.rstrip(b"\r\n")
            if body:
                yield Line(number, body, raw.endswith(b"\n"))


def dump(record: Noun) -> bytes:
    """Write a noun as one line of JSON; fields that have their default value are left out."""
    try:
        line = record.model_dump_json(exclude_defaults=True, fallback=str)
        if "null" not in line:
            return line.encode()
    except PydanticSerializationError as error:
        if "JSON: KeyboardInterrupt" in str(
            error
        ):  # Ctrl-C while two nouns were compared; pydantic renames it
            raise KeyboardInterrupt from error
        # Else it holds lone surrogates, as file names that are not UTF-8 do; the json module writes them.
    # Pydantic also writes NaN as null, which no float field reads back; the json module keeps it.
    values = record.model_dump(exclude_defaults=True)
    return json.dumps(values, ensure_ascii=True, separators=(",", ":"), default=str).encode()


def load(kind: type[N], raw: bytes) -> N:
    """Read what `dump` wrote.

    Raises:
        ValidationError: The line is not such a noun.
    """
    try:
        return kind.model_validate_json(raw)
    except ValidationError:
        try:
            values = json.loads(raw)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise
        return kind.model_validate(values)


def explain(error: ValidationError) -> str:
    """Return the first thing that a validation error complains about, with its place."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def format_of(line: bytes) -> str | None:
    """Return the format that a line of JSON names; None where it names none."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    name = values.get("format") if isinstance(values, dict) else None
    return name if isinstance(name, str) else None


def another_format(found: str, known: str) -> str:
    """Return what to say of a record in another format than the one that is known."""
    return f"format {found!r}, not {known!r}; `dyna data migrate` brings up what is older, and says what is newer"


class LineWriter:
    """Appends lines to one file that nobody else writes.

    Args:
        path: The file.
        new: Create the file and refuse one that exists; False opens or creates.
        sync: Force every line to the disk before `write` returns.

    Raises:
        ExperienceError: The file cannot be opened, exists though it must not, another process is writing it, or
            has replaced it meanwhile.
    """

    def __init__(self, path: Path, *, new: bool, sync: bool) -> None:
        self.path = path
        self.sync = sync
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | (os.O_EXCL if new else 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise ExperienceError(f"cannot open {path} for writing: {error.strerror}") from error
        try:
            if not lock(self._fd, wait=new):
                raise ExperienceError(
                    f"{path} is being written by another process; give each writer its own file"
                )
            if not _names(path, self._fd):
                raise ExperienceError(f"{path} was replaced while it was being opened; open it again")
            if sync:
                _sync_folder(path.parent)
        except BaseException:
            os.close(self._fd)
            raise
        self.broken = False
        """True when a half-written line could not be taken back; nothing more may be appended."""

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._fd).st_size

    def write(self, line: bytes, *, sync: bool | None = None) -> None:
        """Append one line; when this returns, it is in the kernel, or on the disk with ``sync``.

        Raises:
            ExperienceError: It could not be written whole (disk full, quota); the file then ends as it did
                before.
            ValueError: The line contains a newline, or the file is `broken`.
        """
        if b"\n" in line or self.broken:
            raise ValueError(
                "a record must be one line" if not self.broken else f"{self.path} ends in a broken line"
            )
        start = self.size
        rest = memoryview(line + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            if self.sync if sync is None else sync:
                os.fsync(self._fd)
        except BaseException as error:
            try:
                os.ftruncate(self._fd, start)
            except OSError:
                self.broken = True
            if isinstance(error, OSError):
                raise ExperienceError(
                    f"cannot append to {self.path}: {error.strerror}; the record was not saved, the {start} "
                    "bytes before it are intact. Free space or choose another folder, then append again"
                ) from error
            raise

    def cut(self, size: int) -> None:
        """Shorten the file to ``size`` bytes."""
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        """Close the file and give up the lock; closing twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock(fd: int, *, wait: bool) -> bool:
    """Take the exclusive lock of an open file; held until the descriptor is closed or its process dies.

    Returns:
        False when somebody else holds it and ``wait`` is False.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _names(path: Path, fd: int) -> bool:
    """Tell whether a path is still that of an open file; what is appended to another one is read by nobody."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def is_being_written(path: Path) -> bool:
    """Tell whether a living writer holds the lock of the file."""
    if sys.platform == "win32":
        return False
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _sync_folder(folder: Path) -> None:
    """Force the folder's entry of a new file to the disk; without it, a power cut may lose the whole file."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
