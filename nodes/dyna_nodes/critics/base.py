"""What critics share: judging one simulation at a time, and how a critic says that it is broken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dyna_nodes.nouns import Decision, History, Simulation, Verdict


class PlainCritic(ABC):
    """A critic that only computes: it judges one simulation at a time and needs no event loop."""

    name: str

    @abstractmethod
    def verdict(self, history: History, simulation: Simulation) -> Verdict:
        """Judge one simulation."""

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return [self.verdict(history, simulation) for simulation in simulations]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return self.judge(history, simulations)


def may_ask(*critics: object) -> bool:
    """Tell whether one of the critics may ask a human; one that does not say so, may not."""
    return any(bool(getattr(critic, "can_escalate", False)) for critic in critics)


def failure(critic: str, reason: str) -> Verdict:
    """Return the verdict of a critic that cannot judge.

    It rejects, which is the safe side; ``failed`` tells the caller to apply the configured failure policy
    instead.
    """
    return Verdict(
        decision=Decision.REJECT,
        reason=reason,
        hint=f"This call could not be judged: {reason}",
        critic=critic,
        failed=True,
    )
