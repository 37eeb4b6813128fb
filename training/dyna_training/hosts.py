"""Where workers run, what they are asked to do, and what is heard from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol

GRACE: Final = 10.0
"""Seconds that workers get to finish the running tasks when the work is stopped, and to leave."""


class TaskError(Exception):
    """A task cannot be done; the others can."""


class WorkersFailed(RuntimeError):
    """Nothing more can be done at all; the message says why."""


class Work(NamedTuple):
    """What the workers do.

    Attributes:
        prepare: A function of a module, called in each worker with its number and ``arguments``; it returns the
            handler, which is called with each task. A handler that raises `WorkersFailed` ends everything, any
            other exception fails the task alone.
        arguments: Further arguments of ``prepare``; they are pickled.
        width: How many tasks a worker does at a time, in threads; the handler must bear it.
    """

    prepare: Callable[..., Callable[[Any], Any]]
    arguments: tuple[Any, ...] = ()
    width: int = 1


class Message(NamedTuple):
    """What a host hears from a worker.

    Attributes:
        worker: Number of the worker.
        kind: ``ready``; ``done`` or ``failed``, of a task; ``fatal``: nothing can be done; ``died``.
        task: Number of the task.
        value: The result, or in words what went wrong.
        memory: Bytes that the worker and its engines hold.
    """

    worker: int
    kind: Literal["ready", "done", "failed", "fatal", "died"]
    task: int | None = None
    value: Any = None
    memory: int = 0


class Host(Protocol):
    """Where workers run."""

    def start(self, worker: int, work: Work) -> None:
        """Start a worker; it is ``ready`` some time later."""
        ...

    def send(self, worker: int, number: int, task: Any) -> None:
        """Give a ready worker a task."""
        ...

    def receive(self, timeout: float | None) -> list[Message]:
        """Wait for messages; none when the time is over."""
        ...

    def retire(self, worker: int) -> None:
        """Let a worker that has nothing to do leave, without waiting for it."""
        ...

    def kill(self, worker: int) -> None:
        """End a worker and its engines at once; nothing is heard of it any more."""
        ...

    def close(self, grace: float) -> None:
        """Let all workers leave, and end those that have not after ``grace`` seconds."""
        ...

    def why_not_ready(self) -> str:
        """Return what may keep workers from starting; empty where nothing is known."""
        ...


def answer(handle: Callable[[Any], Any], task: Any) -> tuple[Literal["done", "failed", "fatal"], Any]:
    """Do a task; return what a worker says about it."""
    try:
        return "done", handle(task)
    except WorkersFailed as error:
        return "fatal", str(error)
    except Exception as error:
        return "failed", said(error)


def said(error: Exception) -> str:
    """Return an error in words."""
    if isinstance(error, TaskError | WorkersFailed):
        return str(error)
    return f"{type(error).__name__}: {error}"
