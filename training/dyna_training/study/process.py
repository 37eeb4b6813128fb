"""Runs a stage's command in a process of its own, until it ends, the time is over or the run is being stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dyna_training.held import held
from dyna_training.study.progress import fraction
from dyna_training.study.stages import StageFolder

LOOK: Final = 5.0
"""Seconds between two looks at how far a running command is."""
TICK: Final = 0.1
"""Seconds after which a waiting thread sees that it must stop."""


class OutOfTime(Exception):
    """The time for this run is over; everything is kept."""


class Stopped(Exception):
    """The run is being stopped because of something else; everything is kept."""


class Halt:
    """How a run tells its commands, for each of which a thread waits, that they must stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = threading.Event()

    def ask(self) -> None:
        """Let every running command keep what it has, and end."""
        self._asked.set()

    def at_once(self) -> None:
        """Kill every running command."""
        self._at_once.set()

    def check(self) -> None:
        """Raise when commands must stop.

        Raises:
            Stopped: They must.
        """
        if self._asked.is_set():
            raise Stopped

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Let a process keep what it has, and wait for its end; kill it when there is no time for that."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        while process.poll() is None:
            if self._at_once.is_set():
                process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(TICK)
        if process.stdin is not None:
            process.stdin.close()


def run_command(
    command: list[str],
    folder: StageFolder,
    *,
    deadline: float | None,
    halt: Halt,
    threads: int | None,
    progress: Callable[[float | None, float | None], None],
) -> int:
    """Run a command of ``dyna`` to its end.

    Args:
        command: Its words, without ``dyna``.
        folder: The stage's folder, with the log.
        deadline: `time.monotonic` at which it must stop, with everything kept; None is never.
        halt: Tells when it must stop because of something else.
        threads: How many threads it may use; None leaves that to the command.
        progress: Told now and then which share is done and how many seconds are left, as far as that is known.

    Returns:
        The exit code; a signal is a negative one.

    Raises:
        OutOfTime: The deadline has come.
        Stopped: ``halt`` was asked to.
    """
    if deadline is not None and time.monotonic() >= deadline:
        raise OutOfTime
    halt.check()
    with folder.log.open("ab") as log, held(folder.path / ".lock", wait=True) as lock:
        log.write(f"$ dyna {' '.join(command)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "dyna_training.child", *command],
            stdin=subprocess.PIPE,  # never written to: it ends when this process does
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)},
            pass_fds=[lock.fileno()],  # so that nobody begins before this command has really ended
            start_new_session=True,  # Ctrl-C goes to this process, which hands it on once
        )
        begun = looked = time.monotonic()
        first = fraction(folder.path)
        try:
            while (code := process.poll()) is None:
                halt.check()
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    raise OutOfTime
                if now - looked >= LOOK:
                    looked, done = now, fraction(folder.path)
                    progress(done, _left(first, done, now - begun))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK)
            return code
        finally:
            halt.end(process)


def _left(first: float | None, done: float | None, seconds: float) -> float | None:
    """Return the seconds that a command has left, from what it did since it was started."""
    if done is None or done <= (first or 0.0):
        return None
    return seconds * (1 - done) / (done - (first or 0.0))
