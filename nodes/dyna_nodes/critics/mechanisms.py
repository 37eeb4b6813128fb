"""Judge by named mechanisms: each finds one thing about a simulation, their scores add up, some of them
reject.

A mechanism compares predictions and executed steps as whole texts. What the texts say moves it no further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from dyna_nodes.asking import quoted
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.critics.base import failure
from dyna_nodes.critics.value import value_of
from dyna_nodes.nouns import Decision, History, Simulation, Verdict

NO_EFFECT = ("Nothing happens.",)
"""What ALFWorld and TextWorld answer to a command that does nothing."""


class Finding(NamedTuple):
    """What a mechanism found.

    Attributes:
        mechanism: Its name, as reasons and ``reject`` settings use it.
        score: What it adds to the score.
        reason: What it found, for people and logs.
        hint: What the policy is told when the call is rejected for it.
    """

    mechanism: str
    score: float
    reason: str
    hint: str = ""


Mechanism = Callable[[History, Simulation, Sequence[Simulation]], Finding | None]
"""Finds something, or nothing, about a simulation, given all simulations that are judged together with it."""


class MechanismCritic:
    """Adds up what its mechanisms find.

    Args:
        mechanisms: The mechanisms, in the order in which reasons name them.
        reject: Names of the mechanisms whose finding rejects the call; the others only change its score.
        predicts: Whether the mechanisms need a prediction; then a simulation without one is a failure.
        name: Name in verdicts.
    """

    def __init__(
        self,
        mechanisms: Sequence[Mechanism],
        *,
        reject: Collection[str] = (),
        predicts: bool = True,
        name: str = "mechanisms",
    ) -> None:
        self.mechanisms = tuple(mechanisms)
        self.reject = frozenset(reject)
        self.predicts = predicts
        self.name = name

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order; the score is the sum over the findings."""
        return [self._verdict(history, simulation, simulations) for simulation in simulations]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return self.judge(history, simulations)

    def _verdict(self, history: History, simulation: Simulation, judged: Sequence[Simulation]) -> Verdict:
        error = simulation.prediction.error
        if self.predicts and error is not None:
            return failure(self.name, f"no prediction: {error}")
        found = (mechanism(history, simulation, judged) for mechanism in self.mechanisms)
        findings = [finding for finding in found if finding is not None]
        against = [f for f in findings if f.mechanism in self.reject]
        return Verdict(
            decision=Decision.REJECT if against else Decision.APPROVE,
            reason="; ".join(f"{f.mechanism}: {f.reason}" for f in findings) or "nothing found against it",
            hint=" ".join(f.hint for f in against),
            score=sum(f.score for f in findings),
            critic=self.name,
        )


def predicted_no_effect(weight: float = 1.0, texts: Collection[str] = NO_EFFECT) -> Mechanism:
    """Find actions that are predicted to do nothing: the imagined observation is one of ``texts``."""

    def find(_: History, simulation: Simulation, __: Sequence[Simulation]) -> Finding | None:
        observation = (simulation.prediction.observation or "").strip()
        if observation not in texts:
            return None
        hint = f"{_said(simulation)} is predicted to have no effect: {quoted(observation)}"
        return Finding("predicted no effect", -weight, quoted(observation), hint)

    return find


def repeated_observation(weight: float = 0.1, most: int = 3) -> Mechanism:
    """Find actions that are predicted to show what was seen before.

    The score is −``weight`` for each earlier step with that very observation, counting at most ``most`` of
    them.
    """

    def find(history: History, simulation: Simulation, _: Sequence[Simulation]) -> Finding | None:
        observation = (simulation.prediction.observation or "").strip()
        seen = sum(step.observation.strip() == observation for step in history.steps)
        if not observation or not seen:
            return None
        hint = f"{_said(simulation)} is predicted to show what was seen before: {quoted(observation)}"
        return Finding("repeated observation", -weight * min(seen, most), f"seen {seen} times before", hint)

    return find


def predicted_success(weight: float = 1.0, discount: float | None = None) -> Mechanism:
    """Find simulations in which the task is solved; ``weight`` times ``discount`` per step until then."""
    factor = DISCOUNT if discount is None else discount

    def find(_: History, simulation: Simulation, __: Sequence[Simulation]) -> Finding | None:
        for index, step in enumerate(simulation.steps):
            if step.prediction.error is not None:
                return None
            if step.prediction.success:
                return Finding("predicted success", weight * factor**index, f"solved in {index + 1} steps")
        return None

    return find


def predicted_value(weight: float = 1.0, discount: float | None = None) -> Mechanism:
    """Score every simulation with its imagined return, where the world model predicts one."""

    def find(_: History, simulation: Simulation, __: Sequence[Simulation]) -> Finding | None:
        value = value_of(simulation, discount)
        return None if value is None else Finding("value", weight * value, f"imagined return {value:.2f}")

    return find


def agreement(weight: float = 0.2) -> Mechanism:
    """Score every call with the share of the candidates that propose it. Needs no model.

    What the policy says most often is what it is most sure of.
    """

    def find(_: History, simulation: Simulation, judged: Sequence[Simulation]) -> Finding | None:
        candidates = {s.candidate for s in judged}
        if len(candidates) < 2:
            return None
        agreed = len({s.candidate for s in judged if s.action == simulation.action})
        return Finding(
            "agreement", weight * agreed / len(candidates), f"{agreed} of {len(candidates)} say so"
        )

    return find


def log_probability(weight: float = 0.05) -> Mechanism:
    """Score every call with the log-probability (nats) of its message under the policy. Needs no world model.

    The prior of a search that asks the policy where to look and the world model what is there. It is that of the
    whole message, thought included, so long messages count less; twenty nats at the default weight weigh as much
    as a predicted success. Finds nothing where the policy reports no log-probabilities.
    """

    def find(_: History, simulation: Simulation, __: Sequence[Simulation]) -> Finding | None:
        value = simulation.log_probability
        if value is None:
            return None
        return Finding("log-probability", weight * value, f"{value:.1f} nats under the policy")

    return find


def known_no_effect(weight: float = 1.0, texts: Collection[str] = NO_EFFECT) -> Mechanism:
    """Find actions that did nothing, with no step since then that did; needs no model."""

    def find(history: History, simulation: Simulation, _: Sequence[Simulation]) -> Finding | None:
        for step in reversed(history.steps):
            if step.observation.strip() not in texts:
                return None
            if step.action == simulation.action:
                hint = f"{_said(simulation)} was just tried and had no effect: {quoted(step.observation)}"
                return Finding("known no effect", -weight, "tried in this state", hint)
        return None

    return find


def loop(weight: float = 0.1, repeats: int = 2, most: int = 5) -> Mechanism:
    """Find actions that were executed at least ``repeats`` times with the same observation. Needs no model.

    The score is −``weight`` for each of these steps, counting at most ``most``.
    """

    def find(history: History, simulation: Simulation, _: Sequence[Simulation]) -> Finding | None:
        seen = Counter(s.observation.strip() for s in history.steps if s.action == simulation.action)
        if not seen:
            return None
        observation, times = seen.most_common(1)[0]
        if times < repeats:
            return None
        hint = f"{_said(simulation)} was run {times} times and showed each time: {quoted(observation)}"
        return Finding("loop", -weight * min(times, most), f"run {times} times with the same result", hint)

    return find


def _said(simulation: Simulation) -> str:
    return quoted(simulation.action.text)
