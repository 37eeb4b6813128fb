"""Commands as processes of their own, for tests that interrupt or kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress


def end(processes: list[subprocess.Popen[str]]) -> None:
    """Kill what is still running, with everything that it has started."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Wait until something holds; the process must not end before."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
