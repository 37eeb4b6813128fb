"""Pre-execution verification: a call that cannot be undone runs only when its success is predicted.

After "From Word to World" (arXiv 2512.18832, section 5), where a shop's checkout is simulated first.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from dyna_nodes.asking import quoted
from dyna_nodes.critics.base import PlainCritic, failure
from dyna_nodes.critics.value import value_of
from dyna_nodes.nouns import Decision, History, Simulation, Verdict


def matches(tool: str, globs: str | Sequence[str]) -> bool:
    """Tell whether a tool's name matches a glob, or one of several; upper and lower case differ."""
    return any(fnmatchcase(tool, glob) for glob in ([globs] if isinstance(globs, str) else globs))


class OutcomeCritic(PlainCritic):
    """Lets named tools run only when success is predicted; other tools pass.

    Args:
        tools: Glob or globs of the tools that need a predicted success.
        minimum_confidence: A predicted success counts only with at least this confidence; a prediction
            without a confidence then does not count. None asks for none.
        otherwise: What happens to a call without predicted success: ``reject`` or ``escalate``.
        name: Name in verdicts.
    """

    def __init__(
        self,
        tools: str | Sequence[str] = "*",
        *,
        minimum_confidence: float | None = None,
        otherwise: Literal["reject", "escalate"] = "reject",
        name: str = "outcome",
    ) -> None:
        self.tools = tools
        self.minimum_confidence = minimum_confidence
        self.otherwise = Decision(otherwise)
        self.can_escalate = self.otherwise is Decision.ESCALATE
        self.name = name

    def verdict(self, history: History, simulation: Simulation) -> Verdict:
        """Judge one simulation; the score of a named tool is the confidence in its success, or 0."""
        del history
        action, prediction = simulation.action, simulation.prediction
        if not matches(action.tool, self.tools):
            reason = f"outcome: {action.tool} needs no predicted success"
            return Verdict(
                decision=Decision.APPROVE, reason=reason, score=value_of(simulation), critic=self.name
            )
        if prediction.error is not None:
            return failure(self.name, f"no prediction: {prediction.error}")
        if prediction.success is None:
            model = prediction.model or "the world model"
            return failure(self.name, f"{model} does not predict success")
        sure = self.minimum_confidence is None or (prediction.confidence or 0.0) >= self.minimum_confidence
        if prediction.success and sure:
            score = 1.0 if prediction.confidence is None else prediction.confidence
            return Verdict(
                decision=Decision.APPROVE, reason="outcome: success predicted", score=score, critic=self.name
            )
        why = (
            f"success predicted, but not surely enough ({prediction.confidence})"
            if prediction.success
            else "no success predicted"
        )
        return Verdict(
            decision=self.otherwise,
            reason=f"outcome: {why}",
            hint=f"This call should not run: {why}. Prediction: {quoted(prediction.observation)}",
            score=0.0,
            critic=self.name,
        )
