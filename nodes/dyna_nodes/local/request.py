"""What the engine is asked and what it answers: one small request type for generating, branching, scoring,
probing.

A request is a prefix and the branches that continue it. The prefix is computed once, however many branches
there are, and not at all as far as an earlier request has left it in the engine's store.

* *n samples*: ``Request(prefix, branches=[()] * n, max_new_tokens=…, temperature=…)``.
* *n actions, each imagined onwards*: ``Request(prefix, branches=[ids_1, …, ids_n], max_new_tokens=…)``.
* *the log-probability of given continuations*: ``Request(prefix, branches=[ids_1, …], logprobs=True)``.
* *a distribution over a few tokens after what was generated* (the digits of a value, say):
  ``probe=Probe(suffix, among)``, alone or together with any of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from dyna_nodes.codec import ChatCodec


class Token(NamedTuple):
    """One generated token, as the ``on_token`` callback gets it.

    Attributes:
        id: Token id.
        text: Text that became certain with this token: empty while a character or a possible stop string is
            incomplete. All texts of a branch together are the text of the branch.
        logprob: Log-probability under the model (before temperature and top-p), or None if not asked for.
    """

    id: int
    text: str
    logprob: float | None


class Probe(NamedTuple):
    """Asks for the next-token distribution after a branch and a forced suffix.

    Attributes:
        suffix: Token ids put after the branch (a stop token is left out); may be empty.
        among: Token ids whose log-probabilities are wanted.
    """

    suffix: Sequence[int]
    among: Sequence[int]


@dataclass(frozen=True, slots=True)
class Request:
    """A prefix and the branches that continue it.

    Attributes:
        prefix: Token ids, at least one.
        branches: For each branch the token ids it begins with, possibly none.
        max_new_tokens: Tokens to generate per branch after that; 0 only scores or probes.
        temperature: 0 is greedy.
        top_p: Mass of the nucleus that is sampled from, in (0, 1].
        stop: Strings that end a branch; they are cut off the text.
        stop_ids: Token ids that end a branch; None is the tokenizer's end-of-turn.
        seed: Makes sampling reproducible, whatever else is in the batch; None is a fresh seed.
        logprobs: Return log-probabilities of the branches' given and generated tokens.
        top_logprobs: Also return the most probable tokens at each generated position.
        probe: Asked at the end of every branch.
        adapter: Name of a loaded adapter; None is the base model alone.
        on_token: Called in the engine's thread as ``on_token(branch index, token)``; must be quick. If it
            raises, this request fails.
    """

    prefix: Sequence[int]
    branches: Sequence[Sequence[int]] = ((),)
    max_new_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    stop_ids: Sequence[int] | None = None
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    probe: Probe | None = None
    adapter: str | None = None
    on_token: Callable[[int, Token], None] | None = None

    def check(self, vocabulary: int, longest: int) -> None:
        """Raise ValueError if this cannot run on a model with this vocabulary size and context length."""
        if not self.prefix:
            raise ValueError("prefix: at least one token is needed")
        if not self.branches:
            raise ValueError("branches: at least one is needed; use [()] for one that begins empty")
        numbers = (self.max_new_tokens, self.temperature, self.top_logprobs)
        if min(numbers) < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "expected max_new_tokens >= 0, temperature >= 0, 0 < top_p <= 1, top_logprobs >= 0; got "
                f"{self.max_new_tokens}, {self.temperature}, {self.top_p}, {self.top_logprobs}"
            )
        if any(not s for s in self.stop):
            raise ValueError("stop: an empty string would end every branch at once")
        probe = self.probe or Probe((), ())
        for where, ids in (
            ("prefix", self.prefix),
            *((f"branches[{i}]", b) for i, b in enumerate(self.branches)),
            ("probe.suffix", probe.suffix),
            ("probe.among", probe.among),
        ):
            if ids and not (min(ids) >= 0 and max(ids) < vocabulary):
                raise ValueError(f"{where}: a token id is outside the vocabulary of {vocabulary}")
        length = len(self.prefix) + max(map(len, self.branches)) + self.max_new_tokens + len(probe.suffix)
        if length > longest:
            raise ValueError(
                f"prefix, branch, new tokens and probe need {length} positions, the model has {longest}: "
                "shorten the history or lower max_new_tokens"
            )


class Branch(NamedTuple):
    """What came of one branch.

    Attributes:
        ids: Generated token ids; ends with the stop token, if one ended it.
        text: The generated text, without stop token and stop string.
        finish: ``stop`` (stop token or stop string) or ``length``.
        logprobs: Log-probability of each of ``ids`` (natural logarithm, before temperature), if asked for.
        given_logprobs: The same for the tokens that the branch began with.
        top_logprobs: Per generated token the most probable ``(id, logprob)`` pairs, best first, if asked for.
        probe: Log-probabilities of the probe's ``among`` under the whole vocabulary, if asked for.
    """

    ids: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]
    logprobs: tuple[float, ...] | None = None
    given_logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    probe: tuple[float, ...] | None = None


class Result(NamedTuple):
    """The answer to a request.

    Attributes:
        branches: In the order of the request.
        prompt_tokens: Length of the prefix.
        cached_tokens: How many of these were not computed again.
    """

    branches: tuple[Branch, ...]
    prompt_tokens: int
    cached_tokens: int


class TextEngine(Protocol):
    """What runs requests on one base model, wherever its weights are: in process, or behind a server.

    Attributes:
        tokenizer: The tokenizer of the base.
        base_name: The name of the base.
        context_length: Most tokens of a prefix and what follows it.
    """

    tokenizer: Any
    base_name: str
    context_length: int

    @property
    def chat_codec(self) -> ChatCodec:
        """The codec of conversations for this tokenizer."""
        ...

    def submit(self, request: Request) -> Future[Result]:
        """Queue a request; cancelling the future drops it."""
        ...

    def generate(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Result]:
        """Run requests together and wait for them."""
        ...

    async def agenerate(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Result]:
        """Run requests together and await them."""
        ...

    def expect(self, callers: int) -> None:
        """Say that so many callers are about to ask, so that they share a batch."""
        ...
