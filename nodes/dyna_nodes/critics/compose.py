"""Which critic judges which call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from dyna_nodes.critics.base import failure, may_ask
from dyna_nodes.critics.outcome import matches
from dyna_nodes.nouns import Decision, History, Simulation, Verdict
from dyna_nodes.protocols import Critic


class Rule(NamedTuple):
    """A critic and the tools that it judges, as a glob or several."""

    critic: Critic
    tools: str | Sequence[str] = "*"


class FirstMatch:
    """Lets the first critic judge a call whose globs match its tool.

    Each critic gets all its simulations in one call. Scores are the critics' own and compare only between
    calls that the same critic judged.

    Args:
        rules: Critics with their tools, first match first.
        otherwise: What happens to a call that no rule matches.
        name: Name in the verdicts on such calls.
    """

    def __init__(
        self,
        rules: Sequence[Rule | tuple[Critic, str | Sequence[str]]],
        *,
        otherwise: Literal["approve", "reject", "escalate"] = "approve",
        name: str = "first_match",
    ) -> None:
        self.rules = tuple(Rule(*rule) for rule in rules)
        self.otherwise = Decision(otherwise)
        self.can_escalate = self.otherwise is Decision.ESCALATE or may_ask(*(r.critic for r in self.rules))
        self.name = name

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        verdicts: dict[int, Verdict] = {}
        for rule, indices in self._shares(simulations):
            mine = [simulations[i] for i in indices]
            verdicts.update(
                zip(indices, checked(rule.critic, rule.critic.judge(history, mine), mine), strict=True)
            )
        return [verdicts.get(i) or self._unmatched(s) for i, s in enumerate(simulations)]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order, without blocking the event loop."""
        verdicts: dict[int, Verdict] = {}
        for rule, indices in self._shares(simulations):
            mine = [simulations[i] for i in indices]
            found = await rule.critic.ajudge(history, mine)
            verdicts.update(zip(indices, checked(rule.critic, found, mine), strict=True))
        return [verdicts.get(i) or self._unmatched(s) for i, s in enumerate(simulations)]

    def _shares(self, simulations: Sequence[Simulation]) -> list[tuple[Rule, list[int]]]:
        shares: list[tuple[Rule, list[int]]] = [(rule, []) for rule in self.rules]
        for index, simulation in enumerate(simulations):
            for rule, indices in shares:
                if matches(simulation.action.tool, rule.tools):
                    indices.append(index)
                    break
        return [(rule, indices) for rule, indices in shares if indices]

    def _unmatched(self, simulation: Simulation) -> Verdict:
        tool = simulation.action.tool
        return Verdict(
            decision=self.otherwise,
            reason=f"no critic is named for the tool {tool!r}",
            hint="" if self.otherwise is Decision.APPROVE else f"The tool {tool!r} may not be used here.",
            critic=self.name,
        )


class Weighted(NamedTuple):
    """A critic in a sum, and the factor of its score."""

    critic: Critic
    weight: float = 1.0


_SEVERITY: Mapping[Decision, int] = {
    Decision.APPROVE: 0,
    Decision.MODIFY: 1,
    Decision.ESCALATE: 2,
    Decision.REJECT: 3,
    Decision.END: 4,
}


class Together:
    """Asks several critics about every call: the strictest decision counts, and weighted scores add up.

    From lax to strict: approve, modify, escalate, reject, end. One critic that fails makes the verdict a
    failure.

    Args:
        critics: The critics, each alone or with a weight.
        name: Name in verdicts.
    """

    def __init__(self, critics: Sequence[Critic | Weighted], *, name: str = "together") -> None:
        self.critics = tuple(c if isinstance(c, Weighted) else Weighted(c) for c in critics)
        if not self.critics:
            raise ValueError("at least one critic is needed")
        self.can_escalate = may_ask(*(c.critic for c in self.critics))
        self.name = name

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        rows = [checked(c.critic, c.critic.judge(history, simulations), simulations) for c in self.critics]
        return [self._combined(column) for column in zip(*rows, strict=True)]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order, without blocking the event loop."""
        rows = [
            checked(c.critic, await c.critic.ajudge(history, simulations), simulations) for c in self.critics
        ]
        return [self._combined(column) for column in zip(*rows, strict=True)]

    def _combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        strictest = max(verdicts, key=lambda v: (v.failed, _SEVERITY[v.decision]))
        scores = [
            w.weight * v.score for w, v in zip(self.critics, verdicts, strict=True) if v.score is not None
        ]
        return strictest.model_copy(
            update={
                "reason": "; ".join(v.reason for v in verdicts if v.reason),
                "hint": " ".join(v.hint for v in verdicts if v.hint and v.decision is not Decision.APPROVE),
                "score": sum(scores) if scores else None,
                "critic": self.name,
            }
        )


def checked(critic: Critic, verdicts: list[Verdict], simulations: Sequence[Simulation]) -> list[Verdict]:
    """Return the verdicts, or failures when there is not one per simulation."""
    if len(verdicts) == len(simulations):
        return verdicts
    reason = f"{critic.name} gave {len(verdicts)} verdicts for {len(simulations)} simulations"
    return [failure(critic.name, reason) for _ in simulations]
