"""Nouns as plain dicts in the state, and back."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

from dyna_nodes.nouns import Noun

N = TypeVar("N", bound=Noun)


class Shelf:
    """Writes nouns as plain dicts for the state, since checkpoints hold no classes of ours, and reads them
    back.

    What this process has written itself it does not parse again: the last few dicts are remembered with their
    nouns. Dicts out of a checkpoint are others, and parsed.
    """

    def __init__(self, size: int = 2048) -> None:
        self._known: dict[int, tuple[dict[str, Any], Noun]] = {}
        self._written: dict[int, tuple[dict[str, Any], Noun]] = {}
        self._size = size
        self._lock = threading.Lock()

    def write(self, noun: Noun) -> dict[str, Any]:
        """Return ``noun`` as a plain dict, default values left out."""
        known = self._written.get(id(noun))
        if known is not None and known[1] is noun:
            return known[0]
        written = noun.model_dump(mode="json", exclude_defaults=True, fallback=str)
        with self._lock:
            self._known[id(written)] = self._written[id(noun)] = (written, noun)
            for memory in (self._known, self._written):
                while len(memory) > self._size:
                    del memory[next(iter(memory))]
        return written

    def read(self, kind: type[N], written: dict[str, Any]) -> N:
        """Return the noun that was written as ``written``."""
        known = self._known.get(id(written))
        if known is not None and known[0] is written and isinstance(known[1], kind):
            return known[1]
        return kind.model_validate(written)
