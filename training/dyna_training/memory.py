"""How much memory a process holds, with the engines that it has started."""

from __future__ import annotations

import os
import sys


def memory_held() -> int:
    """Return the bytes that this process and all its descendants hold in memory.

    Where there is no ``/proc``, it is the most that this process alone ever held.
    """
    if not os.path.exists(f"/proc/{os.getpid()}/statm"):
        return _most()
    family = [os.getpid()]
    for parent in family:
        family += _children(parent)
    return sum(map(_resident, family))


def _children(pid: int) -> list[int]:
    """Return the children of a process; none of one that has just ended."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _most() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
