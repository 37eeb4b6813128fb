"""Worker processes for long lists of small tasks: what dies, hangs or leaks is replaced, and nothing is done twice.

Workers only compute. A result comes back to the pool, and whoever iterates over the pool keeps it; so a worker may die
at any moment, on this machine or another, and what is lost is the task it was at, which is given out again. A worker
has one task more than it does at a time, so that it need not wait for the next, and never two: when results are taken
in slowly, the workers wait.

Where workers run is a `dyna_training.hosts.Host`: processes of this machine (`dyna_training.processes`), or actors of a
Ray cluster (`dyna_training.cluster`).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Generic, Literal, NamedTuple, Self, TypeVar

from dyna_training.hosts import GRACE, Host, Message, Work, WorkersFailed

T = TypeVar("T")

TRIES: Final = 3
"""Workers that may die in a task before it is reported as failed."""
DEATHS: Final = 10
"""So many deaths in a row for each worker, without a task that was answered, end everything."""
START: Final = 300.0
"""Seconds in which a first worker must be ready."""
TOO_LARGE: Final = 3
"""So many workers in a row that are over the memory limit after a single task end everything."""


class Report(NamedTuple, Generic[T]):
    """What became of a task.

    Attributes:
        task: The task.
        kind: ``done``; ``failed``, for good; ``crashed``: its worker died or hung, and it is tried again; or
            ``recycled``: after it, its worker held too much memory and was replaced.
        result: What the handler returned, where it is done.
        reason: Why it is not.
    """

    task: T
    kind: Literal["done", "failed", "crashed", "recycled"]
    result: Any = None
    reason: str = ""


class _Job(Generic[T]):
    """A task, how many workers died while they were at it, and when the one that is at it must have done it."""

    def __init__(self, task: T) -> None:
        self.task = task
        self.deaths = 0
        self.deadline: float | None = None


class _Seat(Generic[T]):
    """A worker's place: the process in it may be replaced."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: deque[_Job[T]] = deque()
        self.given: dict[int, _Job[T]] = {}
        self.vacate()

    def vacate(self) -> None:
        """Forget the process."""
        self.given.clear()
        self.ready = False
        self.answered = 0
        self.leaving: int | None = None
        """How many tasks it had answered when it was found to hold too much."""


