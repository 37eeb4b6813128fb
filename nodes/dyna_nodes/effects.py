"""One core, sync and async: a *plan* is a generator that yields effects, and a driver performs them.

All logic of the nodes is written once, as plans. Whatever waits (a model, a tool, a file) is an `Effect` with
a sync and an async way to do it; `perform` drives a plan from sync code, `aperform` from async code. An
effect that raises raises inside the plan, so that ``try`` works there as anywhere.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Effect(NamedTuple):
    """Something that waits: how to do it in sync and in async code."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]]


Plan = Generator[Effect, Any, T]


def perform(plan: Plan[T]) -> T:
    """Drive a plan to its end in sync code and return its result."""
    try:
        effect = next(plan)
        while True:
            try:
                value = effect.run()
            except BaseException as error:  # thrown into the plan, which decides what to do with it
                effect = plan.throw(error)
            else:
                effect = plan.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def aperform(plan: Plan[T]) -> T:
    """Drive a plan to its end in async code and return its result."""
    try:
        effect = next(plan)
        while True:
            try:
                value = await effect.arun()
            except BaseException as error:  # thrown into the plan, which decides what to do with it
                effect = plan.throw(error)
            else:
                effect = plan.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def blocking(call: Callable[[], T]) -> Effect:
    """Return the effect of a short blocking call, such as a write; async code does it in a thread."""
    return Effect(call, lambda: asyncio.to_thread(call))


class DeadlineExceeded(Exception):
    """Something did not answer in time; what it does goes on, or has been cancelled."""


def within(effect: Effect, seconds: float | None) -> Effect:
    """Return ``effect`` with a time limit; beyond it `DeadlineExceeded` is raised.

    In sync code the work goes on in a daemon thread, since a thread cannot be stopped; async work is
    cancelled.
    """
    if seconds is None:
        return effect

    def run() -> Any:
        result: list[Any] = []
        failure: list[BaseException] = []
        context = copy_context()

        def work() -> None:
            try:
                result.append(context.run(effect.run))
            except BaseException as error:  # handed to the waiting thread, whatever it is
                failure.append(error)

        thread = threading.Thread(target=work, daemon=True, name="dyna-deadline")
        thread.start()
        thread.join(seconds)
        if failure:
            raise failure[0]
        if not result:
            raise DeadlineExceeded(f"no answer within {seconds:g} s")
        return result[0]

    async def arun() -> Any:
        # Not asyncio.timeout: a TimeoutError that the work itself raises must not be taken for the deadline.
        task = asyncio.ensure_future(effect.arun())
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except BaseException:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise DeadlineExceeded(f"no answer within {seconds:g} s")
        return task.result()

    return Effect(run, arun)
