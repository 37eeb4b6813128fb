"""Spawned worker processes for long lists of small tasks: crashes are survived, Ctrl-C loses nothing.

What a worker writes depends on its tasks alone, as long as it does one at a time; several at a time (`width`)
are for tasks that wait, such as those of a model that answers many in one batch. A worker that dies is started
again; the tasks it died in are tried once more, one at a time, and then reported. Processes are spawned, never
forked: a fork of a process with threads (a model's, a progress bar's) deadlocks sooner or later.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")

GRACE = 10.0
"""Seconds that workers get to finish the running tasks when the work is stopped."""


class TaskError(Exception):
    """A task cannot be done; the others can."""


class WorkersFailed(RuntimeError):
    """Nothing more can be done at all, for example because the disk is full."""


class Report(NamedTuple, Generic[T]):
    """What became of a task.

    Attributes:
        task: The task.
        kind: ``done``; ``failed``, for good; or ``crashed``: its worker died, and it is tried once more.
        result: What the handler returned, where it is done.
        reason: Why it is not.
    """

    task: T
    kind: Literal["done", "failed", "crashed"]
    result: Any = None
    reason: str = ""


class _Job(Generic[T]):
    """A task, and how many processes died while they were at it."""

    def __init__(self, task: T) -> None:
        self.task = task
        self.deaths = 0


class _Worker(Generic[T]):
    """One process with the tasks that are left for it."""

    def __init__(
        self, number: int, tasks: Sequence[T], width: int, prepare: Callable[..., Any], arguments: Any
    ) -> None:
        self.number = number
        self.waiting = deque(_Job(task) for task in tasks)
        self.running: dict[int, _Job[T]] = {}
        self._width = width
        self._numbers = itertools.count()
        self._prepare = prepare
        self._arguments = arguments
        self.start()

    @property
    def busy(self) -> bool:
        """Whether any task is left."""
        return bool(self.waiting or self.running)

    def start(self) -> None:
        """Start the process and give it the first tasks."""
        self.ready = False
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve,
            args=(theirs, self._prepare, self.number, self._arguments, self._width),
            daemon=True,
        )
        with _ignoring_interrupts():  # inherited: Ctrl-C goes to the whole group, and the parent decides
            self.process.start()
        theirs.close()
        self.give()

    def give(self) -> None:
        """Send as many tasks as the process does at a time; one that a process died in has it to itself."""
        while self.waiting and len(self.running) < self._width:
            if self.running and any(job.deaths for job in (self.waiting[0], *self.running.values())):
                return
            job, number = self.waiting.popleft(), next(self._numbers)
            self.running[number] = job
            # Its death is found out when it is read from.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.connection.send((number, job.task))

    def stop(self, deadline: float) -> None:
        """Let the process finish what it is at until ``deadline``, then end it."""
        with suppress(BrokenPipeError, ConnectionResetError, OSError):
            self.connection.send(None)
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(GRACE)
        self.connection.close()


def run_tasks(
    tasks: Sequence[Sequence[T]],
    prepare: Callable[..., Callable[[T], Any]],
    arguments: tuple[Any, ...],
    *,
    width: int = 1,
    finished: Callable[[int, T], Any] | None = None,
) -> Generator[Report[T], None, None]:
    """Run tasks in spawned processes.

    Args:
        tasks: The tasks of each process; they are pickled. A process without tasks is not started.
        prepare: A function of a module, called in each process with its number and ``arguments``; it returns
            the handler, which is called with each task. A handler that raises `WorkersFailed` ends
            everything, any other exception fails the task alone.
        arguments: Further arguments of ``prepare``; they are pickled.
        width: How many tasks a process does at a time, in threads; the handler must bear it.
        finished: Says, after a worker died in a task, whether it had finished it; returns the result, or
            None.

    Yields:
        Reports as they come in. When the caller stops iterating, the workers have `GRACE` seconds to
        finish their tasks, and end; reports of those tasks are lost, what the handlers wrote is not.

    Raises:
        WorkersFailed: A handler said so, or ``prepare`` failed; the message is its own.
    """
    started = [_Worker(n, own, width, prepare, arguments) for n, own in enumerate(tasks) if own]
    pool = {worker.connection: worker for worker in started}
    try:
        while pool:
            for connection in wait(list(pool)):
                assert isinstance(connection, Connection)
                worker = pool[connection]
                yield from _receive(worker, finished)  # in the pool until then, to be stopped with the others
                del pool[connection]
                if worker.busy:
                    pool[worker.connection] = worker
                else:
                    worker.stop(time.monotonic() + GRACE)
    finally:
        deadline = time.monotonic() + GRACE
        for worker in pool.values():
            worker.stop(deadline)


def _receive(worker: _Worker[T], finished: Callable[[int, T], Any] | None) -> Iterator[Report[T]]:
    """Take in one message of a worker, or its death."""
    try:
        kind, number, value = worker.connection.recv()
    except (EOFError, OSError):  # OSError: in the middle of a message
        yield from _bury(worker, finished)
        return
    if kind == "fatal":
        raise WorkersFailed(value)
    if kind == "ready":
        worker.ready = True
        return
    task = worker.running.pop(number).task
    worker.give()
    yield Report(task, "done", value) if kind == "done" else Report(task, "failed", reason=value)


def _bury(worker: _Worker[T], finished: Callable[[int, T], Any] | None) -> Iterator[Report[T]]:
    """Find out what became of the tasks that a worker died in, and start the worker again."""
    worker.connection.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    reason = f"its process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
    if not worker.ready:
        raise WorkersFailed(f"a worker died before it was ready: {reason}")
    reports: list[Report[T]] = []
    again: list[_Job[T]] = []
    for job in worker.running.values():
        result = finished(worker.number, job.task) if finished is not None else None
        if result is not None:
            reports.append(Report(job.task, "done", result))
        elif job.deaths:
            reports.append(Report(job.task, "failed", reason=f"{reason}, twice"))
        else:
            job.deaths += 1
            again.append(job)
            reports.append(Report(job.task, "crashed", reason=reason))
    worker.running.clear()
    worker.waiting.extendleft(reversed(again))
    if worker.waiting:
        worker.start()
    yield from reports


def serve(
    connection: Connection,
    prepare: Callable[..., Any],
    number: int,
    arguments: tuple[Any, ...],
    width: int,
) -> None:
    """Handle tasks until None comes or the parent is gone, and then leave within `GRACE`; a worker's body."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        handle = prepare(number, *arguments)
    except Exception as error:
        connection.send(("fatal", None, _say(error)))
        return
    connection.send(("ready", None, None))
    sending = threading.Lock()

    def do(id: int, task: Any) -> None:
        try:
            try:
                message = ("done", id, handle(task))
            except WorkersFailed as error:
                message = ("fatal", id, str(error))
            except Exception as error:
                message = ("failed", id, _say(error))
            # A parent that is gone reads no more.
            with sending, suppress(BrokenPipeError, ConnectionResetError):
                connection.send(message)
        except BaseException:
            # In a thread this would be heard by nobody, and the parent wait for ever.
            traceback.print_exc()
            os._exit(1)

    with ThreadPoolExecutor(width) as threads:
        while True:
            try:
                asked = connection.recv()
            except (EOFError, ConnectionResetError):
                # The parent was killed. Episodes of a model take minutes; nobody waits for them any more.
                threads.shutdown(wait=False, cancel_futures=True)
                leave = threading.Timer(GRACE, os._exit, (1,))
                leave.daemon = True
                leave.start()
                return
            if asked is None:
                return
            threads.submit(do, *asked)


def _say(error: Exception) -> str:
    if isinstance(error, TaskError | WorkersFailed):
        return str(error)
    return f"{type(error).__name__}: {error}"


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Let processes that start now inherit that SIGINT is ignored."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
