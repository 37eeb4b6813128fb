"""A gate that lets a critic decide only where the world model has earned it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from dyna_nodes import trust
from dyna_nodes.critics.base import may_ask
from dyna_nodes.critics.compose import checked
from dyna_nodes.nouns import Decision, History, Simulation, Verdict
from dyna_nodes.protocols import Critic


class TrustGate:
    """Asks the critic only about tools for which the world model's predictions have proved reliable.

    A tool is trusted once the lower confidence bound of the chosen metric, over at least ``minimum_count``
    executed calls, reaches ``lower_bound``. In the beginning none is. The measure is selective: calls that
    were rejected have no outcome and are not in it.

    Args:
        critic: The critic behind the gate.
        minimum_count: Executed calls that a tool needs.
        lower_bound: What the bound must reach, in [0, 1].
        metric: ``exact``, ``f1`` or ``outcome``, see `dyna_nodes.scoring`; or ``holds``, for simulations in the
            policy's thinking, see `dyna_nodes.inner`.
        confidence: Confidence of the one-sided bound.
        untrusted: What happens to a call of a tool that is not trusted: a human decides (``escalate``), or it
            runs as it would without a world model (``approve``), or not at all (``reject``).
        source: Where the running figures come from; the graph's state by default, see
            `dyna_nodes.trust.measured`.
        name: Name in the verdicts of the gate itself.
    """

    def __init__(
        self,
        critic: Critic,
        *,
        minimum_count: int = 20,
        lower_bound: float = 0.8,
        metric: Literal["exact", "f1", "outcome", "holds"] = "exact",
        confidence: float = 0.95,
        untrusted: Literal["escalate", "approve", "reject"] = "escalate",
        source: Callable[[], trust.Tally] = trust.current,
        name: str = "trust",
    ) -> None:
        if minimum_count < 1 or not 0 <= lower_bound <= 1:
            raise ValueError(
                f"expected minimum_count >= 1, lower_bound in [0, 1]; got {minimum_count}, {lower_bound}"
            )
        trust.estimate({}, "", metric, confidence=confidence)
        self.critic = critic
        self.minimum_count = minimum_count
        self.lower_bound = lower_bound
        self.metric = metric
        self.confidence = confidence
        self.untrusted = Decision(untrusted)
        self.can_escalate = self.untrusted is Decision.ESCALATE or may_ask(critic)
        self.source = source
        self.name = name

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        gated, trusted = self._split(simulations)
        found = self.critic.judge(history, trusted) if trusted else []
        return self._joined(gated, found, trusted)

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order, without blocking the event loop."""
        gated, trusted = self._split(simulations)
        found = await self.critic.ajudge(history, trusted) if trusted else []
        return self._joined(gated, found, trusted)

    def _split(self, simulations: Sequence[Simulation]) -> tuple[list[Verdict | None], list[Simulation]]:
        """Return the gate's verdicts, None where the critic decides, and the simulations that go to it."""
        figures = self.source()
        gated = [self._gate(figures, simulation) for simulation in simulations]
        return gated, [s for s, verdict in zip(simulations, gated, strict=True) if verdict is None]

    def _joined(
        self, gated: Sequence[Verdict | None], found: list[Verdict], trusted: Sequence[Simulation]
    ) -> list[Verdict]:
        rest = iter(checked(self.critic, found, trusted))
        return [next(rest) if verdict is None else verdict for verdict in gated]

    def _gate(self, figures: trust.Tally, simulation: Simulation) -> Verdict | None:
        tool = simulation.action.tool
        estimate = trust.estimate(figures, tool, self.metric, confidence=self.confidence)
        if estimate.calls >= self.minimum_count and estimate.lower >= self.lower_bound:
            return None
        why = f"{estimate.calls} of {self.minimum_count} executed calls"
        if estimate.calls >= self.minimum_count:
            why = f"{self.metric}: lower bound {estimate.lower:.2f}, needed {self.lower_bound:.2f}"
        return Verdict(
            decision=self.untrusted,
            reason=f"trust: predictions for {tool!r} are not reliable enough yet ({why})",
            hint="This call should not run: its outcome cannot be predicted well enough yet."
            if self.untrusted is Decision.REJECT
            else "",
            critic=self.name,
        )
