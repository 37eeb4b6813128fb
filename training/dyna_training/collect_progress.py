"""How far a collection is: counts, rate and time left, for people and for programs."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dyna_training.recording import Episode
from dyna_training.whole import write_whole
from dyna_training.workers import Report

FORMAT: Final = "dyna-progress/1"
PROGRESS: Final = "progress.json"
WINDOW: Final = 60.0
"""Seconds of the past that a rate is taken over."""
EVERY: Final = 1.0
"""Seconds between two writings of the file."""


class Progress(NamedTuple):
    """How far a collection is.

    Attributes:
        done: Episodes recorded, those of earlier runs included.
        total: Episodes wanted.
        success: Episodes recorded that solved their task.
        steps: Steps recorded in this run.
        failed: Episodes of this run that failed for good.
        crashes: Workers that died or hung in an episode that was then tried again.
        recycled: Workers that were replaced because they held too much memory.
        rate: Episodes a second, of late; 0 where nothing can be said yet.
        step_rate: Steps a second, of late.
        seconds_left: None where nothing can be said yet.
        report: What has just become of an episode; None at the start.
    """

    done: int
    total: int
    success: int
    steps: int = 0
    failed: int = 0
    crashes: int = 0
    recycled: int = 0
    rate: float = 0.0
    step_rate: float = 0.0
    seconds_left: float | None = None
    report: Report[Episode] | None = None

    def words(self) -> str:
        """Return rate, success and time left in a few words; empty where nothing can be said yet."""
        if self.seconds_left is None:
            return ""
        minutes, seconds = divmod(round(self.seconds_left), 60)
        left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        solved = f"{self.success / self.done:.0%} solved"
        return f"{self.rate:.1f} episodes/s, {self.step_rate:.0f} steps/s, {solved}, {left} left"


class Meter:
    """Counts what becomes of episodes.

    Args:
        total: Episodes wanted.
        done: Episodes recorded in earlier runs.
        success: How many of those solved their task.
        clock: Seconds, from anywhere.
    """

    def __init__(
        self, total: int, done: int, success: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.done, self.success = total, done, success
        self.steps = self.failed = self.crashes = self.recycled = 0
        self._clock = clock
        self._past: deque[tuple[float, int, int]] = deque([(clock(), done, 0)])

    def count(self, report: Report[Episode]) -> None:
        """Count what became of an episode."""
        if report.kind == "done":
            self.done += 1
            self.steps += report.result.record.steps
            self.success += report.result.record.outcome == "success"
            self._past.append((self._clock(), self.done, self.steps))
        self.failed += report.kind == "failed"
        self.crashes += report.kind == "crashed"
        self.recycled += report.kind == "recycled"

    def progress(self, report: Report[Episode] | None = None) -> Progress:
        """Return how far it is."""
        now = self._clock()
        while len(self._past) > 2 and self._past[1][0] <= now - WINDOW:
            self._past.popleft()
        then, done, steps = self._past[0]
        seconds, episodes = now - then, self.done - done
        rate, step_rate, left = 0.0, 0.0, None
        if episodes and seconds > 0:
            rate, step_rate = episodes / seconds, (self.steps - steps) / seconds
            left = (self.total - self.done - self.failed) / rate
        return Progress(
            self.done,
            self.total,
            self.success,
            self.steps,
            self.failed,
            self.crashes,
            self.recycled,
            rate,
            step_rate,
            left,
            report,
        )


class ProgressFile:
    """The file ``progress.json`` of a collection's folder, for programs that watch it.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / PROGRESS
        self._written = 0.0

    def write_now_and_then(self, progress: Progress) -> None:
        """Write it unless it was written just now."""
        if time.monotonic() >= self._written + EVERY:
            self.write(progress, "running")

    def write(self, progress: Progress, state: Literal["running", "done", "stopped"]) -> None:
        """Write it; that it cannot be written stops nothing."""
        self._written = time.monotonic()
        said: dict[str, Any] = {"format": FORMAT, "state": state, "time": round(time.time(), 1)}
        numbers = {k: round(v, 2) if isinstance(v, float) else v for k, v in progress._asdict().items()}
        del numbers["report"]
        with suppress(OSError):
            write_whole(self.file, json.dumps({**said, **numbers}) + "\n")
