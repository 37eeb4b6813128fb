"""Waiting for requests that run together, wherever they run: the first failure cancels the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future

from dyna_nodes.local.request import Result


def wait_for(futures: Sequence[Future[Result]], timeout: float | None) -> list[Result]:
    """Return the results in order.

    Raises:
        TimeoutError: They did not come in time.
    """
    end = None if timeout is None else time.monotonic() + timeout
    try:
        return [f.result(None if end is None else max(0, end - time.monotonic())) for f in futures]
    except TimeoutError:
        raise TimeoutError(f"no answer within {timeout} seconds") from None
    finally:
        for future in futures:
            future.cancel()


async def await_all(futures: Sequence[Future[Result]], timeout: float | None) -> list[Result]:
    """Return the results in order; cancelling the task cancels the requests.

    Raises:
        TimeoutError: They did not come in time.
    """
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"no answer within {timeout} seconds") from None
    finally:
        for future in futures:
            future.cancel()
