"""What the loop is made of: a world model and a critic, which a user may bring, and what proposes actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from dyna_nodes.codec.outcome import Outcome
from dyna_nodes.effects import Effect
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

    def surprise(self, queries: Sequence[Query], outcomes: Sequence[Outcome]) -> list[float | None]:
        """Return the surprise of what each step really led to."""
        ...

    async def asurprise(self, queries: Sequence[Query], outcomes: Sequence[Outcome]) -> list[float | None]:
        """Return what `surprise` returns, without blocking the event loop."""
        ...


class Proposer(Protocol):
    """What proposes actions: a chat model with its tools, or the agent that a loop is part of."""

    name: str

    def propose(
        self, messages: Sequence[BaseMessage], count: int, config: RunnableConfig, *, again: bool = False
    ) -> Effect:
        """Return the effect of asking for ``count`` responses; its value is a list of AIMessages.

        ``again``: for others than the last time, which a seeded model would only repeat.
        """
        ...

    def go_on(self, conversations: Sequence[Sequence[BaseMessage]], config: RunnableConfig) -> Effect:
        """Return the effect of asking once after each of several imagined conversations, all at once."""
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
