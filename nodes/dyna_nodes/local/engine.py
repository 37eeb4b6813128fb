"""The inference engine: one worker thread per base model, which owns weights, adapters and caches.

Callers put requests into a bounded queue and wait on futures; the worker batches whatever is queued for the same
adapter, of all callers, and hands every answer back as soon as it is complete.

Example:
    ```python
    engine = get_engine("smollm2", dtype="bfloat16")
    engine.load_adapter("policy", "adapters/policy")
    prefix = engine.tokenizer.encode("Once upon a time")

    # four samples of one prefix, which is computed once
    [result] = engine.generate([Request(prefix, [()] * 4, max_new_tokens=20, temperature=0.8, seed=1)])
    print(result.branches[0].text)

    # two continuations imagined onwards, then a distribution over two tokens after a suffix
    request = Request(prefix, [ids_a, ids_b], max_new_tokens=40, probe=Probe(suffix, [yes, no]), adapter="policy")
    [result] = await engine.agenerate([request])

    # log-probabilities of given continuations
    [result] = engine.generate([Request(prefix, [ids_a, ids_b], logprobs=True)])
    print(result.branches[0].given_logprobs)
    ```

Greedy results are the same in float32 whatever else is in the batch; in bfloat16 the order of sums depends on the
batch, and now and then another token wins. Sampling draws from the request's own seed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna_nodes.local.base import SMOLLM2, Base, LocalModelError, load_base, resolve_base
from dyna_nodes.local.request import Branch, Probe, Request, Result, Token

__all__ = ["Branch", "Engine", "Probe", "Request", "Result", "Stats", "Token", "get_engine"]


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


class Engine:
    """Runs requests on one base model; every method may be called from any thread.

    Args:
        base: The loaded base model. It belongs to the engine from now on.
        store_bytes: Budget for keys and values of earlier prefixes.
        arena_bytes: Budget for keys and values of one batch; what does not fit waits for the next. A single request
            that needs more runs alone.
        max_rows: Most requests in a batch.
        max_queue: Most requests that may wait.
        gather_seconds: How long the worker waits for callers that were active a moment ago, so that they share a
            batch; a lone caller never waits.

    Attributes:
        tokenizer: The tokenizer of the base.
        fingerprint: Identifies the base's weights.
        stats: Counters.
    """

    def __init__(
        self,
        base: Base,
        *,
        store_bytes: int = 1 << 30,
        arena_bytes: int = 4 << 30,
        max_rows: int = 64,
        max_queue: int = 10_000,
        gather_seconds: float = 0.005,
    ) -> None:
        from dyna_nodes.local.adapters import Adapters
        from dyna_nodes.local.batch import Batch
        from dyna_nodes.local.ragged import Arena, use_ragged_attention
        from dyna_nodes.local.store import PrefixStore

        self.base_name, self.tokenizer, self.fingerprint = base.name, base.tokenizer, base.fingerprint
        self.stats = Stats()
        config = base.model.config.get_text_config()
        self.context_length: int = config.max_position_embeddings
        self._vocabulary: int = base.model.get_input_embeddings().weight.shape[0]
        use_ragged_attention(base.model)
        self._adapters = Adapters(base)
        self._arena = Arena(config, base.model.dtype, base.model.device)
        self._store = PrefixStore(store_bytes)
        stops = frozenset(_stop_ids(base))
        self._batch = Batch(base.model, base.tokenizer, self._arena, self._store, stops, self._count)
        self._arena_bytes, self._max_rows, self._max_queue = arena_bytes, max_rows, max_queue
        self._gather_seconds = gather_seconds
        self._queue: deque[Any] = deque()
        self._errands: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._expected = 1
        self._pid = os.getpid()
        self._thread = threading.Thread(target=_work, args=(weakref.ref(self),), daemon=True)
        self._thread.name = f"dyna-engine-{base.name}"
        self._thread.start()
        atexit.register(_close, weakref.ref(self))

    # For callers

    def submit(self, request: Request) -> Future[Result]:
        """Queue a request; cancelling the future drops it, at the latest before the next forward.

        Raises:
            ValueError: The request cannot run on this model; nothing was queued.
            LocalModelError: The engine is closed, was carried over a fork, has no such adapter, or its queue is full.
        """
        from dyna_nodes.local.batch import Job

        request.check(self._vocabulary, self.context_length)
        job = Job(request)
        with self._wake:
            self._check_open()
            if request.adapter is not None and request.adapter not in self._adapters:
                known = ", ".join(self._adapters) or "none"
                raise LocalModelError(f"no adapter {request.adapter!r} is loaded; loaded: {known}")
            if len(self._queue) >= self._max_queue:
                raise LocalModelError(f"{self._max_queue} requests are waiting already: callers outrun the model")
            self._queue.append(job)
            self._wake.notify_all()
        return job.future

    def generate(self, requests: Sequence[Request]) -> list[Result]:
        """Run requests together and wait for them.

        If one fails, or the wait is interrupted (Ctrl-C), the others are cancelled.
        """
        futures = self._submit_all(requests)
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    async def agenerate(self, requests: Sequence[Request]) -> list[Result]:
        """Run requests together and await them; cancelling the task cancels them."""
        futures = self._submit_all(requests)
        try:
            return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        finally:
            for future in futures:
                future.cancel()

    def load_adapter(self, name: str, folder: Path | str, *, merge: bool = True) -> None:
        """Load a peft adapter under a name; loading the same folder under the same name again does nothing.

        Args:
            name: How requests call it.
            folder: A folder with ``adapter_config.json`` and the weights.
            merge: Keep a merged copy of the weights that the adapter changes: decoding at the speed of the bare base
                for that much memory. Otherwise, and for adapters other than plain LoRA, peft computes the adapter
                beside the base in every forward.

        Raises:
            LocalModelError: The folder holds no usable adapter, it belongs to another base, or the name is taken.
        """
        self._errand(lambda: self._adapters.load(name, Path(folder).expanduser(), merge))

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter and what was computed with it; unknown names are ignored."""

        def unload() -> None:
            self._adapters.unload(name)
            self._store.forget(name)

        self._errand(unload)

    @property
    def adapters(self) -> list[str]:
        """Names of the loaded adapters."""
        return list(self._adapters)

    def clear_store(self) -> None:
        """Forget all stored prefixes."""
        self._errand(self._store.clear)

    def close(self) -> None:
        """Stop the worker; requests that are not answered yet fail. Closing twice is fine."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if os.getpid() == self._pid and threading.current_thread() is not self._thread:
            self._thread.join(timeout=60)

    @property
    def closed(self) -> bool:
        """Whether the engine takes no more requests."""
        return self._closed

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit_all(self, requests: Sequence[Request]) -> list[Future[Result]]:
        futures: list[Future[Result]] = []
        try:
            with self._wake:  # so that the worker sees all of them at once
                futures.extend(map(self.submit, requests))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return futures

    def _errand(self, task: Callable[[], Any]) -> None:
        """Let the worker do something between two batches."""
        future: Future[Any] = Future()
        with self._wake:
            self._check_open()
            self._errands.append((future, task))
            self._wake.notify_all()
        future.result()

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise LocalModelError(
                "this engine was made before a fork and its worker did not come along: "
                "start processes with the 'spawn' method and load the model in each"
            )
        if self._closed:
            raise LocalModelError("this engine is closed")

    # In the worker

    def _count(self, tokens: int) -> None:
        if self._closed:
            raise LocalModelError("the engine was closed")
        self.stats.forwards += 1
        self.stats.tokens += tokens

    def _step(self) -> bool:
        """Do the next errand or batch; returns whether to go on."""
        with self._wake:
            if not (self._queue or self._errands or self._closed):
                self._wake.wait(timeout=1)  # wakes now and then to see whether the engine is still wanted
            if self._closed:
                self._refuse_all()
                return False
            errand = self._errands.popleft() if self._errands else None
            jobs = [] if errand else self._take()
        if errand:
            future, task = errand
            try:
                future.set_result(task())
            except Exception as error:
                future.set_exception(error)
        elif jobs:
            self._run(jobs)
            with self._wake:
                self._expected = len(jobs) + len(self._queue)
        return True

    def _take(self) -> list[Any]:
        """Take the oldest request and all that can share a batch with it."""
        if not self._queue:
            return []
        deadline = time.monotonic() + self._gather_seconds
        while len(self._queue) < min(self._expected, self._max_rows):
            left = deadline - time.monotonic()
            if left <= 0 or self._closed or not self._wake.wait(timeout=left):
                break
        taken: list[Any] = []
        rest: list[Any] = []
        longest = 0
        room = self._arena_bytes // self._arena.bytes_per_slot
        for job in self._queue:
            if job.over:
                continue
            slots = max(longest, len(job.request.prefix) + job.slots())
            fits = slots * (len(taken) + 1) <= room and len(taken) < self._max_rows
            if not taken or (fits and job.request.adapter == taken[0].request.adapter):
                taken.append(job)
                longest = slots
            else:
                rest.append(job)
        self._queue = deque(rest)
        return taken

    def _run(self, jobs: Sequence[Any]) -> None:
        """Run a batch; if it breaks, run its requests one by one, so that the error reaches whom it concerns."""
        adapter = jobs[0].request.adapter
        self.stats.batches += 1
        self.stats.requests += len(jobs)
        try:
            self._adapters.activate(adapter)
            self._batch.run(jobs, adapter)
        except Exception as error:
            left = [job for job in jobs if not job.over]
            if len(jobs) == 1 or self._closed:
                for job in left:
                    job.fail(error)
                return
            for job in left:
                if job.streamed:  # cannot begin again: the caller has seen a part
                    job.fail(error)
                else:
                    self._run([job.again()])

    def _refuse_all(self) -> None:
        error = LocalModelError("the engine was closed before it came to this request")
        for job in self._queue:
            job.fail(error)
        self._queue.clear()
        for future, _ in self._errands:
            future.set_exception(error)
        self._errands.clear()


def _work(reference: weakref.ref[Engine]) -> None:
    """The worker's loop; holds no strong reference while idle, so that a forgotten engine can go."""
    import torch

    with torch.inference_mode():
        while (engine := reference()) is not None and engine._step():
            del engine


def _close(reference: weakref.ref[Engine]) -> None:
    engine = reference()
    if engine is not None:
        engine.close()


def _stop_ids(base: Base) -> set[int]:
    """Return the ids that end an answer, after the tokenizer and the model's generation settings."""
    found = {base.tokenizer.eos_token_id}
    settings = getattr(base.model, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    found.update(ends if isinstance(ends, list) else [ends])
    return {i for i in found if i is not None}


_engines: dict[tuple[str, str, str], Engine] = {}
_engines_lock = threading.Lock()


def get_engine(base: str = SMOLLM2, dtype: str = "bfloat16", device: str = "cpu") -> Engine:
    """Return the process's engine of a base model, loading it on first use.

    Args:
        base: ``smollm2``, a folder, or the id of a model on the hub.
        dtype: ``bfloat16``, ``float32`` or ``float16``.
        device: A torch device.

    Raises:
        LocalModelError: See `dyna_nodes.local.base.load_base`.
    """
    with _engines_lock:
        key = (resolve_base(base), dtype, device)
        engine = _engines.get(key)
        if engine is None or engine.closed:
            engine = _engines[key] = Engine(load_base(base, dtype, device))
        return engine
