"""Concurrency: who shares a batch, who learns of an error, what a cancelled caller leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import pytest
from tiny_llama import tiny_base

from dyna_nodes.local.base import LocalModelError
from dyna_nodes.local.engine import Engine
from dyna_nodes.local.request import Request, Token
from dyna_nodes.local.worker import Limits

PREFIXES = [[5 + i, 40, 41, 42 + i] for i in range(6)]


class Gate:
    """Holds the engine's thread at the first token of a request until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def request(self, **settings: Any) -> Request:
        return Request([99], max_new_tokens=2, stop_ids=(), on_token=self._hold, **settings)

    def _hold(self, branch: int, token: Token) -> None:
        self.reached.set()
        assert self.opened.wait(timeout=30)


async def test_concurrent_callers_share_one_batch(engine: Engine) -> None:
    request = [Request(p, max_new_tokens=6, stop_ids=()) for p in PREFIXES]
    results = await asyncio.gather(*(engine.agenerate([r]) for r in request))
    assert engine.stats.batches == 1
    assert engine.stats.forwards == 6  # one for all prefixes, then one per further token
    for r, [together] in zip(request, results, strict=True):
        engine.clear_store()
        assert engine.generate([r])[0].branches == together.branches


async def test_the_event_loop_goes_on_while_the_engine_works(engine: Engine) -> None:
    gate = Gate()
    task = asyncio.create_task(engine.agenerate([gate.request()]))
    await asyncio.to_thread(gate.reached.wait)
    assert not task.done()
    gate.opened.set()
    [result] = await task
    assert len(result.branches[0].ids) == 2


def test_what_is_queued_meanwhile_runs_together(engine: Engine) -> None:
    gate = Gate()
    running = engine.submit(gate.request())
    gate.reached.wait()
    futures = [engine.submit(Request(p, max_new_tokens=3, stop_ids=())) for p in PREFIXES]
    gate.opened.set()
    assert [len(f.result().branches[0].ids) for f in futures] == [3] * len(PREFIXES)
    running.result()
    assert engine.stats.batches == 2


def test_a_short_request_does_not_wait_for_a_long_one(engine: Engine) -> None:
    order: list[str] = []
    short = Request([7, 8], max_new_tokens=1, stop_ids=())
    long = Request([9, 8], max_new_tokens=200, stop_ids=())
    futures = {"short": engine.submit(short), "long": engine.submit(long)}
    for name, future in futures.items():
        future.add_done_callback(lambda _, name=name: order.append(name))
    futures["short"].result()
    assert not futures["long"].done()
    futures["long"].result()
    assert order == ["short", "long"]
    assert engine.stats.batches == 1


def test_cancelling_drops_what_is_queued_and_what_runs(engine: Engine) -> None:
    gate = Gate()
    running = engine.submit(gate.request())
    gate.reached.wait()
    queued = engine.submit(Request([5], max_new_tokens=500, stop_ids=()))
    assert queued.cancel()
    assert running.cancel()
    gate.opened.set()
    [after] = engine.generate([Request([6, 7], max_new_tokens=2, stop_ids=())])
    assert len(after.branches[0].ids) == 2
    assert engine.stats.tokens == 1 + 3  # the prefix of the running one, then the last request alone
    with pytest.raises(CancelledError):
        running.result()


async def test_cancelling_a_task_cancels_its_request(engine: Engine) -> None:
    task = asyncio.create_task(engine.agenerate([Request([5], max_new_tokens=1900, stop_ids=())]))
    while engine.stats.forwards < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await engine.agenerate([Request([6], max_new_tokens=1)])
    assert engine.stats.forwards < 1000


def test_ctrl_c_in_a_waiting_caller_cancels_its_requests(engine: Engine) -> None:
    gate = Gate()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        gate.reached.wait()
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        engine.generate([gate.request(), Request([6], max_new_tokens=1900, stop_ids=())])
    gate.opened.set()
    engine.generate([Request([7, 8], max_new_tokens=1)])
    assert engine.stats.forwards < 10


def test_a_callback_that_raises_fails_its_own_request(engine: Engine) -> None:
    def broken(branch: int, token: Token) -> None:
        raise OSError("the terminal is gone")

    bad = engine.submit(Request([5, 6], max_new_tokens=5, stop_ids=(), on_token=broken))
    good = engine.submit(Request([7, 6], max_new_tokens=5, stop_ids=()))
    with pytest.raises(OSError, match="the terminal is gone"):
        bad.result()
    assert len(good.result().branches[0].ids) == 5
    assert engine.stats.batches == 1


def test_an_error_in_a_batch_reaches_the_culprit_only(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine._worker._run_batch

    def fragile(jobs: Any, adapter: str | None) -> None:
        if any(66 in job.request.prefix for job in jobs):
            raise RuntimeError("out of memory")
        run(jobs, adapter)

    monkeypatch.setattr(engine._worker, "_run_batch", fragile)
    futures = engine._submit([Request(p, max_new_tokens=2, stop_ids=()) for p in ([5], [66], [7])])
    assert len(futures[0].result().branches[0].ids) == 2
    assert len(futures[2].result().branches[0].ids) == 2
    with pytest.raises(RuntimeError, match="out of memory"):
        futures[1].result()
    assert engine.generate([Request([8], max_new_tokens=1, stop_ids=())])


def test_a_batch_is_bounded_by_rows_and_by_memory() -> None:
    requests = [Request(p, max_new_tokens=2, stop_ids=()) for p in PREFIXES]
    with Engine(tiny_base(), limits=Limits(rows=4)) as engine:
        assert len(engine.generate(requests)) == 6
        assert engine.stats.batches == 2
    per_slot = 3 * 2 * 2 * 8 * 4
    with Engine(tiny_base(), limits=Limits(arena_bytes=2 * 6 * per_slot)) as engine:
        assert len(engine.generate(requests)) == 6
        assert engine.stats.batches == 3


def test_a_full_queue_refuses_and_takes_nothing_of_the_call() -> None:
    with Engine(tiny_base(), limits=Limits(queue=3)) as engine:
        gate = Gate()
        running = engine.submit(gate.request())
        gate.reached.wait()
        kept = engine.submit(Request([5], max_new_tokens=1))
        with pytest.raises(LocalModelError, match="the limit of 3"):
            engine.generate([Request(p, max_new_tokens=1) for p in PREFIXES[:3]])
        gate.opened.set()
        kept.result()
        running.result()
        assert engine.stats.requests == 2


def test_closing_fails_what_is_left_and_refuses_more() -> None:
    engine = Engine(tiny_base())
    gate = Gate()
    running = engine.submit(gate.request())
    gate.reached.wait()
    queued = engine.submit(Request([5], max_new_tokens=1))
    threading.Timer(0.05, gate.opened.set).start()
    engine.close()
    engine.close()
    for future in (running, queued):
        with pytest.raises(LocalModelError, match="closed"):
            future.result()
    with pytest.raises(LocalModelError, match="is closed"):
        engine.submit(Request([5]))


def test_a_forgotten_engine_ends_its_thread() -> None:
    engine = Engine(tiny_base())
    thread = engine._worker._thread
    engine.generate([Request([5], max_new_tokens=1)])
    del engine
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not thread.is_alive()


def test_use_after_a_fork_is_refused(engine: Engine) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            engine.generate([Request([5], max_new_tokens=1)])
        except LocalModelError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    said = os.read(read, 1000).decode()
    os.close(read)
    os.waitpid(child, 0)
    assert "spawn" in said
