"""An engine whose weights are behind a vLLM server: the same requests, the same results."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import Any

from dyna_nodes.codec import ChatCodec
from dyna_nodes.local.base import SMOLLM2, load_tokenizer
from dyna_nodes.local.request import Branch, Request, Result
from dyna_nodes.local.waiting import await_all, wait_for
from dyna_nodes.served.completions import Reading, generating, probed, probing, scores
from dyna_nodes.served.server import Server, ServerError, run


class ServedEngine:
    """Runs requests on a vLLM server; every method may be called from any thread.

    Prompts are token ids, made here by the codec. All branches of all requests are asked at once; the server batches
    them and keeps prefixes, and the adapter of a request is the server's name of the model. The log-probabilities of
    what a branch begins with are returned for requests that generate nothing, and not by models that are served as
    LoRA modules: vLLM's CPU build dies of such a request.

    Args:
        url: Address of the server, ``/v1`` included.
        base: The base model: its tokenizer is read from here, its weights are not.
        name: The server's name of the base, for requests without an adapter.
        api_key: Sent as a bearer token.

    Attributes:
        tokenizer: The tokenizer of the base.
        base_name: The name of the base.
        context_length: Most tokens of a prefix and what follows it; a server may be set to less, and then refuses.
        stop_ids: Token ids that end a branch unless the request names others.

    Raises:
        LocalModelError: The tokenizer cannot be loaded.
    """

    def __init__(
        self, url: str, base: str = SMOLLM2, *, name: str | None = None, api_key: str = "none"
    ) -> None:
        loaded = load_tokenizer(base)
        self.tokenizer = loaded.tokenizer
        self.base_name, self.context_length, self.stop_ids = base, loaded.context_length, loaded.stop_ids
        self._vocabulary = loaded.vocabulary
        self._server = Server(url, api_key)
        self._name = name or base

    @cached_property
    def chat_codec(self) -> ChatCodec:
        """The codec of conversations for this tokenizer.

        Raises:
            ValueError: The tokenizer has no ChatML tokens.
        """
        return ChatCodec(self.tokenizer)

    def submit(self, request: Request) -> Future[Result]:
        """Ask the server; cancelling the future breaks the connection off, and the server drops the request.

        Raises:
            ValueError: The request cannot run on this model.
        """
        request.check(self._vocabulary, self.context_length)
        return run(self._answer(request))

    def generate(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Result]:
        """Run requests together and wait for them; see `dyna_nodes.local.engine.Engine.generate`.

        Raises:
            TimeoutError: They were not answered in time; they are cancelled.
            ServerError: The server cannot be reached, refuses, or answers nonsense.
        """
        return wait_for([self.submit(request) for request in requests], timeout)

    async def agenerate(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Result]:
        """Run requests together and await them; takes and raises what `generate` does."""
        return await await_all([self.submit(request) for request in requests], timeout)

    def expect(self, callers: int) -> None:
        """Do nothing: the server batches whatever comes."""

    async def _answer(self, request: Request) -> Result:
        """Ask for every distinct branch at once; samples of the same branch share a request."""
        counts = Counter(tuple(branch) for branch in request.branches)
        places = {branch: place for place, branch in reversed([*enumerate(map(tuple, request.branches))])}
        work = (self._branches(request, branch, counts[branch], place) for branch, place in places.items())
        found = dict(zip(places, await _all(work), strict=True))
        cached = max(cached for _, cached in found.values())
        answers = {branch: iter(branches) for branch, (branches, _) in found.items()}
        branches = tuple(next(answers[tuple(branch)]) for branch in request.branches)
        return Result(branches, len(request.prefix), min(cached, len(request.prefix)))

    async def _branches(
        self, request: Request, given: tuple[int, ...], count: int, place: int
    ) -> tuple[list[Branch], int]:
        """Return all branches that begin with ``given``, and how much of the prompt was cached."""
        model = request.adapter or self._name
        if scores(request):
            await self._server.check_scoring(model)
        if not request.max_new_tokens and not request.logprobs:
            readings, cached = [self._reading(request, given, place)], 0
        else:
            asked = (
                count if request.temperature > 0 else 1
            )  # vLLM refuses several greedy ones: they are the same
            body = generating(request, model, given, asked, place)
            readings = [self._reading(request, given, place) for _ in range(asked)]
            try:
                cached = await self._read(body, readings, stream=request.on_token is not None)
            except (LookupError, TypeError, ValueError) as error:
                raise self._odd(error) from error
        branches = await _all(self._finished(request, model, given, reading) for reading in readings)
        return branches if len(branches) == count else branches * count, cached

    def _reading(self, request: Request, given: Sequence[int], place: int) -> Reading:
        ends = self.stop_ids if request.stop_ids is None else request.stop_ids
        tell = request.on_token
        return Reading(
            request, given, self.tokenizer, ends, None if tell is None else lambda token: tell(place, token)
        )

    async def _read(self, body: dict[str, Any], readings: Sequence[Reading], *, stream: bool) -> int:
        """Fill the readings; return how many tokens of the prompt were cached."""
        usage: dict[str, Any] = {}
        if stream:
            body = {**body, "stream": True, "stream_options": {"include_usage": True}}
            async for part in self._server.stream("completions", body):
                usage = part.get("usage") or usage
                for choice in part["choices"]:
                    readings[choice["index"]].take(choice)
        else:
            answer = await self._server.post("completions", body)
            usage = answer.get("usage") or usage
            if len(answer["choices"]) != len(readings):
                raise ValueError(f"{len(answer['choices'])} answers in place of {len(readings)}")
            for choice in answer["choices"]:
                readings[choice["index"]].take(choice)
        return int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)

    async def _finished(self, request: Request, model: str, given: Sequence[int], reading: Reading) -> Branch:
        """Return a branch, with its probe if one is asked for."""
        try:
            if request.probe is None:
                return reading.branch()
            body = probing(request, model, [*given, *reading.written])
            answer = await self._server.post("completions", body)
            return reading.branch(probed(answer["choices"][0], request.probe.among))
        except (LookupError, TypeError, ValueError) as error:
            raise self._odd(error) from error

    def _odd(self, error: Exception) -> ServerError:
        return ServerError(
            f"{self._server.url} answered what cannot be read ({type(error).__name__}: {error}); "
            "is it a vLLM server?"
        )


async def _all(work: Any) -> list[Any]:
    """Await all; if one fails, the others are cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


_engines: dict[tuple[str, str, str], ServedEngine] = {}
_lock = threading.Lock()


def get_served_engine(url: str, base: str = SMOLLM2, api_key: str = "none") -> ServedEngine:
    """Return the process's engine for a server and a base, loading the tokenizer on first use.

    Raises:
        LocalModelError: The tokenizer cannot be loaded.
    """
    with _lock:
        key = (url, base, api_key)
        if key not in _engines:
            _engines[key] = ServedEngine(url, base, api_key=api_key)
        return _engines[key]
