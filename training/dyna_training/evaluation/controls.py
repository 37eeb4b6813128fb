"""Critics that choose among candidates without a world model: what a world model has to beat."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

from dyna_nodes.nouns import Decision, History, Simulation, Verdict, digest_of


class _Ranking(ABC):
    """Approves every candidate and gives it a score."""

    name: str

    @abstractmethod
    def scores(self, history: History, simulations: Sequence[Simulation]) -> list[float]:
        """Return one score per simulation."""

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return [
            Verdict(
                decision=Decision.APPROVE, score=score, critic=self.name, reason=f"{self.name} {score:.3f}"
            )
            for score in self.scores(history, simulations)
        ]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return self.judge(history, simulations)


class LogProbabilityCritic(_Ranking):
    """Ranks by the candidate's log-probability under the policy."""

    name = "log-probability"

    def scores(self, history: History, simulations: Sequence[Simulation]) -> list[float]:
        """Return the log-probabilities.

        Raises:
            ValueError: The policy reports none.
        """
        found = [s.log_probability for s in simulations]
        if None in found:
            raise ValueError("the policy reports no log-probabilities; set logprobs on the model")
        return [value for value in found if value is not None]


class MajorityCritic(_Ranking):
    """Ranks by how many candidates propose the same action."""

    name = "majority"

    def scores(self, history: History, simulations: Sequence[Simulation]) -> list[float]:
        """Return the shares."""
        counts = Counter(s.action.text for s in simulations)
        return [counts[s.action.text] / len(simulations) for s in simulations]


class RandomCritic(_Ranking):
    """Picks a candidate at random; the same one for the same history and seed.

    Args:
        seed: Seed of the choice.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def scores(self, history: History, simulations: Sequence[Simulation]) -> list[float]:
        """Return uniformly random scores."""
        rng = random.Random(digest_of(self.seed, history.digest))
        return [rng.random() for _ in simulations]