class Pool(Generic[T]):
    """Runs tasks and yields what became of them, as reports come in; used as a context.

    Args:
        groups: The tasks, in groups that go best to the same worker; when there are no groups left, a worker
            takes tasks from the one that has most.
        work: What is done with a task.
        host: Where.
        workers: How many.
        time_limit: Seconds a task may take; a worker that takes longer is killed.
        memory_limit: Bytes a worker may hold; one that holds more is replaced when its tasks are done.

    Raises:
        WorkersFailed: While iterating: a handler said so, ``prepare`` failed, workers died one after the other,
            or none can be started.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[T]],
        work: Work,
        host: Host,
        *,
        workers: int = 1,
        time_limit: float | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self._groups = deque(deque(map(_Job, group)) for group in groups if group)
        self._work, self._host = work, host
        self._limit, self._memory_limit = time_limit, memory_limit
        number = min(workers, sum(map(len, self._groups)))
        self._seats: list[_Seat[T]] = [_Seat(n) for n in range(number)]
        self._messages: deque[Message] = deque()
        self._numbers = itertools.count()
        self._deaths = self._large = 0
        self._waiting_since = 0.0
        self._finishing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whatever interrupts this ends the program, and workers leave by themselves when nobody is there any more.
        self._host.close(GRACE)

    def __iter__(self) -> Iterator[Report[T]]:
        for seat in self._seats:
            self._start(seat)
        while self._left() or any(seat.given for seat in self._seats):
            yield from self._turn()

    def finish(self, grace: float | None = None) -> Iterator[Report[T]]:
        """Yield what becomes of the running tasks, for some seconds; no other one is begun."""
        end = time.monotonic() + (GRACE if grace is None else grace)
        self._finishing = True
        while any(seat.given for seat in self._seats) and time.monotonic() < end:
            yield from self._turn(end)

    def _turn(self, end: float = float("inf")) -> Iterator[Report[T]]:
        if not self._messages:
            until = min(self._next_deadline(), end)
            pause = None if until == float("inf") else max(0.0, until - time.monotonic())
            self._messages.extend(self._host.receive(pause))
        while self._messages:  # kept, so that whoever stops in the middle can still `finish`
            yield from self._take(self._messages.popleft())
        yield from self._overdue()

    def _next_deadline(self) -> float:
        given = (job.deadline for seat in self._seats for job in seat.given.values())
        ready = any(seat.ready for seat in self._seats)
        default = float("inf") if ready else self._waiting_since + START
        return min((deadline for deadline in given if deadline is not None), default=default)

    def _take(self, message: Message) -> Iterator[Report[T]]:
        seat = self._seats[message.worker]
        if message.kind == "fatal":
            raise WorkersFailed(message.value)
        if message.kind == "died":
            yield from self._bury(seat, message.value)
        elif message.kind == "ready":
            seat.ready = True
            self._give(seat)
        elif message.task in seat.given:
            task = seat.given.pop(message.task).task
            self._deaths = 0
            seat.answered += 1
            if (
                self._memory_limit is not None
                and message.memory > self._memory_limit
                and seat.leaving is None
            ):
                seat.leaving = seat.answered
            self._give(seat)  # first, so that the worker does not wait for whoever takes in the report
            if message.kind == "done":
                yield Report(task, "done", message.value)
            else:
                yield Report(task, "failed", reason=message.value)
            if seat.leaving is not None and not seat.given:
                yield self._recycle(seat, task, message.memory)

    def _give(self, seat: _Seat[T]) -> None:
        """Give a worker its tasks; one that workers died in has a worker to itself."""
        while (
            seat.ready
            and seat.leaving is None
            and not self._finishing
            and len(seat.given) <= self._work.width
        ):
            if not seat.waiting and not self._fetch(seat):
                break
            if seat.given and any(job.deaths for job in (seat.waiting[0], *seat.given.values())):
                break
            job, number = seat.waiting.popleft(), next(self._numbers)
            job.deadline = None
            seat.given[number] = job
            self._host.send(seat.number, number, job.task)
        for job in self._begun(seat):
            if job.deadline is None and self._limit is not None:
                job.deadline = time.monotonic() + self._limit

    def _begun(self, seat: _Seat[T]) -> list[_Job[T]]:
        """Return the tasks that a worker is at; it begins them in the order in which they were given."""
        return list(itertools.islice(seat.given.values(), self._work.width))

    def _fetch(self, seat: _Seat[T]) -> bool:
        """Find tasks for a worker that has none."""
        if self._groups:
            seat.waiting = self._groups.popleft()
            return True
        richest = max(self._seats, key=lambda other: len(other.waiting))
        if richest.waiting:
            seat.waiting.append(richest.waiting.pop())
        return bool(seat.waiting)

    def _left(self) -> bool:
        """Whether any task was not begun."""
        return bool(self._groups) or any(seat.waiting for seat in self._seats)

    def _start(self, seat: _Seat[T]) -> None:
        if not any(other.ready for other in self._seats):
            self._waiting_since = time.monotonic()
        self._host.start(seat.number, self._work)

    def _bury(self, seat: _Seat[T], reason: str) -> Iterator[Report[T]]:
        """Give the tasks that a worker died in out again, and replace the worker."""
        self._host.kill(seat.number)  # what it leaves behind: engines in processes of their own
        begun, jobs = self._begun(seat), list(seat.given.values())
        seat.vacate()
        reports: list[Report[T]] = []
        for job in reversed(jobs):
            job.deaths += job in begun
            if job.deaths < TRIES:
                seat.waiting.appendleft(job)
        for job in begun:
            if job.deaths < TRIES:
                reports.append(Report(job.task, "crashed", reason=reason))
            else:
                reports.append(Report(job.task, "failed", reason=f"{reason}, {TRIES} times"))
        if seat.waiting:  # anybody may take them; nobody knows when there will be another worker here
            self._groups.appendleft(seat.waiting)
            seat.waiting = deque()
        self._deaths += 1
        yield from reports
        if self._deaths >= DEATHS * len(self._seats):
            raise WorkersFailed(
                f"{self._deaths} workers in a row died before they had done anything; the last one: {reason}"
            )
        if not self._finishing:
            for other in self._seats:
                self._give(other)
            if self._left():
                self._start(seat)

    def _recycle(self, seat: _Seat[T], task: T, memory: int) -> Report[T]:
        """Replace a worker that holds too much memory, while it has nothing to do."""
        assert self._memory_limit is not None
        self._large = self._large + 1 if seat.leaving == 1 else 0
        held, limit = f"{memory / 1e6:,.0f} MB", f"{self._memory_limit / 1e6:,.0f} MB"
        if self._large >= TOO_LARGE:
            raise WorkersFailed(
                f"{TOO_LARGE} new workers in a row held more than the limit of {limit} after a single task, the last "
                f"{held}; raise the memory limit"
            )
        self._host.retire(seat.number)
        after = f"after {seat.answered} tasks"
        seat.vacate()
        if self._left() and not self._finishing:
            self._start(seat)
        return Report(task, "recycled", reason=f"its worker held {held} {after} and was replaced")

    def _overdue(self) -> Iterator[Report[T]]:
        """Bury workers whose time is over."""
        now = time.monotonic()
        for seat in self._seats:
            if any(job.deadline is not None and job.deadline <= now for job in seat.given.values()):
                yield from self._bury(
                    seat, f"it took longer than {self._limit:g} seconds, so that its process was killed"
                )
        waited_for = self._left() and not self._finishing and not any(seat.ready for seat in self._seats)
        if waited_for and now >= self._waiting_since + START:
            raise WorkersFailed(f"no worker was ready within {START:g} seconds{self._host.why_not_ready()}")
