"""Folders that one process at a time works in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dyna_nodes.experience.lines import lock


class Held(RuntimeError):
    """Somebody else holds a lock.

    Attributes:
        by: The number of the process.
    """

    def __init__(self, by: str) -> None:
        super().__init__(f"held by process {by}")
        self.by = by


@contextmanager
def held(file: Path, *, wait: bool) -> Iterator[IO[str]]:
    """Hold a file's lock; whoever inherits the file holds it, too.

    Raises:
        Held: Somebody else holds it, and ``wait`` is False.
    """
    with file.open("a+") as handle:
        if not lock(handle.fileno(), wait=wait):
            handle.seek(0)
            raise Held(handle.read().strip())
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield handle
