"""Chooses a threshold for a wished precision, and checks it on calls that had no part in the choice.

A threshold decides which predictions are believed; its precision is the share of the believed ones that came
true. It is chosen on the older trajectories and checked on the newer ones, as it will be used: on what comes later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from dyna_graph.config.critics import TrustSettings
from dyna_graph.reliability.evidence import Evidence
from dyna_graph.reliability.report import calls_needed, lower_by_trajectory
from dyna_nodes.nouns import Noun
from dyna_nodes.trust import Tally, estimate, merge, tally_scores

Threshold = Literal["lower_bound", "minimum_confidence"]
STEP = 0.01
"""Thresholds are multiples of it, so that nobody reads meaning into further digits."""

KEPT = 0.95
"""Share of the calls believed at the lowest threshold that will do, which a stricter, safer one must keep."""


class Case(NamedTuple):
    """A prediction that a threshold may let through.

    Attributes:
        score: What is compared with the threshold.
        correct: How far the prediction came true, in [0, 1].
        trajectory: Its trajectory.
        tool: Its tool.
    """

    score: float
    correct: float
    trajectory: str
    tool: str


class Precision(Noun):
    """The precision at a threshold.

    Attributes:
        calls: Calls that could be believed.
        believed: Those at or above the threshold.
        trajectories: Trajectories of the believed ones.
        precision: Mean score of the believed ones; None without any.
        low: Lower confidence bound, one-sided, calls of one trajectory taken for alike.
        high: Upper one.
        coverage: Believed calls over all.
        by_tool: Mean score of the believed calls of each tool.
    """

    calls: int
    believed: int
    trajectories: int
    precision: float | None
    low: float
    high: float
    coverage: float
    by_tool: Mapping[str, float]


class Calibration(Noun):
    """A threshold that was chosen, and how it did.

    Attributes:
        key: The key of ``dyna.yaml``: ``lower_bound`` of a trust gate, or ``minimum_confidence`` of the critic
            `outcome`.
        wished: The wished precision.
        threshold: What was chosen; None where nothing would do.
        status: ``confirmed`` (the held-out bound reaches the wish), ``not confirmed``, ``none`` (no threshold
            reaches it) or ``too few`` (so few calls that even a perfect record would prove nothing).
        why: Why so, and what to do.
        chosen_on: The older part at the threshold.
        held_out: The newer part at the threshold.
        curve: Precision of the older part by threshold, strictest last.
        held_out_curve: The same of the newer part.
    """

    key: Threshold
    wished: float
    threshold: float | None
    status: Literal["confirmed", "not confirmed", "none", "too few"]
    why: str
    chosen_on: Precision | None = None
    held_out: Precision | None = None
    curve: tuple[tuple[float, Precision], ...] = ()
    held_out_curve: tuple[tuple[float, Precision], ...] = ()


def calibrate(
    evidence: Evidence,
    wished: float,
    key: Threshold = "lower_bound",
    gate: TrustSettings | None = None,
    *,
    held_out: float = 0.5,
) -> Calibration:
    """Choose a threshold.

    Args:
        evidence: What the log says.
        wished: The wished precision, in (0, 1).
        key: Which threshold. ``lower_bound``: the gate is replayed over the log, so that each call is believed or
            not by what was known before it. ``minimum_confidence``: calls whose success was predicted are believed
            from this confidence on.
        gate: Metric, minimum count and confidence; the defaults when None.
        held_out: Share of the trajectories, the newest, that only check, in (0, 1).

    Raises:
        ValueError: A share lies outside (0, 1).
    """
    if not 0 < wished < 1 or not 0 < held_out < 1:
        raise ValueError(f"expected wished and held_out in (0, 1), got {wished} and {held_out}")
    gate = gate or TrustSettings()
    cases = list(_gate_cases(evidence, gate) if key == "lower_bound" else _confidence_cases(evidence))
    order = list(dict.fromkeys(case.trajectory for case in cases))
    newer = set(order[len(order) - round(held_out * len(order)) :])
    older_cases = [c for c in cases if c.trajectory not in newer]
    newer_cases = [c for c in cases if c.trajectory in newer]
    needed = max(gate.minimum_count, calls_needed(1.0, wished, gate.confidence) or 0)
    grid = [round(i * STEP, 6) for i in range(round(1 / STEP) + 1)]
    curve = tuple((t, precision_at(older_cases, t, gate.confidence)) for t in grid)
    later = tuple((t, precision_at(newer_cases, t, gate.confidence)) for t in grid)
    most = [part[0][1].believed for part in (curve, later)]
    if min(most) < needed:
        reason = (
            f"{most[0]} older and {most[1]} newer calls could be believed; to prove {wished:.2f} each part needs at "
            f"least {needed}, and more if any prediction is wrong"
        )
        return Calibration(key=key, wished=wished, threshold=None, status="too few", why=_lack(key, reason))
    good = [
        (t, p)
        for t, p in curve
        if p.believed >= gate.minimum_count
        and p.low >= wished
        and not worse_tools(older_cases, t, wished, gate.confidence)
    ]
    # The lowest of them lies just above what was wrong and would let it in on the next better day.
    chosen = max((t for t, p in good if p.believed >= KEPT * good[0][1].believed), default=None)
    if chosen is None:
        best = max(
            (p for _, p in curve if p.believed >= gate.minimum_count), key=lambda p: p.low, default=None
        )
        found = (
            "no threshold lets enough calls through"
            if best is None
            else f"the best is at least {best.low:.2f}"
        )
        return Calibration(
            key=key,
            wished=wished,
            threshold=None,
            status="none",
            why=f"no threshold reaches {wished:.2f} on the {len(older_cases)} older calls: {found}",
            curve=curve,
            held_out_curve=later,
        )
    check = next(p for t, p in later if t == chosen)
    worse = worse_tools(newer_cases, chosen, wished, gate.confidence)
    return Calibration(
        key=key,
        wished=wished,
        threshold=chosen,
        status="confirmed" if check.low >= wished and not worse else "not confirmed",
        why=_checked(check, wished, worse),
        chosen_on=next(p for t, p in curve if t == chosen),
        held_out=check,
        curve=curve,
        held_out_curve=later,
    )


def precision_at(cases: Sequence[Case], threshold: float, confidence: float) -> Precision:
    """Return the precision of the cases at or above a threshold."""
    believed = [c for c in cases if c.score >= threshold]
    correct = [min(1.0, max(0.0, c.correct)) for c in believed]
    trajectories = [c.trajectory for c in believed]
    wrong = [1 - c for c in correct]
    return Precision(
        calls=len(cases),
        believed=len(believed),
        trajectories=len(set(trajectories)),
        precision=sum(correct) / len(correct) if correct else None,
        low=lower_by_trajectory(correct, trajectories, confidence),
        high=1 - lower_by_trajectory(wrong, trajectories, confidence),
        coverage=len(believed) / len(cases) if cases else 0.0,
        by_tool={tool: sum(found) / len(found) for tool, found in sorted(_by_tool(believed).items())},
    )


def worse_tools(cases: Sequence[Case], threshold: float, wished: float, confidence: float) -> list[str]:
    """Return the tools whose believed predictions are, with that confidence, less precise than wished.

    Many calls of a good tool would otherwise hide a bad one.
    """
    believed = [c for c in cases if c.score >= threshold]
    tools = sorted({c.tool for c in believed})
    found = {
        tool: precision_at([c for c in believed if c.tool == tool], threshold, confidence) for tool in tools
    }
    return [tool for tool in tools if found[tool].high < wished]


def _by_tool(cases: Sequence[Case]) -> dict[str, list[float]]:
    result: dict[str, list[float]] = {}
    for case in cases:
        result.setdefault(case.tool, []).append(case.correct)
    return result


def _gate_cases(evidence: Evidence, gate: TrustSettings) -> Iterator[Case]:
    """Yield each call with the bound that the gate saw before it ran; below the minimum count nothing opens it."""
    figures: Tally = {}
    for call in evidence.calls:
        if gate.metric not in call.scores:
            continue
        before = estimate(figures, call.tool, gate.metric, confidence=gate.confidence)
        bound = before.lower if before.calls >= gate.minimum_count else -math.inf
        yield Case(bound, call.scores[gate.metric], call.trajectory, call.tool)
        figures = merge(figures, tally_scores(call.tool, call.scores))


def _confidence_cases(evidence: Evidence) -> Iterator[Case]:
    """Yield the calls whose success was predicted with a confidence, and whether it came true."""
    for call in evidence.calls:
        if call.success is True and call.confidence is not None and "outcome" in call.scores:
            yield Case(call.confidence, call.scores["outcome"], call.trajectory, call.tool)


def _lack(key: Threshold, reason: str) -> str:
    if key == "minimum_confidence":
        return f"only calls with predicted success, a confidence and a known outcome count: {reason}"
    return reason


def _checked(check: Precision, wished: float, worse: Sequence[str]) -> str:
    if worse:
        found = ", ".join(f"{tool} ({check.by_tool[tool]:.2f})" for tool in worse)
        return f"the newer trajectories contradict it for {found}; {_CHANGED}"
    if check.low >= wished:
        return f"the newer trajectories confirm it: at least {check.low:.2f}"
    if not check.believed:
        return "in the newer trajectories no call reaches it, so it is not confirmed"
    if check.precision is not None and check.precision < wished:
        return f"the newer trajectories contradict it: {check.precision:.2f} there; {_CHANGED}"
    return (
        f"the newer trajectories agree ({check.precision:.2f}) but are too few to prove it (at least {check.low:.2f}); "
        "collect more"
    )


_CHANGED = (
    "the world, the agent or the world model has changed. Do not use it; collect anew, or choose with --days"
)
