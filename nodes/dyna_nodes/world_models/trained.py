"""The trained world model: a base model and an adapter, in process or served, reading and writing with the codec.

After "From Word to World" (arXiv 2512.18832, section 3), with this project's return-to-go read off the digits
after the imagined observation; see `dyna_nodes.codec.world_model`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from dyna_nodes.asking import quoted
from dyna_nodes.codec import ChatCodec, Context, Outcome, WorldModelCodec, expected_return
from dyna_nodes.nouns import History, Prediction, Query

if TYPE_CHECKING:
    from dyna_nodes.local.engine import Branch, Request, Result, TextEngine

ValueKind = Literal["imagined", "blind"]


class _Group(NamedTuple):
    """The queries of one call that share a history, each action once.

    Attributes:
        prefix: Token ids of the history.
        questions: Token ids of each distinct action.
        members: For each question, the indices of the queries that ask it.
    """

    prefix: list[int]
    questions: list[list[int]]
    members: list[list[int]]


class TrainedWorldModel:
    """Imagines with a language model that was trained on experience.

    All queries of a call run in one batch of the engine, and queries with the same history share its
    computation. Decoding is greedy. Reward and end are predicted where the answer says them; a plain
    observation says neither, since a model that never learned them writes one, too. A history that is too
    long for the model, an answer that does not end, and an empty answer are predictions with an ``error``.

    Args:
        engine: The engine that holds the base model: in process, or a `dyna_nodes.served.ServedEngine`.
        adapter: Name of an adapter that was loaded into the engine, or that the server gives the model; None is the
            untrained base.
        context: ``agent``: what the agent has seen, a hidden state in the history is left out.
            ``privileged``: the hidden state is told to the model, and a history without one is an error; for
            simulators and bounds.
        value: Where the imagined return comes from: after the imagined observation (``imagined``); right
            after the action, without imagining anything (``blind``, the control of what imagination adds:
            such a prediction has a value and nothing else); or nowhere (None).
        max_new_tokens: Longest observation, in tokens.
        name: Name in predictions.

    Example:
        ```python
        engine = get_engine("smollm2")
        engine.load_adapter("world-model", "adapters/world-model")
        model = TrainedWorldModel(engine, "world-model")
        query = Query(history=History(task=task), action=Action.command("open fridge 1"))
        [prediction] = model.predict([query])
        ```
    """

    def __init__(
        self,
        engine: TextEngine,
        adapter: str | None = None,
        *,
        context: Context = "agent",
        value: ValueKind | None = "imagined",
        max_new_tokens: int = 160,
        name: str = "trained",
    ) -> None:
        if context not in ("agent", "privileged"):
            raise ValueError(f"unknown context {context!r}; choose 'agent' or 'privileged'")
        if value not in ("imagined", "blind", None):
            raise ValueError(f"unknown value {value!r}; choose 'imagined', 'blind' or None")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        self.engine = engine
        self.adapter = adapter
        self.context = context
        self.value = value
        self.max_new_tokens = max_new_tokens
        self.name = name
        self.codec = WorldModelCodec(ChatCodec(engine.tokenizer))
        self._longest_token = max(map(len, engine.tokenizer.get_vocab()))

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        groups, errors = self._groups(queries)
        results = self.engine.generate([self._request(g) for g in groups]) if groups else []
        return self._predictions(len(queries), groups, results, errors)

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order, without blocking the event loop."""
        groups, errors = self._groups(queries)
        results = await self.engine.agenerate([self._request(g) for g in groups]) if groups else []
        return self._predictions(len(queries), groups, results, errors)

    def surprise(self, queries: Sequence[Query], outcomes: Sequence[Outcome]) -> list[float | None]:
        """Return how surprising it was what really happened.

        Args:
            queries: History and executed action of each step.
            outcomes: What each step really led to.

        Returns:
            −log p per token in nats, end-of-turn included; None where the step does not fit the model.
        """
        requests, lengths = self._scoring(queries, outcomes)
        asked = [request for request in requests if request is not None]
        return _surprises(requests, lengths, self.engine.generate(asked) if asked else [])

    async def asurprise(self, queries: Sequence[Query], outcomes: Sequence[Outcome]) -> list[float | None]:
        """Return what `surprise` returns, without blocking the event loop."""
        requests, lengths = self._scoring(queries, outcomes)
        asked = [request for request in requests if request is not None]
        return _surprises(requests, lengths, await self.engine.agenerate(asked) if asked else [])

    def _history(self, history: History) -> History:
        if self.context == "privileged":
            if history.hidden_state is None:
                raise ValueError("the privileged context needs a hidden state, and the history has none")
            return history
        return history if history.hidden_state is None else history.model_copy(update={"hidden_state": None})

    def _groups(self, queries: Sequence[Query]) -> tuple[list[_Group], dict[int, str]]:
        """Sort queries by history and action; also return, by index, why a query cannot be asked."""
        new_tokens = 0 if self.value == "blind" else self.max_new_tokens
        reserve = new_tokens + (len(self.codec.return_suffix) if self.value else 0)
        groups: dict[tuple[int, ...], tuple[_Group, dict[str, int]]] = {}
        errors: dict[int, str] = {}
        encoded: dict[int, list[int]] = {}  # candidates of a step share one history object: encode it once
        for index, query in enumerate(queries):
            try:
                if id(query.history) not in encoded:
                    self._check_size(query.history)
                    encoded[id(query.history)] = self.codec.prefix(self._history(query.history))
                prefix = encoded[id(query.history)]
                question = self.codec.question(query.action)
                self._check_length(len(prefix) + len(question) + reserve, query.history)
            except ValueError as error:
                errors[index] = str(error)
                continue
            group, known = groups.setdefault(tuple(prefix), (_Group(prefix, [], []), {}))
            text = query.action.text
            if text not in known:
                known[text] = len(group.questions)
                group.questions.append(question)
                group.members.append([])
            group.members[known[text]].append(index)
        return [group for group, _ in groups.values()], errors

    def _check_size(self, history: History, *more: str) -> None:
        """Refuse what cannot fit however it is tokenised; tokenising megabytes takes much longer than this."""
        size = sum(map(len, (history.task, *(step.observation for step in history.steps), *more)))
        if size > self.engine.context_length * self._longest_token:
            raise ValueError(
                f"a history of {len(history.steps)} steps and {size} characters does not fit into the "
                f"{self.engine.context_length} tokens that {self.engine.base_name} reads: let the tools return less"
            )

    def _check_length(self, tokens: int, history: History) -> None:
        if tokens > self.engine.context_length:
            raise ValueError(
                f"a history of {len(history.steps)} steps needs {tokens} tokens, {self.engine.base_name} "
                f"reads {self.engine.context_length}: use a model with a longer context or shorter episodes"
            )

    def _request(self, group: _Group) -> Request:
        from dyna_nodes.local.engine import Probe, Request

        return Request(
            prefix=group.prefix,
            branches=group.questions,
            max_new_tokens=0 if self.value == "blind" else self.max_new_tokens,
            top_logprobs=1,  # decoding is greedy: the most probable token is the generated one
            probe=Probe(self.codec.return_suffix, self.codec.level_ids) if self.value else None,
            adapter=self.adapter,
        )

    def _predictions(
        self, count: int, groups: Sequence[_Group], results: Sequence[Result], errors: dict[int, str]
    ) -> list[Prediction]:
        answers = {index: Prediction(model=self.name, error=error) for index, error in errors.items()}
        for group, result in zip(groups, results, strict=True):
            for members, branch in zip(group.members, result.branches, strict=True):
                prediction = self._prediction(branch)
                answers[members[0]] = prediction
                for index in members[1:]:  # the same question again costs nothing
                    answers[index] = prediction.model_copy(update={"tokens": 0})
        return [answers[index] for index in range(count)]

    def _prediction(self, branch: Branch) -> Prediction:
        value = None
        if branch.probe is not None:
            value = expected_return([math.exp(p) for p in branch.probe])
        if self.value == "blind":
            return Prediction(value=value, model=self.name)
        tokens = len(branch.ids)
        if branch.finish != "stop":
            error = f"no end after {tokens} tokens: {quoted(branch.text)}"
            return Prediction(model=self.name, tokens=tokens, error=error)
        outcome = self.codec.parse(branch.text)
        if not branch.text.strip():
            return Prediction(model=self.name, tokens=tokens, error="the answer is empty")
        best = [top[0][1] for top in branch.top_logprobs or ()]
        return Prediction(
            observation=outcome.observation,
            reward=outcome.reward,
            done=outcome.done,
            success=outcome.success,
            value=value,
            confidence=min(1.0, math.exp(sum(best) / len(best))) if best else None,
            tokens=tokens,
            model=self.name,
        )

    def _scoring(
        self, queries: Sequence[Query], outcomes: Sequence[Outcome]
    ) -> tuple[list[Request | None], list[int]]:
        from dyna_nodes.local.engine import Request

        if len(outcomes) != len(queries):
            raise ValueError(f"{len(queries)} queries need as many outcomes, got {len(outcomes)}")
        requests: list[Request | None] = []
        lengths: list[int] = []
        for query, outcome in zip(queries, outcomes, strict=True):
            try:
                self._check_size(query.history, outcome.observation)
            except ValueError:
                requests.append(None)
                lengths.append(0)
                continue
            answer = self.codec.answer(outcome)
            prefix = [*self._prefix(query.history), *self.codec.question(query.action)]
            fits = len(prefix) + len(answer) <= self.engine.context_length
            request = Request(prefix=prefix, branches=[answer], logprobs=True, adapter=self.adapter)
            requests.append(request if fits else None)
            lengths.append(len(answer))
        return requests, lengths

    def _prefix(self, history: History) -> list[int]:
        return self.codec.prefix(self._history(history))


def _surprises(
    requests: Sequence[Request | None], lengths: Sequence[int], results: Sequence[Result]
) -> list[float | None]:
    answered = iter(results)
    found: list[float | None] = []
    for request, length in zip(requests, lengths, strict=True):
        if request is None:
            found.append(None)
            continue
        given = next(answered).branches[0].given_logprobs or ()
        found.append(-sum(given) / length)
    return found
