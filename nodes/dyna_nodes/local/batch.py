"""One batch: requests of one adapter, from prefix to finished branches.

A *row* is a distinct prefix with all branches, of all requests, that continue it. First the prefixes are
computed, as far as the store or an earlier row of the batch does not have them; then every forward carries
the next tokens of all branches that are alive. A finished branch drops out, a finished request is handed back
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dyna_nodes.local import sampling
from dyna_nodes.local.job import BranchState, Job, Row
from dyna_nodes.local.ragged import Arena, Plan, Segment
from dyna_nodes.local.store import PrefixStore, common_prefix

CHUNK = 512
"""Most tokens of a forward; bounds the memory of activations."""
_SCORED_AT_ONCE = 64  # rows of logits that exist at a time when given tokens are scored
_WORTH_WAITING = 32  # tokens that must be shared for a row to wait until another row of the batch has them


class _Want(NamedTuple):
    """What is to be done with the final hidden state of token ``at`` of a forward."""

    at: int
    branch: BranchState
    given: int | None  # score this given token, or else let the branch advance


class Batch:
    """Runs jobs of one adapter together.

    Args:
        model: The causal language model, with the right adapter active and ragged attention.
        tokenizer: Its tokenizer.
        arena: Memory for keys and values.
        store: Prefixes of earlier requests.
        stop_ids: Token ids that end a branch unless the request names others.

    Attributes:
        on_forward: Called with the number of tokens before every forward; what it raises ends the batch.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        arena: Arena,
        store: PrefixStore,
        stop_ids: frozenset[int],
    ) -> None:
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
        self._tokenizer, self._arena, self._store = tokenizer, arena, store
        self._stop_ids = stop_ids
        self.on_forward: Callable[[int], None] = lambda tokens: None

    def run(self, jobs: Sequence[Job], adapter: str | None) -> None:
        """Answer all jobs.

        Errors that concern one request reach its future alone; errors of the whole batch are raised and leave
        the unfinished jobs open.
        """
        self._adapter = adapter
        rows = self._rows(jobs)
        self._arena.open(len(rows), max(len(r.ids) + sum(j.slots() for j in r.jobs) for r in rows))
        self._prefill(rows)
        while True:
            rows = self._living(rows)
            if not rows:
                return
            self._advance(rows)

    def _rows(self, jobs: Sequence[Job]) -> list[Row]:
        by_prefix: dict[tuple[int, ...], list[Job]] = {}
        for job in jobs:
            by_prefix.setdefault(tuple(job.request.prefix), []).append(job)
        rows = sorted((Row(ids, of) for ids, of in by_prefix.items()), key=lambda r: len(r.ids))
        for index, row in enumerate(rows):
            row.index = index
            for job in row.jobs:
                job.branches = [
                    BranchState(job, i, row, len(row.branches) + i, self._tokenizer)
                    for i in range(len(job.request.branches))
                ]
                row.branches += job.branches
        return rows

    # Prefixes

    def _prefill(self, rows: Sequence[Row]) -> None:
        pack: list[Segment] = []
        complete: list[tuple[int, Row]] = []
        waiting: list[Row] = []  # rows with tokens in the pack
        size = 0

        def flush() -> None:
            nonlocal size
            if pack:
                hidden = self._forward(pack)
                wants = [w for at, row in complete for w in self._begin(row, at)]
                self._use(hidden, wants)
            for row in waiting:
                row.ready = row.fed
            for used in (pack, complete, waiting):
                used.clear()
            size = 0

        done: list[Row] = []
        for row in rows:
            if not row.alive:
                continue
            known, source = self._known(row, done)
            if waiting and max(common_prefix(row.array, w.array) for w in waiting) >= known + _WORTH_WAITING:
                flush()
                known, source = self._known(row, done)
            if source is not None:
                self._arena.kv[:, :, row.index, :known] = source
            row.fed = row.ready = known
            for job in row.jobs:
                job.cached = known
            done.append(row)
            while row.fed < len(row.ids):
                end = min(len(row.ids), row.fed + CHUNK - size)
                pack.append(Segment(row.index, row.fed, row.ids[row.fed : end], row.fed, None))
                size += end - row.fed
                row.fed = end
                if row not in waiting:
                    waiting.append(row)
                if end == len(row.ids):
                    complete.append((size - 1, row))
                if size >= CHUNK:
                    flush()
        flush()

    def _known(self, row: Row, done: Sequence[Row]) -> tuple[int, Tensor | None]:
        """Return how many leading tokens are computed already, and where; the last one never counts."""
        most = len(row.ids) - 1
        known, source = self._store.match(self._adapter, row.array[:most])
        for other in done:
            common = common_prefix(row.array[:most], other.array[: other.ready])
            if common > known:
                known, source = common, self._arena.kv[:, :, other.index, :common]
        return known, source

    def _begin(self, row: Row, at: int) -> list[_Want]:
        """Start the branches of a complete prefix whose last token is token ``at`` of the forward."""
        if len(row.branches) > 1:
            like = self._arena.kv
            shape = (len(row.branches), self._arena.slots)
            row.visible = torch.full(shape, float("-inf"), dtype=like.dtype, device=like.device)
            row.visible[:, : len(row.ids)] = 0
        wants = []
        for branch in row.branches:
            if not branch.given:
                wants.append(_Want(at, branch, None))
            elif branch.job.request.logprobs:
                wants.append(_Want(at, branch, branch.given[0]))
        return wants

    # Branches

    def _living(self, rows: Sequence[Row]) -> list[Row]:
        alive = []
        for row in rows:
            if row.alive:
                alive.append(row)
            elif row.fed >= len(row.ids):
                keep = len(row.written)
                self._store.put(self._adapter, row.written, self._arena.kv[:, :, row.index, :keep])
        return alive

    def _advance(self, rows: Sequence[Row]) -> None:
        """Feed the next tokens of all living branches."""
        segments: list[Segment] = []
        wants: list[_Want] = []
        size = 0
        for row in rows:
            for branch in row.branches:
                if not branch.alive or size >= CHUNK:
                    continue
                tokens = branch.pending[: CHUNK - size]
                segments.append(self._place(row, branch, tokens))
                if branch.phase == "given" and branch.job.request.logprobs:
                    fed = len(branch.given) - len(branch.pending)
                    rest = enumerate(branch.given[fed + 1 : fed + 1 + len(tokens)])
                    wants += [_Want(size + i, branch, token) for i, token in rest]
                size += len(tokens)
                branch.pending = branch.pending[len(tokens) :]
                branch.position += len(tokens)
                if not branch.pending:
                    wants.append(_Want(size - 1, branch, None))
        self._use(self._forward(segments), wants)

    def _place(self, row: Row, branch: BranchState, tokens: list[int]) -> Segment:
        start = row.fed
        row.fed += len(tokens)
        visible = None
        if row.visible is not None:
            visible = row.visible[branch.number]
            visible[start : row.fed] = 0
        elif branch.phase != "probe" and len(row.written) == start:
            row.written += tokens
        return Segment(row.index, start, tokens, branch.position, visible)

    def _forward(self, segments: Sequence[Segment]) -> Tensor:
        """Return the final hidden states ``[tokens, hidden size]``."""
        plan = Plan(self._arena, segments)
        self.on_forward(plan.ids.shape[1])
        output = self._decoder(
            input_ids=plan.ids, position_ids=plan.positions, use_cache=False, ragged=plan, return_dict=True
        )
        return output.last_hidden_state[0]  # type: ignore[no-any-return]

    def _use(self, hidden: Tensor, wants: Sequence[_Want]) -> None:
        scored = [w for w in wants if w.given is not None]
        for first in range(0, len(scored), _SCORED_AT_ONCE):
            part = scored[first : first + _SCORED_AT_ONCE]
            logits = self._head(hidden[[w.at for w in part]]).float()
            given = torch.tensor([[w.given] for w in part], device=logits.device)
            values = (logits.gather(1, given)[:, 0] - logits.logsumexp(-1)).tolist()
            for want, value in zip(part, values, strict=True):
                want.branch.given_logprobs.append(value)
        advancing = [w for w in wants if w.given is None and w.branch.alive]
        if advancing:
            places = sorted({w.at for w in advancing})
            where = {at: i for i, at in enumerate(places)}
            logits = self._head(hidden[places]).float()
            self._continue(logits, [where[w.at] for w in advancing], [w.branch for w in advancing])

    def _continue(self, logits: Tensor, rows: list[int], branches: list[BranchState]) -> None:
        """Let branches go on from logits ``[places, vocabulary]``; ``rows`` says which place is whose."""
        writing = [i for i, b in enumerate(branches) if b.phase in ("given", "generate") and b.finish is None]
        writing = [i for i in writing if branches[i].job.request.max_new_tokens]
        if writing:
            mine = [rows[i] for i in writing]
            these = logits if mine == list(range(len(logits))) else logits[mine]
            requests = [branches[i].job.request for i in writing]
            tokens = sampling.choose(
                these,
                [r.temperature for r in requests],
                [r.top_p for r in requests],
                [branches[i].chance for i in writing],
            )
            self._log(these, tokens, [branches[i] for i in writing])
            for i, token in zip(writing, tokens, strict=True):
                _guard(branches[i].job, branches[i].write, token, self._stop_ids)
        for row, branch in zip(rows, branches, strict=True):
            if branch.alive and (branch.finish or not branch.job.request.max_new_tokens):
                self._end(branch, logits[row])

    def _log(self, logits: Tensor, tokens: list[int], branches: list[BranchState]) -> None:
        asked = [i for i, b in enumerate(branches) if b.job.request.logprobs or b.job.request.top_logprobs]
        if not asked:
            return
        logprobs = logits[asked].log_softmax(-1)
        ids = torch.tensor([[tokens[i]] for i in asked], device=logits.device)
        taken = logprobs.gather(1, ids)[:, 0].tolist()
        most = max(branches[i].job.request.top_logprobs for i in asked)
        best = logprobs.topk(most) if most else None
        for at, i in enumerate(asked):
            branches[i].logprobs.append(taken[at])
            if best is not None and (wanted := branches[i].job.request.top_logprobs):
                ids_and_values = (best.indices[at, :wanted].tolist(), best.values[at, :wanted].tolist())
                branches[i].tops.append(tuple(zip(*ids_and_values, strict=True)))

    def _end(self, branch: BranchState, logits: Tensor) -> None:
        """Finish a branch that generates no more, or feed its probe; ``logits`` follow the last token fed."""
        probe = branch.job.request.probe
        if probe is not None and branch.phase != "probe":
            branch.phase = "probe"
            branch.pending = [*branch.pending, *probe.suffix]
            if branch.pending:
                return
        if probe is not None:
            logprobs = logits.log_softmax(-1)
            branch.probe = tuple(logprobs[list(probe.among)].tolist())
        branch.phase = "done"
        branch.job.open -= 1
        if branch.job.open == 0:
            _guard(branch.job, branch.job.answer, self._tokenizer)


def _guard(job: Job, step: Callable[..., None], *args: Any) -> None:
    """Run a step that concerns one request alone: if it raises, that one fails and the batch goes on."""
    try:
        step(*args)
    except Exception as error:
        job.fail(error)
