"""The engine's queue and its thread: what is queued, what may share a batch, and who learns of an error."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch

from dyna_nodes.local.base import LocalModelError
from dyna_nodes.local.job import Job


@dataclass
class Stats:
    """What an engine has done so far.

    Attributes:
        requests: Requests taken into a batch.
        batches: Batches run.
        forwards: Forward passes.
        tokens: Tokens fed in them.
    """

    requests: int = 0
    batches: int = 0
    forwards: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Limits:
    """How much an engine takes at a time.

    Attributes:
        arena_bytes: Keys and values of one batch; what does not fit waits for the next. A single request that
            needs more runs alone.
        rows: Most requests in a batch.
        queue: Most requests that may wait.
        quiet_seconds: A batch begins when no request has come for so long, so that requests made together run
            together.
        gather_seconds: The same while callers that are expected have not come; never more than ten times
            this.
    """

    arena_bytes: int = 2 << 30
    rows: int = 64
    queue: int = 10_000
    quiet_seconds: float = 0.003
    gather_seconds: float = 0.030


class Worker:
    """A thread that runs batches, and errands between them.

    Args:
        run: Runs jobs of one adapter as one batch.
        bytes_per_slot: Of the arena.
        limits: How much it takes at a time.
        name: Of the thread.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Job], str | None], None],
        bytes_per_slot: int,
        limits: Limits,
        name: str,
    ) -> None:
        self.stats = Stats()
        self.closed = False
        self._run_batch, self._limits = run, limits
        self._slots = limits.arena_bytes // bytes_per_slot
        self._queue: deque[Job] = deque()
        self._errands: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._wake = threading.Condition()
        self._expected = 1  # callers that took part in the last batch or wait since then
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def queue(self, jobs: Sequence[Job]) -> None:
        """Queue jobs, all of them or none.

        Raises:
            LocalModelError: The engine is closed, was carried over a fork, or too much is waiting.
        """
        with self._wake:
            self._check_open()
            if len(self._queue) + len(jobs) > self._limits.queue:
                raise LocalModelError(
                    f"{len(self._queue)} requests wait and {len(jobs)} more would pass the limit of "
                    f"{self._limits.queue}: the callers are faster than the model"
                )
            self._queue.extend(jobs)
            self._wake.notify_all()

    def expect(self, callers: int) -> None:
        """Let the next batch wait a moment for so many callers."""
        with self._wake:
            self._expected = max(self._expected, callers)

    def errand(self, task: Callable[[], Any]) -> None:
        """Run something in the thread, between two batches, and wait for it."""
        future: Future[Any] = Future()
        with self._wake:
            self._check_open()
            self._errands.append((future, task))
            self._wake.notify_all()
        future.result()

    def count(self, tokens: int) -> None:
        """Count a forward; called before each.

        Raises:
            LocalModelError: The engine is being closed.
        """
        if self.closed:
            raise LocalModelError("the engine was closed")
        self.stats.forwards += 1
        self.stats.tokens += tokens

    def stop(self) -> None:
        """End the thread after the current forward; what is not answered yet fails."""
        with self._wake:
            self.closed = True
            self._wake.notify_all()
        if os.getpid() == self._pid and threading.current_thread() is not self._thread:
            self._thread.join(timeout=60)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise LocalModelError(
                "this engine was made before a fork and its thread did not come along: "
                "start processes with the 'spawn' method and load the model in each"
            )
        if self.closed:
            raise LocalModelError("this engine is closed")

    # In the thread

    @torch.inference_mode()
    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._queue or self._errands or self.closed):
                    self._wake.wait()
                if self.closed:
                    return self._refuse_all()
                errands, self._errands = self._errands, deque()
                jobs = [] if errands else self._take()
            for future, task in errands:
                try:
                    future.set_result(task())
                except Exception as error:
                    future.set_exception(error)
            if jobs:
                self._run(jobs)
                with self._wake:
                    self._expected = _callers((*jobs, *self._queue))

    def _take(self) -> list[Job]:
        """Take the oldest job and all that can share a batch with it."""
        self._gather()
        taken: list[Job] = []
        rest: list[Job] = []
        longest = 0
        for job in self._queue:
            if job.over:
                continue
            slots = max(longest, len(job.request.prefix) + job.slots())
            fits = slots * (len(taken) + 1) <= self._slots and len(taken) < self._limits.rows
            if not taken or (fits and job.request.adapter == taken[0].request.adapter):
                taken.append(job)
                longest = slots
            else:
                rest.append(job)
        self._queue = deque(rest)
        return taken

    def _gather(self) -> None:
        """Wait a moment for requests that can share the batch."""
        limits = self._limits
        begin = arrival = time.monotonic()
        queued = len(self._queue)
        while queued < limits.rows and not self.closed:
            complete = _callers(self._queue) >= self._expected
            patience = limits.quiet_seconds if complete else limits.gather_seconds
            left = min(arrival + patience, begin + 10 * limits.gather_seconds) - time.monotonic()
            if left <= 0:
                return
            self._wake.wait(timeout=left)
            if len(self._queue) != queued:
                queued, arrival = len(self._queue), time.monotonic()

    def _run(self, jobs: Sequence[Job]) -> None:
        """Run a batch; if it breaks, run its jobs one by one, so that only the culprit fails."""
        self.stats.batches += 1
        self.stats.requests += len(jobs)
        try:
            self._run_batch(jobs, jobs[0].request.adapter)
        except Exception as error:
            for job in jobs:
                if job.over:
                    continue
                # What has streamed cannot begin again: the caller has seen a part.
                if len(jobs) == 1 or self.closed or job.streamed:
                    job.fail(error)
                else:
                    self._run([job.again()])

    def _refuse_all(self) -> None:
        error = LocalModelError("the engine was closed before it came to this request")
        for job in self._queue:
            job.fail(error)
        for future, _ in self._errands:
            future.set_exception(error)
        self._queue.clear()
        self._errands.clear()


def _callers(jobs: Sequence[Job] | deque[Job]) -> int:
    return len({id(job.caller) for job in jobs})
