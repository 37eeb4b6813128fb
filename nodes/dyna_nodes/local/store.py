"""What has been computed once: keys and values of token sequences, for requests that begin the same way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor


class _Entry(NamedTuple):
    adapter: str | None
    ids: np.ndarray
    kv: Tensor


class PrefixStore:
    """The most recently used sequences, within a budget of bytes.

    An agent's next turn begins with its last one, and candidates, retries and sibling threads share
    instructions; so the longest common beginning with any stored sequence is reused.

    Args:
        budget: Bytes of keys and values that are kept.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._next = 0

    def match(self, adapter: str | None, ids: Sequence[int] | np.ndarray) -> tuple[int, Tensor | None]:
        """Return how many leading tokens are stored, and their ``[layers, 2, tokens, heads, size]``."""
        wanted = np.asarray(ids)
        best, found = 0, None
        for key, entry in self._entries.items():
            if entry.adapter == adapter and (common := common_prefix(wanted, entry.ids)) > best:
                best, found = common, key
        if found is None:
            return 0, None
        self._entries.move_to_end(found)
        return best, self._entries[found].kv[:, :, :best]

    def put(self, adapter: str | None, ids: Sequence[int], kv: Tensor) -> None:
        """Keep a copy of ``kv`` ``[layers, 2, tokens, heads, size]``, unless what is stored covers it."""
        new = np.asarray(ids)
        size = kv.numel() * kv.element_size()
        if size > self.budget:
            return
        for key, entry in list(self._entries.items()):
            if entry.adapter != adapter:
                continue
            common = common_prefix(new, entry.ids)
            if common == len(new):
                self._entries.move_to_end(key)
                return
            if common == len(entry.ids):
                self._drop(key)  # the new sequence goes on where this one ends
        while self.used + size > self.budget:
            self._drop(next(iter(self._entries)))
        self._entries[self._next] = _Entry(adapter, new, kv.clone())
        self._next += 1
        self.used += size

    def forget(self, adapter: str | None) -> None:
        """Drop what was computed with an adapter."""
        for key in [k for k, e in self._entries.items() if e.adapter == adapter]:
            self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self.used = 0

    def _drop(self, key: int) -> None:
        kv = self._entries.pop(key).kv
        self.used -= kv.numel() * kv.element_size()


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many leading elements two arrays share."""
    size = min(len(a), len(b))
    differs = a[:size] != b[:size]
    return int(differs.argmax()) if differs.any() else size
