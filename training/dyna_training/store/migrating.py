"""Migrating files in place: whole, with a backup, and never one that somebody writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dyna_nodes.experience.lines import lock
from dyna_nodes.nouns import new_id
from dyna_training.data import trajectory_files
from dyna_training.store.migrations import migrated
from dyna_training.store.problems import StoreError


class Migrated(NamedTuple):
    """What became of a file.

    Attributes:
        file: The file.
        lines: How many lines were brought up; with 0 the file is as it was.
        backup: The file as it was before; None where nothing changed.
    """

    file: Path
    lines: int
    backup: Path | None


def migrate(paths: Iterable[Path]) -> list[Migrated]:
    """Bring every file of lines up to the present version; Parquet says of itself what it is.

    Raises:
        StoreError: A line cannot be brought up, a file is being written, or there is no room. The files before it
            are done and need not be repeated; it is as it was.
    """
    try:
        files = trajectory_files(paths)
    except FileNotFoundError as error:
        raise StoreError(str(error)) from error
    return [_migrate(file) for file in dict.fromkeys(files) if file.suffix != ".parquet"]


def _migrate(path: Path) -> Migrated:
    partial = path.with_name(f".{path.name}.{new_id()}.partial")
    try:
        with path.open("rb") as file:
            if not lock(file.fileno(), wait=False):
                raise StoreError(
                    f"{path} is being written by another process; wait for it, then migrate again"
                )
            changed = 0
            with partial.open("wb") as new:
                for number, raw in enumerate(file, start=1):
                    line = _line(path, number, raw)
                    changed += line != raw
                    new.write(line)
                new.flush()
                os.fsync(new.fileno())
            if not changed:
                return Migrated(path, 0, None)
            backup = _backup(path)
            shutil.copymode(path, partial)
            os.replace(partial, path)
            return Migrated(path, changed, backup)
    except OSError as error:
        raise StoreError(
            f"cannot migrate {path}: {error.strerror or error}; it is as it was. Free space, then migrate again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _line(path: Path, number: int, raw: bytes) -> bytes:
    body = raw.rstrip(b"\r\n")
    try:
        return migrated(body) + raw[len(body) :]
    except StoreError as error:
        raise StoreError(f"{path}:{number}: {error}. {path.name} is as it was") from error


def _backup(path: Path) -> Path:
    """Give the file, as it is, a second name that nothing has yet."""
    number = 1
    while True:
        backup = path.with_name(f"{path.name}.backup-{number}")
        try:
            os.link(path, backup)
            return backup
        except FileExistsError:
            number += 1
        except OSError:  # a file system without hard links
            shutil.copy2(path, backup)
            return backup
