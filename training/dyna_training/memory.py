"""How much memory a process holds, with the engines that it has started."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


def memory_held() -> int:
    """Return the bytes that this process and all its descendants hold in memory.

    Where there is no ``/proc``, it is the most that this process alone ever held.
    """
    try:
        return sum(map(_resident, _family(os.getpid())))
    except OSError:
        return _most()


def _family(pid: int) -> list[int]:
    """Return a process and its descendants; those that end meanwhile may be missing."""
    found = [pid]
    for parent in found:
        for children in (PROC / str(parent) / "task").glob("*/children"):
            try:
                found += map(int, children.read_bytes().split())
            except OSError:
                if parent == pid:
                    raise
    return found


def _resident(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        if pid == os.getpid():
            raise
        return 0


def _most() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
