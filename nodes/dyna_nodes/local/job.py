"""What the engine keeps about requests under way: jobs, their branches, and the rows that branches share."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from torch import Tensor

from dyna_nodes.local import sampling
from dyna_nodes.local.request import Branch, Request, Result, Token
from dyna_nodes.local.text import TextStream, decode


class Job:
    """A request in the engine, with the future its caller waits on."""

    def __init__(self, request: Request, caller: object) -> None:
        self.request = request
        self.caller = caller  # requests of one call have the same
        self.future: Future[Result] = Future()
        self.branches: list[BranchState] = []
        self.open = len(request.branches)
        self.cached = 0
        self.streamed = False

    def again(self) -> Job:
        """Return a fresh start of the same request for the same caller."""
        job = Job(self.request, self.caller)
        job.future = self.future
        return job

    @property
    def over(self) -> bool:
        """Whether it is answered, failed or cancelled."""
        return self.future.done()

    def fail(self, error: BaseException) -> None:
        """Hand the error to the caller, unless the request is over."""
        with suppress(InvalidStateError):  # cancelled in the meantime: nobody waits
            self.future.set_exception(error)

    def answer(self, tokenizer: Any) -> None:
        """Hand the result to the caller."""
        branches = tuple(b.result(tokenizer) for b in self.branches)
        with suppress(InvalidStateError):
            self.future.set_result(Result(branches, len(self.request.prefix), self.cached))

    def slots(self) -> int:
        """Return how many slots of the arena its branches may need besides the prefix."""
        r = self.request
        suffix = len(r.probe.suffix) if r.probe else 0
        return sum(len(b) + r.max_new_tokens + suffix for b in r.branches)


class BranchState:
    """A branch under way."""

    def __init__(self, job: Job, index: int, row: Row, number: int, tokenizer: Any) -> None:
        request = job.request
        self.job, self.index, self.row, self.number = job, index, row, number
        self.given = list(request.branches[index])
        self.pending = list(self.given)  # tokens that must be fed next
        self.position = len(row.ids)
        self.phase: Literal["given", "generate", "probe", "done"] = "given"
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.given_logprobs: list[float] = []
        self.tops: list[tuple[tuple[int, float], ...]] = []
        self.probe: tuple[float, ...] | None = None
        self.finish: Literal["stop", "length"] | None = None
        self.chance = sampling.generator(request.seed, index)
        streams = request.on_token is not None or request.stop
        self.text = TextStream(tokenizer, request.stop) if streams else None

    @property
    def alive(self) -> bool:
        """Whether there is something left to do."""
        return self.phase != "done" and not self.job.over

    def write(self, token: int, stop_ids: Collection[int]) -> None:
        """Append a generated token and see whether it ends the branch."""
        request = self.job.request
        self.phase = "generate"
        self.ids.append(token)
        text = ""
        if token in (stop_ids if request.stop_ids is None else request.stop_ids):
            self.finish = "stop"
        else:
            self.pending = [token]
            if self.text is not None:
                text = self.text.push(token)
                if self.text.stopped:
                    self.finish = "stop"
            if self.finish is None and len(self.ids) >= request.max_new_tokens:
                self.finish = "length"
        if self.finish is not None and self.text is not None:
            text += self.text.finish()
        if request.on_token is not None:
            self.job.streamed = True
            request.on_token(self.index, Token(token, text, self.logprobs[-1] if self.logprobs else None))

    def result(self, tokenizer: Any) -> Branch:
        """Return what came of it."""
        request = self.job.request
        if self.text is not None:
            text = self.text.text
        else:
            text = decode(tokenizer, self.ids[:-1] if self.finish == "stop" else self.ids)
        return Branch(
            tuple(self.ids),
            text,
            self.finish or "length",
            tuple(self.logprobs) if request.logprobs else None,
            tuple(self.given_logprobs) if request.logprobs else None,
            tuple(self.tops) if request.top_logprobs else None,
            self.probe,
        )


class Row:
    """A distinct prefix and what continues it."""

    def __init__(self, ids: tuple[int, ...], jobs: list[Job]) -> None:
        self.ids = ids
        self.array = np.asarray(ids)
        self.jobs = jobs
        self.index = 0  # in the arena
        self.fed = 0  # slots in use
        self.ready = 0  # slots of the prefix that are computed
        self.written = list(ids)  # the tokens in the slots, as long as they are one sequence
        self.branches: list[BranchState] = []
        self.visible: Tensor | None = None  # additive masks [branches, slots], if there are several

    @property
    def alive(self) -> bool:
        """Whether any branch is alive."""
        return any(b.alive for b in self.branches)
