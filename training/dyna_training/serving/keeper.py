"""Runs a command until it ends, or until whoever started this is gone; leaves no process of it behind.

    python -m dyna_training.serving.keeper COMMAND…

Standard input is a pipe that nobody writes to. When it ends, its holder wants the command to stop, or has died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

GRACE: Final = 15.0
"""Seconds that the command gets to end by itself before it is killed."""


def main() -> int:
    """Run the command and return its exit code, 128 plus the signal where one ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever holds the pipe decides
    command = subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_default
    )
    threading.Thread(target=_stop_at_the_end, args=(command,), daemon=True).start()
    code = command.wait()
    with suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)  # its engine, where it did not end with it
    return code if code >= 0 else 128 - code


def _default() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _stop_at_the_end(command: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        pass
    command.terminate()
    try:
        command.wait(GRACE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
