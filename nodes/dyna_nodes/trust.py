"""How far a world model has earned trust, per tool, from executed calls.

The running figures are a `Tally`: plain nested dicts of sums, so that they live in a checkpoint as they are.
A step contributes a small tally of its own and `merge` adds it up, which makes `merge` the reducer of the
graph's
state: parallel calls may finish in any order. Only executed calls have outcomes, so the figures are about the
calls that the critic let through and say nothing about those it stopped.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from statistics import NormalDist
from typing import NamedTuple

from dyna_nodes.nouns import Transition

Tally = dict[str, dict[str, float]]
"""``{tool: {"exact": sum, "exact_count": n, "f1": …, "outcome": …}}``; all additive."""

METRICS = ("exact", "f1", "outcome", "holds")


class Estimate(NamedTuple):
    """What is known about one metric of one tool.

    Attributes:
        calls: Number of executed calls with that score.
        mean: Mean score in [0, 1]; 0 without calls.
        lower: Lower confidence bound of the mean, in [0, 1]; 0 without calls.
    """

    calls: int
    mean: float
    lower: float


def tally(transition: Transition) -> Tally:
    """Return what one transition adds; empty for imagined ones and for ones without scores."""
    if transition.provenance.source == "imagination" or transition.status == "unknown":
        return {}
    return tally_scores(transition.action.tool, transition.scores)


def tally_scores(tool: str, scores: Mapping[str, float]) -> Tally:
    """Return what the scores of one executed call of ``tool`` add."""
    sums: dict[str, float] = {}
    for metric in METRICS:
        if metric in scores:
            sums[metric] = float(scores[metric])
            sums[f"{metric}_count"] = 1.0
    return {tool: sums} if sums else {}


def merge(left: Tally | None, right: Tally | None) -> Tally:
    """Add two tallies; associative and commutative, neither argument is changed."""
    result: Tally = {tool: dict(sums) for tool, sums in (left or {}).items()}
    for tool, sums in (right or {}).items():
        into = result.setdefault(tool, {})
        for key, value in sums.items():
            into[key] = into.get(key, 0.0) + value
    return result


def estimate(figures: Tally, tool: str, metric: str = "exact", *, confidence: float = 0.95) -> Estimate:
    """Return count, mean and lower confidence bound of one metric of one tool.

    Raises:
        ValueError: The metric is not one that is tallied.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    sums = figures.get(tool, {})
    count = int(sums.get(f"{metric}_count", 0))
    if count == 0:
        return Estimate(0, 0.0, 0.0)
    total = sums[metric]
    return Estimate(count, total / count, wilson_lower(total, count, confidence))


def wilson_lower(successes: float, count: float, confidence: float = 0.95) -> float:
    """Return the one-sided lower Wilson score bound of a proportion (Wilson 1927).

    ``successes`` may be a sum of scores in [0, 1]: such a score varies less than a coin of the same mean, so
    the bound then errs on the careful side.

    Raises:
        ValueError: ``successes`` lies outside [0, ``count``], or ``confidence`` outside (0, 1).
    """
    if not 0 <= successes <= count + 1e-9:
        raise ValueError(f"successes must lie in [0, {count}], got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if count <= 0:
        return 0.0
    z = NormalDist().inv_cdf(confidence)
    mean = min(1.0, successes / count)
    centre = mean + z * z / (2 * count)
    spread = z * math.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count))
    return min(1.0, max(0.0, (centre - spread) / (1 + z * z / count)))


_current: ContextVar[Tally | None] = ContextVar("dyna_reliability", default=None)


@contextlib.contextmanager
def measured(figures: Tally | None) -> Iterator[None]:
    """Make ``figures`` the running reliability that trust gates see inside the ``with`` block.

    A critic's protocol has no room for graph state, so the critique node hands it over this way. It reaches
    threads and tasks that copy the context, as `asyncio.to_thread` and LangChain's executors do.
    """
    token = _current.set(figures or {})
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Tally:
    """Return the running reliability of the innermost `measured` block; empty outside of one."""
    return _current.get() or {}
