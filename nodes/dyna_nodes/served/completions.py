"""From requests of the engine to completions of a vLLM server, and back; token ids on both sides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from dyna_nodes.local.request import Branch, Request, Token
from dyna_nodes.local.text import TextStream

_ID = "token_id:"


def scores(request: Request) -> bool:
    """Tell whether a request asks for nothing but the log-probabilities of what its branches begin with."""
    return request.logprobs and not request.max_new_tokens


def generating(request: Request, model: str, given: Sequence[int], count: int, place: int) -> dict[str, Any]:
    """Return the body that continues a branch.

    Args:
        request: The request.
        model: The server's name of the model.
        given: What the branch begins with.
        count: How many continuations; more than one only when sampling.
        place: Index of the branch, so that branches do not share their random numbers.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": [*request.prefix, *given],
        "max_tokens": max(1, request.max_new_tokens),  # scoring a prompt needs one
        "temperature": request.temperature,
        "return_token_ids": True,
        "skip_special_tokens": False,
    }
    if request.top_p < 1:
        body["top_p"] = request.top_p
    if count > 1:
        body["n"] = count
    if request.stop:
        body["stop"] = list(request.stop)
    if request.stop_ids is not None:
        body |= {"stop_token_ids": list(request.stop_ids), "ignore_eos": True}
    if request.seed is not None and request.temperature > 0:
        body["seed"] = request.seed + place
    if request.logprobs or request.top_logprobs:
        body |= {"logprobs": max(1, request.top_logprobs), "return_tokens_as_token_ids": True}
    if scores(request):
        body["prompt_logprobs"] = 0
    return body


def probing(request: Request, model: str, branch: Sequence[int]) -> dict[str, Any]:
    """Return the body that asks for the probe's distribution after a branch."""
    assert request.probe is not None
    return {
        "model": model,
        "prompt": [*request.prefix, *branch, *request.probe.suffix],
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": len(request.probe.among),
        "logprob_token_ids": list(request.probe.among),
        "return_tokens_as_token_ids": True,
    }


def probed(choice: dict[str, Any], among: Sequence[int]) -> tuple[float, ...]:
    """Return the log-probabilities that a probe asked for."""
    found = choice["logprobs"]["top_logprobs"][0]
    return tuple(float(found[f"{_ID}{i}"]) for i in among)


class Reading:
    """A continuation as it comes in.

    Args:
        request: The request.
        given: What the branch begins with.
        tokenizer: The base model's.
        ends: Token ids that end a branch.
        tell: Called with each token.
    """

    def __init__(
        self,
        request: Request,
        given: Sequence[int],
        tokenizer: Any,
        ends: Collection[int],
        tell: Callable[[Token], None] | None = None,
    ) -> None:
        self._request, self._given, self._ends, self._tell = request, given, ends, tell
        self._stream = TextStream(tokenizer, request.stop)
        self.ids: list[int] = []
        self._logprobs: list[float] = []
        self._tops: list[tuple[tuple[int, float], ...]] = []
        self._given_logprobs: tuple[float, ...] = ()
        self._finish: str | None = None

    def take(self, choice: dict[str, Any]) -> None:
        """Take in an answer, or a part of one.

        Raises:
            KeyError: Fields are missing; also TypeError, ValueError, IndexError for what is odd in other ways.
        """
        ids = [int(i) for i in choice["token_ids"]]
        self._finish = choice.get("finish_reason") or self._finish
        if choice.get("prompt_logprobs"):
            rows = choice["prompt_logprobs"][len(self._request.prefix) :]
            pairs = zip(rows, self._given, strict=True)
            self._given_logprobs = tuple(float(row[str(token)]["logprob"]) for row, token in pairs)
        logprobs = choice.get("logprobs") or {}
        for place, token in enumerate(ids):
            if self._request.logprobs:
                self._logprobs.append(float(logprobs["token_logprobs"][place]))
            if self._request.top_logprobs:
                best = sorted(logprobs["top_logprobs"][place].items(), key=lambda pair: -pair[1])
                kept = best[: self._request.top_logprobs]
                self._tops.append(tuple((int(name.removeprefix(_ID)), float(p)) for name, p in kept))
            last = place == len(ids) - 1 and self._finish is not None
            self._push(token, last)

    def _push(self, token: int, last: bool) -> None:
        self.ids.append(token)
        text = "" if token in self._ends else self._stream.push(token)
        if last:
            text += self._stream.finish()
        if self._tell is not None:
            self._tell(Token(token, text, self._logprobs[-1] if self._logprobs else None))

    @property
    def written(self) -> list[int]:
        """The ids so far, without the one that ended the branch."""
        return self.ids[:-1] if self.ids and self.ids[-1] in self._ends else self.ids

    def branch(self, probe: tuple[float, ...] | None = None) -> Branch:
        """Return what came of it.

        Raises:
            ValueError: The server ended it for a reason of its own.
        """
        request = self._request
        if request.max_new_tokens == 0:
            if not request.logprobs:
                return Branch((), "", "length", probe=probe)
            return Branch((), "", "length", (), self._given_logprobs, probe=probe)
        if self._finish not in ("stop", "length"):
            raise ValueError(f"it ended with finish_reason {self._finish!r}")
        return Branch(
            tuple(self.ids),
            self._stream.text,
            "stop" if self._finish == "stop" else "length",
            tuple(self._logprobs) if request.logprobs else None,
            top_logprobs=tuple(self._tops) if request.top_logprobs else None,
            probe=probe,
        )
