"""What goes wrong with machines and servers: they break, and they hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class ConnectorError(RuntimeError):
    """What an environment is connected to is down, hangs, or answers what it should not; the message says which."""


class ForkRefused(RuntimeError):
    """The state cannot be had a second time; the message says why."""


def within(seconds: float, what: str, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or stop waiting for it.

    Args:
        seconds: The longest wait; the work itself cannot be stopped and is left to its thread.
        what: What is waited for, for the message.
        work: The work.

    Raises:
        ConnectorError: It took longer.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name=what, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        raise ConnectorError(f"{what} did not answer within {seconds:g} seconds") from None
