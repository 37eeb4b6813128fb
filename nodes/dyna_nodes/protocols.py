"""The two things a user may bring: a world model and a critic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dyna_nodes.nouns import History, Prediction, Query, Simulation, Verdict


@runtime_checkable
class WorldModel(Protocol):
    """Imagines what actions would do.

    ``predict`` gets all queries of a step at once and answers in their order. A query that cannot be
    answered gets a `Prediction` with ``error`` set; raising is allowed and counts as an error of every query
    of the call.

    A model with an attribute ``reads_thinking`` that is true is told in `Query.thinking` what the policy thought
    when it proposed the action, and is scored as a simulation in the policy's thinking is. All others are told the
    task and what was executed, and no thoughts.
    """

    name: str

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        ...

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order, without blocking the event loop."""
        ...


@runtime_checkable
class SurprisedWorldModel(WorldModel, Protocol):
    """A world model that can also tell how likely it had thought what really happened.

    observe asks it about executed calls, all calls of a round at once. It answers in their order: −log p per
    token of the real observation, in nats, or None where it cannot tell. Raising is allowed: then the score is
    missing.
    """

    def surprise(
        self, queries: Sequence[Query], observations: Sequence[str], successes: Sequence[bool] = ()
    ) -> list[float | None]:
        """Return the surprise of each observation; ``successes`` tells which steps solved the task."""
        ...

    async def asurprise(
        self, queries: Sequence[Query], observations: Sequence[str], successes: Sequence[bool] = ()
    ) -> list[float | None]:
        """Return what `surprise` returns, without blocking the event loop."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Judges simulations: one verdict per simulation, in order; the verdicts are bound by the caller."""

    name: str

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        ...

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order, without blocking the event loop."""
        ...
