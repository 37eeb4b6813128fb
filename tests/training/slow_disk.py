"""`dyna` on a disk that takes its time: a line is written in pieces, for kills in the middle of it; a script."""

from __future__ import annotations

import os
import time
from typing import Any

from dyna_graph.cli import main

PIECE = 4096
write = os.write


def slowly(fd: int, data: Any) -> int:
    if len(data) <= PIECE:
        return write(fd, data)
    time.sleep(0.001)
    return write(fd, data[: len(data) // 2])


if __name__ == "__main__":
    os.write = slowly  # type: ignore[assignment]
    main()
