"""The inference engine: one thread per base model, which owns weights, adapters and caches.

Callers put requests into a bounded queue and wait on futures; the thread batches whatever is queued for the
same adapter, of all callers, and hands every answer back as soon as it is complete.

Example:
    ```python
    engine = get_engine("smollm2", dtype="bfloat16")
    engine.load_adapter("policy", "adapters/policy")
    prefix = engine.tokenizer.encode("Once upon a time")

    # four samples of one prefix, which is computed once
    [result] = engine.generate([Request(prefix, [()] * 4, max_new_tokens=20, temperature=0.8, seed=1)])
    print(result.branches[0].text)

    # two continuations imagined onwards, then a distribution over two tokens after a suffix
    request = Request(prefix, [ids_a, ids_b], max_new_tokens=40, probe=Probe(suffix, [yes, no]),
    adapter="policy") [result] = await engine.agenerate([request])

    # log-probabilities of given continuations
    [result] = engine.generate([Request(prefix, [ids_a, ids_b], logprobs=True)])
    print(result.branches[0].given_logprobs)
    ```

Greedy results are the same in float32 whatever else is in the batch; in bfloat16 the order of sums depends on
the batch, and now and then another token wins. Sampling draws from the request's own seed.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dyna_nodes.codec import ChatCodec
from dyna_nodes.local.base import SMOLLM2, Base, LocalModelError, load_base, resolve_base, stop_ids
from dyna_nodes.local.request import Branch, Probe, Request, Result, TextEngine, Token
from dyna_nodes.local.waiting import await_all, wait_for

if TYPE_CHECKING:
    from dyna_nodes.local.worker import Limits, Stats

__all__ = ["Branch", "Engine", "Probe", "Request", "Result", "TextEngine", "Token", "get_engine"]


class Engine:
    """Runs requests on one base model; every method may be called from any thread.

    Args:
        base: The loaded base model. It belongs to the engine from now on.
        store_bytes: Budget for keys and values of earlier prefixes.
        limits: How much is run at a time.

    Attributes:
        tokenizer: The tokenizer of the base.
        base_name: The name of the base.
        fingerprint: Identifies the base's weights.
        context_length: Most tokens of a prefix and what follows it.
        stop_ids: Token ids that end a branch unless the request names others.
    """

    def __init__(self, base: Base, *, store_bytes: int = 1 << 30, limits: Limits | None = None) -> None:
        from dyna_nodes.local.adapters import Adapters
        from dyna_nodes.local.batch import Batch
        from dyna_nodes.local.job import Job
        from dyna_nodes.local.ragged import Arena, use_ragged_attention
        from dyna_nodes.local.store import PrefixStore
        from dyna_nodes.local.worker import Limits, Worker

        use_ragged_attention(base.model)
        self.base_name, self.tokenizer, self.fingerprint = base.name, base.tokenizer, base.fingerprint
        self.stop_ids = stop_ids(base.tokenizer, getattr(base.model, "generation_config", None))
        config = base.model.config.get_text_config()
        self.context_length: int = config.max_position_embeddings
        self._vocabulary: int = base.model.get_input_embeddings().weight.shape[0]
        self._adapters = adapters = Adapters(base)
        self._store = PrefixStore(store_bytes)
        arena = Arena(config, base.model.dtype, base.model.device)
        self._bytes_per_token = arena.bytes_per_slot
        batch = Batch(base.model, base.tokenizer, arena, self._store, self.stop_ids)

        def run(jobs: Sequence[Job], adapter: str | None) -> None:
            adapters.activate(adapter)
            batch.run(jobs, adapter)

        self._worker = Worker(run, arena.bytes_per_slot, limits or Limits(), f"dyna-engine-{base.name}")
        batch.on_forward = self._worker.count
        self._stop = weakref.finalize(self, self._worker.stop)  # also when the interpreter exits

    def submit(self, request: Request) -> Future[Result]:
        """Queue a request; cancelling the future drops it, at the latest before the next forward.

        Raises:
            ValueError: The request cannot run on this model; nothing was queued.
            LocalModelError: The engine is closed, was carried over a fork, has no such adapter, or its queue
                is full.
        """
        return self._submit([request])[0]

    def generate(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Result]:
        """Run requests together and wait for them.

        If one fails, or the wait is interrupted (Ctrl-C), the others are cancelled.

        Args:
            requests: The requests.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They were not answered in time; they are cancelled.
            ValueError: As `submit`.
            LocalModelError: As `submit`.
        """
        return wait_for(self._submit(requests), timeout)

    async def agenerate(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Result]:
        """Run requests together and await them; cancelling the task cancels them.

        Takes and raises what `generate` does.
        """
        return await await_all(self._submit(requests), timeout)

    def load_adapter(self, name: str, folder: Path | str, *, merge: bool = True) -> None:
        """Load a peft adapter under a name; the same folder twice under one name is fine.

        Args:
            name: How requests call it.
            folder: A folder with ``adapter_config.json`` and the weights.
            merge: Keep a merged copy of the weights that the adapter changes: decoding at the speed of the
                bare base for that much memory. Otherwise, and for adapters other than plain LoRA, peft
                computes the adapter beside the base in every forward.

        Raises:
            LocalModelError: The folder holds no usable adapter, it belongs to another base, or the name is
                taken.
        """
        self._worker.errand(lambda: self._adapters.load(name, Path(folder).expanduser(), merge))

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter and what was computed with it; unknown names are ignored."""

        def unload() -> None:
            self._adapters.unload(name)
            self._store.forget(name)

        self._worker.errand(unload)

    @property
    def adapters(self) -> list[str]:
        """Names of the loaded adapters."""
        return list(self._adapters)

    @property
    def stats(self) -> Stats:
        """Counters of what was done so far."""
        return self._worker.stats

    def expect(self, callers: int) -> None:
        """Say that so many callers are about to ask, so that they share a batch."""
        self._worker.expect(callers)

    @cached_property
    def chat_codec(self) -> ChatCodec:
        """The codec of conversations for this tokenizer.

        Raises:
            ValueError: The tokenizer has no ChatML tokens.
        """
        return ChatCodec(self.tokenizer)

    def remember(self, tokens: int) -> None:
        """Keep the keys and values of at least so many tokens.

        An agent's next turn is cheap while its last one is stored. When more agents play at once than the
        store has room for, the least recently used goes first, and that is the one whose turn is next.
        """
        self._store.budget = max(self._store.budget, tokens * self._bytes_per_token)

    def clear_store(self) -> None:
        """Forget all stored prefixes."""
        self._worker.errand(self._store.clear)

    def close(self) -> None:
        """Stop after the current forward; requests not answered yet fail. Closing twice is fine."""
        self._stop()

    @property
    def closed(self) -> bool:
        """Whether the engine takes no more requests."""
        return self._worker.closed

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, requests: Sequence[Request]) -> list[Future[Result]]:
        from dyna_nodes.local.job import Job

        caller = object()
        jobs = []
        for request in requests:
            request.check(self._vocabulary, self.context_length)
            if request.adapter is not None and request.adapter not in self._adapters:
                known = ", ".join(self._adapters) or "none"
                raise LocalModelError(f"no adapter {request.adapter!r} is loaded; loaded: {known}")
            jobs.append(Job(request, caller))
        self._worker.queue(jobs)
        return [job.future for job in jobs]


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
