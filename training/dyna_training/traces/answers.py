"""What a model has answered so far, on disk: after an interruption nothing is asked, or paid, a second time."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from dyna_nodes.experience.lines import LineWriter, read_lines


class Answers:
    """Answers by key, in a file that a killed process leaves readable; a context opens and closes it.

    Args:
        path: The file; created if need be, and removed when the context ends without an error. None remembers in
            memory alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.known: dict[str, str] = {}
        self._writer: LineWriter | None = None

    def __enter__(self) -> Self:
        """Open the file and read what is in it.

        Raises:
            ExperienceError: It cannot be opened, or another process is writing it.
        """
        if self.path is not None:
            self._writer = LineWriter(self.path, new=False, sync=False)
            for line in read_lines(self.path):
                if line.whole:
                    key, text = json.loads(line.raw)
                    self.known[key] = text
                else:
                    self._writer.cut(self._writer.size - len(line.raw))
        return self

    def put(self, key: str, text: str) -> None:
        """Remember an answer.

        Raises:
            ExperienceError: It cannot be written.
        """
        self.known[key] = text
        if self._writer is not None:
            self._writer.write(json.dumps([key, text]).encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; after an error it stays."""
        if self._writer is not None and self.path is not None:
            self._writer.close()
            if kind is None:
                self.path.unlink(missing_ok=True)
