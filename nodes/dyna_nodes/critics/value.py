"""Judge by imagined return."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.critics.base import failure
from dyna_nodes.nouns import Decision, History, ImaginedStep, Simulation, Verdict


def imagined_return(steps: Sequence[ImaginedStep], discount: float = DISCOUNT) -> float | None:
    """Return the discounted return that a simulation promises.

    Rewards of the imagined steps are added up; the last step contributes its ``value`` instead, the return
    from that step on, its own reward included. A step that is imagined to solve the task is worth its
    reward, 1 where none is predicted, and ends the sum, as does one that ends the episode otherwise. Steps
    from the first one without a prediction on are left out.

    Args:
        steps: Imagined steps, the proposed action first.
        discount: Factor per step, in (0, 1].

    Returns:
        None when the world model predicts neither value, reward, success nor end.
    """
    predictions = list(takewhile(lambda p: p.error is None, (s.prediction for s in steps)))
    total, known = 0.0, False
    for index, prediction in enumerate(predictions):
        factor = discount**index
        if prediction.success:
            return total + factor * (1.0 if prediction.reward is None else prediction.reward)
        ends = bool(prediction.done)
        if (ends or index == len(predictions) - 1) and prediction.value is not None:
            return total + factor * prediction.value
        if prediction.reward is not None:
            total, known = total + factor * prediction.reward, True
        known = known or prediction.success is not None
        if ends:
            return total
    return total if known else None


def value_of(simulation: Simulation, discount: float | None = None) -> float | None:
    """Return the value of a simulation: its own, or with a ``discount`` the return of its steps."""
    if discount is None and simulation.value is not None:
        return simulation.value
    return imagined_return(simulation.steps, DISCOUNT if discount is None else discount)


class ValueCritic:
    """Scores every simulation with its imagined return and approves it; the caller takes the best.

    Args:
        discount: Factor per imagined step, in (0, 1]; None takes the simulation's own value.
        minimum: Reject simulations with a lower return than this; None rejects none.
        spare_best: With ``minimum``, approve the best simulation even when all are below it, because
            somewhere the agent has to go.
        name: Name in verdicts.
    """

    def __init__(
        self,
        *,
        discount: float | None = None,
        minimum: float | None = None,
        spare_best: bool = True,
        name: str = "value",
    ) -> None:
        if discount is not None and not 0 < discount <= 1:
            raise ValueError(f"discount must lie in (0, 1], got {discount}")
        self.discount = discount
        self.minimum = minimum
        self.spare_best = spare_best
        self.name = name

    def judge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order; ``score`` is the imagined return."""
        del history
        returns = [value_of(s, self.discount) for s in simulations]
        best = max((r for r in returns if r is not None), default=None)
        return [self._verdict(s, r, best) for s, r in zip(simulations, returns, strict=True)]

    async def ajudge(self, history: History, simulations: Sequence[Simulation]) -> list[Verdict]:
        """Return one verdict per simulation, in order."""
        return self.judge(history, simulations)

    def _verdict(self, simulation: Simulation, value: float | None, best: float | None) -> Verdict:
        error = simulation.prediction.error
        if error is not None:
            return failure(self.name, f"no prediction: {error}")
        if value is None:
            model = simulation.prediction.model or "the world model"
            return failure(self.name, f"{model} predicts neither value, reward nor success")
        low = self.minimum is not None and value < self.minimum and not (self.spare_best and value == best)
        reason = f"value: imagined return {value:.2f}"
        if not low:
            return Verdict(decision=Decision.APPROVE, reason=reason, score=value, critic=self.name)
        return Verdict(
            decision=Decision.REJECT,
            reason=f"{reason}, below {self.minimum:.2f}",
            hint=f"{simulation.action.text!r} is predicted to lead nowhere (value {value:.2f}).",
            score=value,
            critic=self.name,
        )
