"""Asking a vLLM server: one HTTP client on a thread of its own, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

LONGEST = 600.0
"""Seconds without a byte after which a server counts as dead; what models and the loop are set to is usually less."""
_IDLE = 3.0
"""Seconds for which an unused connection is kept: fewer than the five after which vLLM's server closes it."""


class ServerError(RuntimeError):
    """A model's server cannot be reached, refuses a request, or answers nonsense; the message says which."""


class Server:
    """The address of a server that speaks vLLM's dialect of the OpenAI protocol.

    Args:
        url: Address, ``/v1`` included.
        api_key: Sent as a bearer token.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url.rstrip("/")
        self._key = api_key
        self._made: tuple[int, httpx.AsyncClient] | None = None
        self._parents: dict[str, str | None] = {}

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            ServerError: There is no answer, or it is an error or no JSON object.
        """
        import httpx

        try:
            answer = await self._client().post(f"{self.url}/{path}", json=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.status_code != 200:
            raise await self._refused(answer.status_code, answer.content, body)
        return self._read(answer.content)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Send a request and yield the parts of the answer as they come.

        Raises:
            ServerError: As `post`; also when the stream ends too early.
        """
        import httpx

        ended = False
        try:
            async with self._client().stream("POST", f"{self.url}/{path}", json=body) as answer:
                if answer.status_code != 200:
                    raise await self._refused(answer.status_code, await answer.aread(), body)
                async for line in answer.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        ended = True
                        break
                    part = self._read(data.encode())
                    if "error" in part:
                        raise ServerError(f"{self.url} broke off: {_message(part)}")
                    yield part
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not ended:
            raise ServerError(f"{self.url} ended its answer too early")

    def _client(self) -> httpx.AsyncClient:
        process = os.getpid()
        if self._made is None or self._made[0] != process:  # a forked one must not share connections
            import httpx

            limits = httpx.Limits(
                max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE
            )
            headers = {"Authorization": f"Bearer {self._key}"}
            timeout = httpx.Timeout(LONGEST, connect=10.0)
            self._made = process, httpx.AsyncClient(limits=limits, headers=headers, timeout=timeout)
        return self._made[1]

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise ServerError(f"{self.url} answered what is no JSON: {data[:80]!r}") from error
        if not isinstance(answer, dict):
            raise ServerError(f"{self.url} answered a JSON {type(answer).__name__}, not an object")
        return answer

    def _unreachable(self, error: Exception) -> ServerError:
        said = str(error) or type(error).__name__
        return ServerError(f"no answer from {self.url}: {said}; does the server run? `dyna serve` starts one")

    async def _refused(self, status: int, data: bytes, body: dict[str, Any]) -> ServerError:
        try:
            said = _message(json.loads(data))
        except ValueError:
            said = repr(data[:80])
        if status == 404:
            return ServerError(
                f"{self.url} has no model {body.get('model')!r}; it has: {await self._models()}"
            )
        return ServerError(f"{self.url} answered with status {status}: {said}")

    async def check_scoring(self, model: str) -> None:
        """Refuse to let a model score a prompt where that may end its server.

        Raises:
            ServerError: The model is a LoRA module: vLLM 0.32 on a CPU dies when one is asked for log-probabilities of
                a prompt, and with it everything else that it serves.
        """
        if model not in self._parents:
            self._parents = await self._list()
        if self._parents.get(model) is not None:
            raise ServerError(
                f"{model!r} is served as a LoRA module, which may end vLLM when it scores a prompt: serve merged "
                "weights (dyna serve --merged), or do without surprise (simulate: {surprise: false})"
            )

    async def _models(self) -> str:
        try:
            return ", ".join(map(repr, await self._list()))
        except ServerError:
            return "nothing that can be listed"

    async def _list(self) -> dict[str, str | None]:
        """Return the models of the server, and of which model each is a module."""
        import httpx

        try:
            data = (await self._client().get(f"{self.url}/models")).json()["data"]
            return {model["id"]: model.get("parent") for model in data}
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServerError(f"{self.url} does not list its models") from error


def run(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start work on the thread of this process that talks to servers."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of this process, the same to all threads; a forked process gets its own."""
    process = os.getpid()
    if process not in _loops:
        mine = asyncio.new_event_loop()
        if _loops.setdefault(process, mine) is mine:  # atomic: of threads that ask at once, one wins
            threading.Thread(target=mine.run_forever, name="dyna-servers", daemon=True).start()
        else:
            mine.close()
    return _loops[process]


def _message(answer: Any) -> str:
    """Return what an error says, wherever it stands."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return str(error.get("message", error) if isinstance(error, dict) else error)
