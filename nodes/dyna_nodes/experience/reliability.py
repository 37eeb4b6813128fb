"""How far a world model has earned trust by what an experience log says, kept up to date while it grows.

A running graph knows the calls of its own thread alone. Whoever wants to believe a world model for what it has
shown in all threads and in earlier processes gives a trust gate this source.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from dyna_nodes.experience.lines import Problem, explain, format_of, load, report
from dyna_nodes.experience.log import LOG_FORMAT, ExperienceLog
from dyna_nodes.nouns import Transition
from dyna_nodes.trust import Tally, merge, tally


def told_by(transition: Transition) -> str:
    """Return the name of the world model that predicted a call; empty when nobody did, or nobody knows who."""
    if transition.prediction is None:
        return ""
    return transition.provenance.versions.get("world_model") or transition.prediction.model


class LoggedReliability:
    """Counts executed calls in an experience log: the running figures of all its writers.

    Each segment is read once and then only where it has grown. To be used as the ``source`` of a
    `dyna_nodes.critics.TrustGate`.

    Args:
        log: The log, or its folder; it may be empty, and then no tool is trusted.
        model: Count only what the world model of this name predicted; None counts all, which is right only where
            one model alone has ever written to the log.
        refresh: Seconds for which figures count as up to date; 0 looks at every call.

    Example:
        >>> gate = TrustGate(OutcomeCritic("refund_*"), source=LoggedReliability("experience"))
    """

    def __init__(
        self, log: ExperienceLog | str | Path, *, model: str | None = None, refresh: float = 1.0
    ) -> None:
        if refresh < 0:
            raise ValueError(f"expected refresh >= 0 seconds, got {refresh}")
        self.log = log if isinstance(log, ExperienceLog) else ExperienceLog(log)
        self.model = model
        self.refresh = refresh
        self._figures: Tally = {}
        self._counted: set[str] = set()
        self._read: dict[Path, int] = {}
        self._looked: float | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Tally:
        """Return the figures by tool; the caller must not change them."""
        with self._lock:
            now = time.monotonic()
            if self._looked is None or now - self._looked >= self.refresh:
                for transition in self._new():
                    self._count(transition)
                self._looked = now
            return self._figures

    def _new(self) -> Iterator[Transition]:
        """Yield what has been written since the last time; a line without its newline is left for later."""
        segments = self.log.segments()
        if not set(self._read) <= set(segments):  # segments were deleted: what was in them counts no longer
            self._figures, self._counted, self._read = {}, set(), {}
        for path in segments:
            try:
                if path.stat().st_size > self._read.get(path, 0):
                    yield from self._grown(path)
            except FileNotFoundError:  # its writer has just deleted it, as its retention setting says
                continue

    def _grown(self, path: Path) -> Iterator[Transition]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            for raw in file:
                if not raw.endswith(b"\n"):
                    return
                start = self._read.get(path, 0)
                self._read[path] = start + len(raw)
                found = format_of(raw) if start == 0 else None
                if found == LOG_FORMAT:
                    continue
                if found is not None:  # a segment of another version; `ExperienceLog.read` reports it
                    self._read[path] = path.stat().st_size
                    return
                try:
                    yield load(Transition, raw.rstrip())
                except ValidationError as error:
                    reason = f"byte {start} of the file begins no transition: {explain(error)}"
                    report(Problem(path, 0, reason, raw), None)

    def _count(self, transition: Transition) -> None:
        added = tally(transition)
        if not added or (self.model is not None and told_by(transition) != self.model):
            return
        if transition.id not in self._counted:
            self._counted.add(transition.id)
            self._figures = merge(self._figures, added)
