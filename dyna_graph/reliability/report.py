"""How far a world model can be believed, per tool: measured as the trust gate measures it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from dyna_graph.config.critics import TrustSettings
from dyna_graph.reliability.evidence import Call, Evidence
from dyna_nodes.nouns import Noun
from dyna_nodes.trust import METRICS, Tally, estimate, merge, tally_scores, wilson_lower

SELECTIVE = (
    "Only calls that ran have an outcome. Of what a critic stopped nobody knows whether the prediction was right, so "
    "figures of a log recorded under `enforce` speak for the approved calls alone."
)

FEW = 5
"""Trajectories that it takes to say how much calls of one trajectory resemble each other."""


class MetricTrust(Noun):
    """One metric of one tool.

    Attributes:
        calls: Executed calls with that score.
        mean: Mean score, in [0, 1].
        lower: Lower confidence bound of the mean over calls; what the trust gate compares.
        lower_by_trajectory: The same with calls of one trajectory counted as what they are: alike.
    """

    calls: int
    mean: float
    lower: float
    lower_by_trajectory: float


class ToolTrust(Noun):
    """How far predictions for one tool can be believed.

    Attributes:
        tool: The tool.
        calls: Executed calls.
        predicted: Those with a prediction by the world model in question.
        failed: Those whose prediction failed.
        trajectories: Trajectories with a scored call.
        not_executed: Proposals that never ran.
        metrics: By metric what is known.
        trusted: Whether the gate trusts the tool now.
        proposed: Whether it is proposed to be enforced: it is trusted, and still is when calls of one trajectory
            are taken for what they are.
        why: Why so.
        missing: How many more scored calls the gate needs if the mean stays as it is; None when no number of calls
            will do.
        would_stop: Executed calls that the critic would have stopped, by how they ended.
    """

    tool: str
    calls: int
    predicted: int
    failed: int
    trajectories: int
    not_executed: int
    metrics: Mapping[str, MetricTrust]
    trusted: bool
    proposed: bool
    why: str
    missing: int | None
    would_stop: Mapping[str, int]


class TrustReport(Noun):
    """How far a world model can be believed.

    Attributes:
        folder: The log.
        model: Name of the world model.
        gate: What the trust gate demands.
        tools: By tool, those with most calls first.
        other_models: Predictions that do not count because another world model made them.
        problems: What in the log could not be read.
        selective: What the figures cannot say.
    """

    folder: str
    model: str
    gate: TrustSettings
    tools: tuple[ToolTrust, ...]
    other_models: Mapping[str, int]
    problems: tuple[str, ...]
    selective: str = SELECTIVE


def measure(evidence: Evidence, gate: TrustSettings | None = None) -> TrustReport:
    """Measure every tool as a trust gate does.

    Args:
        evidence: What the log says.
        gate: What the gate demands; its defaults when None.
    """
    gate = gate or TrustSettings()
    by_tool: dict[str, list[Call]] = defaultdict(list)
    for call in evidence.calls:
        by_tool[call.tool].append(call)
    for name in evidence.not_executed:
        by_tool.setdefault(name, [])
    tools = [_tool(name, calls, evidence.not_executed.get(name, 0), gate) for name, calls in by_tool.items()]
    return TrustReport(
        folder=str(evidence.folder),
        model=evidence.model,
        gate=gate,
        tools=tuple(sorted(tools, key=lambda t: (-t.calls, t.tool))),
        other_models=evidence.other_models,
        problems=tuple(evidence.problems),
    )


def _tool(name: str, calls: Sequence[Call], not_executed: int, gate: TrustSettings) -> ToolTrust:
    metrics = {m: found for m in METRICS if (found := _metric(calls, m, gate.confidence)).calls}
    found = metrics.get(gate.metric, MetricTrust(calls=0, mean=0, lower=0, lower_by_trajectory=0))
    trusted = found.calls >= gate.minimum_count and found.lower >= gate.lower_bound
    proposed = trusted and found.lower_by_trajectory >= gate.lower_bound
    needed = calls_needed(found.mean, gate.lower_bound, gate.confidence) if found.calls else None
    missing = None if needed is None else max(0, max(gate.minimum_count, needed) - found.calls)
    stopped: dict[str, int] = defaultdict(int)
    for call in calls:
        if call.stopped:
            stopped[call.status] += 1
    return ToolTrust(
        tool=name,
        calls=len(calls),
        predicted=sum(c.predicted != "none" for c in calls),
        failed=sum(c.predicted == "failed" for c in calls),
        trajectories=len({c.trajectory for c in calls if c.scores}),
        not_executed=not_executed,
        metrics=metrics,
        trusted=trusted,
        proposed=proposed,
        why=_why(found, gate, missing, trusted, proposed),
        missing=missing if found.calls else gate.minimum_count,
        would_stop=dict(stopped),
    )


def _why(found: MetricTrust, gate: TrustSettings, missing: int | None, trusted: bool, proposed: bool) -> str:
    if proposed:
        return f"{gate.metric} is at least {found.lower_by_trajectory:.2f} over {found.calls} calls"
    if trusted:
        return (
            f"the gate opens at {found.lower:.2f}, but calls of one trajectory are alike: counted so it is "
            f"{found.lower_by_trajectory:.2f}; collect more trajectories"
        )
    if not found.calls:
        return f"no executed call has the score {gate.metric!r} yet: cold start"
    if missing is None:
        return f"{gate.metric} is {found.mean:.2f} on average; more calls will not bring it to {gate.lower_bound:.2f}"
    if found.calls < gate.minimum_count:
        return f"{found.calls} of at least {gate.minimum_count} calls; about {missing} more if it goes on like this"
    return (
        f"{gate.metric} is at least {found.lower:.2f}, needed {gate.lower_bound:.2f}; about {missing} more calls if "
        "it goes on like this"
    )


def _metric(calls: Sequence[Call], metric: str, confidence: float) -> MetricTrust:
    scored = [c for c in calls if metric in c.scores]
    figures: Tally = {}
    for call in scored:
        figures = merge(figures, tally_scores("", {metric: call.scores[metric]}))
    found = estimate(figures, "", metric, confidence=confidence)
    clustered = lower_by_trajectory(
        [c.scores[metric] for c in scored], [c.trajectory for c in scored], confidence
    )
    return MetricTrust(
        calls=found.calls, mean=found.mean, lower=found.lower, lower_by_trajectory=min(found.lower, clustered)
    )


def lower_by_trajectory(scores: Sequence[float], trajectories: Sequence[str], confidence: float) -> float:
    """Return the lower confidence bound of a mean of scores that come in groups of like ones.

    The Wilson bound over the effective number of calls: their number divided by the design effect (Kish 1965,
    section 5.4), which is the variance of the mean between trajectories over that of independent calls. Where
    that cannot be estimated, with all scores equal or fewer than `FEW` trajectories, each trajectory counts as one
    call.

    Args:
        scores: In [0, 1].
        trajectories: The trajectory of each.
        confidence: Of the one-sided bound, in (0, 1).
    """
    count = len(scores)
    if not count:
        return 0.0
    mean = min(1.0, max(0.0, sum(scores) / count))
    residuals: dict[str, float] = defaultdict(float)
    for score, trajectory in zip(scores, trajectories, strict=True):
        residuals[trajectory] += score - mean
    groups = len(residuals)
    alone = mean * (1 - mean) / count
    effective = float(groups)
    if groups >= FEW and alone > 0 and min(scores) < max(scores):
        between = sum(r * r for r in residuals.values()) / count**2 * groups / (groups - 1)
        effective = count * min(1.0, alone / between) if between > 0 else float(count)
    return wilson_lower(mean * effective, effective, confidence)


def calls_needed(mean: float, bound: float, confidence: float) -> int | None:
    """Return how many calls of that mean bring `wilson_lower` to ``bound``; None when no number does."""
    if bound <= 0:
        return 1
    if mean <= bound:
        return None
    z = NormalDist().inv_cdf(confidence)
    return math.ceil(z * z * bound * (1 - bound) / (mean - bound) ** 2 - 1e-9)
