"""Reads from an experience log what bears on trust: executed calls, and how many never ran."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dyna_graph.errors import DynaError, suggestion
from dyna_nodes.critics.outcome import matches
from dyna_nodes.experience import ExperienceLog, Problem, told_by
from dyna_nodes.nouns import Transition
from dyna_nodes.trust import tally

DAY = 86400.0


class Call(NamedTuple):
    """An executed call.

    Attributes:
        tool: The tool.
        trajectory: The trajectory it belongs to; calls of one trajectory resemble each other.
        time: When it ran, Unix time in seconds.
        status: How it ended.
        scores: Match of prediction and reality, as the trust gate counts it; empty where nothing was predicted.
        predicted: ``made``, ``failed`` or ``none``.
        success: The predicted success, where the world model predicts one.
        confidence: The world model's confidence, in [0, 1].
        stopped: Whether the critic would have stopped it, had the mode not let it run.
    """

    tool: str
    trajectory: str
    time: float
    status: Literal["ok", "error", "unknown"]
    scores: Mapping[str, float]
    predicted: Literal["made", "failed", "none"]
    success: bool | None
    confidence: float | None
    stopped: bool


class Evidence(NamedTuple):
    """What a log says.

    Attributes:
        folder: The log.
        model: Name of the world model that the scores are about; empty where nothing was predicted.
        calls: Executed calls, oldest first. What another world model predicted has no scores here.
        not_executed: By tool, proposals that never ran: refused, or not the chosen candidate. Nobody knows what
            they would have done.
        other_models: Predictions of other world models, by their name.
        problems: What in the log could not be read.
    """

    folder: Path
    model: str
    calls: Sequence[Call]
    not_executed: Mapping[str, int]
    other_models: Mapping[str, int]
    problems: Sequence[str]


def read_evidence(
    folder: Path, *, tools: Sequence[str] = ("*",), model: str | None = None, days: float | None = None
) -> Evidence:
    """Read a log.

    Args:
        folder: The log's folder.
        tools: Globs of the tools that matter.
        model: The world model that matters; the one that predicted last when None.
        days: Only what happened in the last so many days.

    Raises:
        DynaError: There is no log, no such tool in it, or no such model has predicted.
    """
    log = ExperienceLog(folder)
    if not log.segments():
        state = "holds no experience log (no *.jsonl segment)" if folder.is_dir() else "is no folder"
        raise DynaError(f"{folder} {state}; name the folder that `record` in dyna.yaml names")
    problems: list[Problem] = []
    since = 0.0 if days is None else time.time() - days * DAY
    everything = [t for t in log.read(problems) if t.time >= since]
    found = [t for t in everything if matches(t.action.tool, tools)]
    if everything and not found:
        hint = suggestion(tools[0], sorted({t.action.tool for t in everything}), what="the log has")
        raise DynaError(f"{folder}: no call of {', '.join(tools)}; {hint}")
    executed = sorted((t for t in found if t.provenance.source != "imagination"), key=lambda t: t.time)
    models = Counter(told_by(t) for t in executed if t.prediction is not None)
    if model is None:
        model = next((told_by(t) for t in reversed(executed) if t.prediction is not None), "")
    elif model not in models:
        hint = suggestion(model, sorted(models), what="those that did")
        raise DynaError(f"{folder}: no executed call was predicted by the world model {model!r}; {hint}")
    return Evidence(
        folder=folder,
        model=model,
        calls=[_call(t, model) for t in executed],
        not_executed=Counter(t.action.tool for t in found if _never_ran(t)),
        other_models={name: count for name, count in models.items() if name != model},
        problems=[str(problem) for problem in problems],
    )


def _never_ran(transition: Transition) -> bool:
    """Tell whether a proposal did not run; a dry run's result is no proposal."""
    return transition.provenance.source == "imagination" and transition.status == "unknown"


def _call(transition: Transition, model: str) -> Call:
    prediction = transition.prediction if told_by(transition) == model else None
    counted = prediction is not None and bool(tally(transition))
    verdict = transition.verdict
    return Call(
        tool=transition.action.tool,
        trajectory=transition.trajectory or transition.id,
        time=transition.time,
        status=transition.status,
        scores=transition.scores if counted else {},
        predicted="none" if prediction is None else "failed" if prediction.error is not None else "made",
        success=None if prediction is None else prediction.success,
        confidence=None if prediction is None else prediction.confidence,
        stopped=verdict is not None and verdict.decision.value in ("reject", "escalate", "end"),
    )
