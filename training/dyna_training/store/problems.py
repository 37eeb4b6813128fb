"""The error of the experience store."""

from __future__ import annotations


class StoreError(RuntimeError):
    """Experience cannot be read, written or divided; the message says which file, why, and what to do."""
