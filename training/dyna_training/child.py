"""``dyna`` with given arguments in a process that is interrupted when the one that started it is gone.

Standard input is a pipe that the parent holds open and never writes to. When it ends, the parent was killed, and the
command gets what Ctrl-C would send: it keeps what it has, and nobody else finds it still at work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Final

GRACE: Final = 300.0
"""Seconds that an interrupted command gets to keep what it has."""


def watch(pipe: int) -> None:
    """Interrupt this process once a pipe ends; a command that does not heed it is ended after `GRACE`."""
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def main() -> None:
    """Run ``dyna`` with the arguments of this process."""
    # A parent that ignores Ctrl-C, as one in the background of a shell does, hands that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=watch, args=(pipe,), daemon=True).start()
    from dyna_training.together import run_one

    sys.argv[0] = "dyna"
    run_one()


if __name__ == "__main__":
    main()
