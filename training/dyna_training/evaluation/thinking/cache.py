"""Answers in a JSONL file, by the digest of everything that they depend on."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


class LineCache:
    """Keeps JSON values by key, from any thread; what was put survives the death of the process.

    A line that a killed run left half written, or that something else made unreadable, is ignored and counted.

    Args:
        path: The file; None keeps everything in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.unreadable = 0
        if path is None or not path.is_file():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in filter(None, text.split("\n")):  # a value may hold what else ends lines, such as U+2028
            try:
                record = json.loads(line)
                self._known[record["key"]] = record["value"]
            except (ValueError, KeyError, TypeError):
                self.unreadable += 1
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def get(self, key: str) -> Any | None:
        """Return the value of a key; None where there is none."""
        return self._known.get(key)

    def put(self, key: str, value: Any, **about: str) -> None:
        """Keep a value; ``about`` stands beside it in the file, for people."""
        self._known[key] = value
        if self._path is None:
            return
        line = json.dumps({"key": key, **about, "value": value}, ensure_ascii=False) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
