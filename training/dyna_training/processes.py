"""Workers in processes of this machine.

Processes are spawned, never forked: a fork of a process with threads (a model's, a progress bar's) deadlocks sooner or
later. Each leads a process group of its own: Ctrl-C at a terminal reaches neither it nor its engines, since the parent
decides what then happens, and whoever kills the worker kills its engines too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, NamedTuple

from dyna_training.hosts import GRACE, Message, Work, answer, said
from dyna_training.memory import memory_held

LEAST: Final = 1.0
"""Seconds that a worker whose connection is closed gets to end by itself, with an exit code of its own."""


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection


class Processes:
    """The `Host` that is this machine."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._leaving: list[_Worker] = []

    def start(self, worker: int, work: Work) -> None:
        """Start a process."""
        for left in [left for left in self._leaving if wait([left.process.sentinel], 0)]:
            _end(left)
            self._leaving.remove(left)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, worker, work), daemon=True)
        with _ignoring_interrupts():  # inherited, until the process leads its own group
            process.start()
        theirs.close()
        self._workers[worker] = _Worker(process, ours)

    def send(self, worker: int, number: int, task: Any) -> None:
        """Give a worker a task."""
        # Its death is found out when it is read from, or has been, by now.
        if worker in self._workers:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._workers[worker].connection.send((number, task))

    def receive(self, timeout: float | None) -> list[Message]:
        """Return one message of each worker that has any."""
        numbers = {worker.connection: number for number, worker in self._workers.items()}
        return [self._read(numbers[c]) for c in wait(list(numbers), timeout) if isinstance(c, Connection)]

    def _read(self, number: int) -> Message:
        worker = self._workers[number]
        try:
            return Message(number, *worker.connection.recv())
        except (EOFError, OSError):  # OSError: in the middle of a message
            wait([worker.process.sentinel], LEAST)
            self.kill(number)
            code = worker.process.exitcode or 0
            died = f"signal {-code}" if code < 0 else f"exit code {code}"
            return Message(number, "died", value=f"its process died ({died})")

    def retire(self, worker: int) -> None:
        """Let a worker leave."""
        leaving = self._workers.pop(worker)
        with suppress(BrokenPipeError, ConnectionResetError):
            leaving.connection.send(None)
        self._leaving.append(leaving)

    def kill(self, worker: int) -> None:
        """Kill a worker and what it has started; one that is gone already has nothing left."""
        if worker in self._workers:
            _end(self._workers.pop(worker))

    def close(self, grace: float) -> None:
        """Let all workers leave, and kill those that do not."""
        for number in list(self._workers):
            self.retire(number)
        deadline = time.monotonic() + grace
        try:
            for worker in self._leaving:
                wait([worker.process.sentinel], max(0.0, deadline - time.monotonic()))
        finally:
            for worker in self._leaving:
                _end(worker)

    def why_not_ready(self) -> str:
        """Nothing is known."""
        return ""


def _end(worker: _Worker) -> None:
    """Kill what is left of a worker and its engines; once the worker is waited for, its group has no name any more."""
    pid = worker.process.pid
    if sys.platform != "win32" and pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    worker.process.kill()  # it may not have led a group yet
    worker.process.join()
    worker.connection.close()


def serve(connection: Connection, number: int, work: Work) -> None:
    """Handle tasks until None comes or the parent is gone, and then leave within `GRACE`; a worker's body."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        os.setpgid(0, 0)
    sending = threading.Lock()

    def tell(*message: Any) -> None:
        # A parent that is gone reads no more.
        with sending, suppress(BrokenPipeError, ConnectionResetError):
            connection.send(message)

    try:
        handle = work.prepare(number, *work.arguments)
    except Exception as error:
        tell("fatal", None, said(error))
        return
    tell("ready")
    with ThreadPoolExecutor(work.width) as threads:
        while True:
            try:
                asked = connection.recv()
            except (EOFError, ConnectionResetError):
                # The parent was killed. Episodes of a model take minutes; nobody waits for them any more.
                threads.shutdown(wait=False, cancel_futures=True)
                leave = threading.Timer(GRACE, _leave)
                leave.daemon = True
                leave.start()
                return
            if asked is None:
                return
            threads.submit(_do, handle, tell, *asked)


def _do(handle: Callable[[Any], Any], tell: Callable[..., None], number: int, task: Any) -> None:
    try:
        kind, value = answer(handle, task)
        tell(kind, number, value, memory_held())
    except BaseException:
        # In a thread this would be heard by nobody, and the parent wait for ever.
        traceback.print_exc()
        os._exit(1)


def _leave() -> None:
    """End this process and its engines."""
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


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
