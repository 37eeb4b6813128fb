"""Spawned worker processes for long lists of small tasks: crashes are survived, Ctrl-C loses nothing.

Each worker gets every n-th task, so that what it writes depends on the tasks and the number of workers alone.
A worker that dies is started again; the task it died in is tried once more and then reported. Processes are
spawned, never forked: a fork of a process with threads (a model's, a progress bar's) deadlocks sooner or
later.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")

GRACE = 10.0
"""Seconds that workers get to finish the running task when the work is stopped."""


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


class _Worker(Generic[T]):
    """One process with the tasks that are left for it."""

    def __init__(self, number: int, tasks: Sequence[T], prepare: Callable[..., Any], arguments: Any) -> None:
        self.number = number
        self.tasks = deque(tasks)
        self.attempts = 0
        self._prepare = prepare
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        """Start the process and give it the first task."""
        self.ready = False
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, self._prepare, self.number, self._arguments), daemon=True
        )
        with _ignoring_interrupts():  # inherited: Ctrl-C goes to the whole group, and the parent decides
            self.process.start()
        theirs.close()
        self.give()

    def give(self) -> None:
        """Send the next task; without one, the process ends."""
        self.attempts += 1
        with suppress(BrokenPipeError, ConnectionResetError):  # its death is found out when it is read from
            self.connection.send(self.tasks[0] if self.tasks else None)

    def stop(self, deadline: float) -> None:
        """Let the process finish its task until ``deadline``, then end it."""
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
    finished: Callable[[int, T], Any] | None = None,
) -> Generator[Report[T], None, None]:
    """Run tasks in spawned processes.

    Args:
        tasks: The tasks of each process; they are pickled. A process without tasks is not started.
        prepare: A function of a module, called in each process with its number and ``arguments``; it returns
            the handler, which is called with each task. A handler that raises `WorkersFailed` ends
            everything, any other exception fails the task alone.
        arguments: Further arguments of ``prepare``; they are pickled.
        finished: Says, after a worker died in a task, whether it had finished it; returns the result, or
            None.

    Yields:
        Reports as they come in. When the caller stops iterating, the workers finish their tasks and end;
        reports of those tasks are lost, what the handlers wrote is not.

    Raises:
        WorkersFailed: A handler said so, or ``prepare`` failed; the message is its own.
    """
    started = [_Worker(n, own, prepare, arguments) for n, own in enumerate(tasks) if own]
    pool = {worker.connection: worker for worker in started}
    try:
        while pool:
            for connection in wait(list(pool)):
                assert isinstance(connection, Connection)
                worker = pool.pop(connection)
                yield from _receive(worker, finished)
                if worker.tasks:
                    pool[worker.connection] = worker
                else:
                    worker.stop(time.monotonic() + GRACE)
    finally:
        deadline = time.monotonic() + GRACE
        for worker in pool.values():
            worker.stop(deadline)


def _receive(worker: _Worker[T], finished: Callable[[int, T], Any] | None) -> Iterator[Report[T]]:
    """Take in one message of a worker, or its death."""
    task = worker.tasks[0]
    try:
        kind, value = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        yield from _bury(worker, finished)
        return
    if kind == "fatal":
        raise WorkersFailed(value)
    if kind == "ready":
        worker.ready = True
        return
    worker.tasks.popleft()
    worker.attempts = 0
    worker.give()
    yield _report(task, kind, value)


def _bury(worker: _Worker[T], finished: Callable[[int, T], Any] | None) -> Iterator[Report[T]]:
    """Find out what became of the task that a worker died in, and start the worker again."""
    worker.connection.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    reason = f"its process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
    if not worker.ready:
        raise WorkersFailed(f"a worker died before it was ready: {reason}")
    task = worker.tasks[0]
    result = finished(worker.number, task) if finished is not None else None
    if result is None and worker.attempts < 2:
        worker.start()
        yield Report(task, "crashed", reason=reason)
        return
    worker.tasks.popleft()
    worker.attempts = 0
    if worker.tasks:
        worker.start()
    if result is not None:
        yield Report(task, "done", result)
    else:
        yield Report(task, "failed", reason=f"{reason}, twice")


def _report(task: T, kind: Literal["done", "failed"], value: Any) -> Report[T]:
    return Report(task, "done", value) if kind == "done" else Report(task, "failed", reason=value)


def serve(
    connection: Connection, prepare: Callable[..., Any], number: int, arguments: tuple[Any, ...]
) -> None:
    """Handle tasks until None comes or the parent is gone; the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        handle = prepare(number, *arguments)
    except Exception as error:
        connection.send(("fatal", _say(error)))
        return
    connection.send(("ready", None))
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        if task is None:
            return
        try:
            message = ("done", handle(task))
        except WorkersFailed as error:
            message = ("fatal", str(error))
        except Exception as error:
            message = ("failed", _say(error))
        connection.send(message)


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
