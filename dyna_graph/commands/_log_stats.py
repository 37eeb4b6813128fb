"""Counts what is in an experience log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from dyna_graph.errors import DynaError
from dyna_nodes.experience import ExperienceLog, Problem

SCORES = ("exact", "f1", "outcome", "surprise")


def log_stats(folder: Path) -> dict[str, Any]:
    """Count transitions, trajectories and scores of a log.

    Args:
        folder: The log's folder.

    Returns:
        ``transitions``, ``trajectories``, ``segments``, ``bytes``, ``outcomes`` (count by outcome),
        ``problems`` (what could not be read) and ``tools``: for each tool ``calls``, ``simulated``,
        ``decisions``, ``status`` (counts) and ``scores`` (means in the score's own unit, each with its number
        of calls).

    Raises:
        DynaError: There is no such folder, or it holds no log.
    """
    log = ExperienceLog(folder)
    segments = log.segments()
    if not segments:
        state = "holds no experience log (no *.jsonl segment)" if folder.is_dir() else "is no folder"
        raise DynaError(f"{folder} {state}; name the folder that `record` in dyna.yaml names")
    problems: list[Problem] = []
    tools: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    outcomes: Counter[str] = Counter()
    trajectories = 0
    for trajectory in log.trajectories(problems):
        trajectories += 1
        outcomes[trajectory.outcome] += 1
        for transition in trajectory.transitions:
            name = transition.action.tool
            tools[name]["calls"]["all"] += 1
            tools[name]["status"][transition.status] += 1
            if transition.prediction is not None:
                tools[name]["predictions"]["failed" if transition.prediction.error else "made"] += 1
            if transition.verdict is not None:
                tools[name]["decisions"][transition.verdict.decision.value] += 1
            for score in SCORES:
                if score in transition.scores:
                    sums[name][score] += transition.scores[score]  # type: ignore[assignment]
                    counts[name][score] += 1
    return {
        "folder": str(folder),
        "segments": len(segments),
        "bytes": sum(path.stat().st_size for path in segments),
        "trajectories": trajectories,
        "transitions": sum(t["calls"]["all"] for t in tools.values()),
        "outcomes": dict(outcomes),
        "problems": [str(p) for p in problems],
        "tools": {
            name: {
                "calls": found["calls"]["all"],
                "predictions": dict(found["predictions"]),
                "decisions": dict(found["decisions"]),
                "status": dict(found["status"]),
                "scores": {
                    score: {"mean": sums[name][score] / counts[name][score], "calls": counts[name][score]}
                    for score in SCORES
                    if counts[name][score]
                },
            }
            for name, found in sorted(tools.items())
        },
    }


def table(figures: dict[str, Any]) -> Iterator[Any]:
    """Yield what `log_stats` counted as lines and a table for the screen."""
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in sorted(figures["outcomes"].items()))
    yield (
        f"{figures['folder']}: {figures['transitions']} transitions in {figures['trajectories']} trajectories"
        f" ({outcomes}), {figures['segments']} segments, {figures['bytes'] / 1024:.0f} KiB"
    )
    result = Table("tool", "calls", "predicted", "verdicts", "status")
    for score in SCORES:
        result.add_column(score, justify="right")
    for name, tool in figures["tools"].items():
        scores = (f"{tool['scores'][s]['mean']:.2f}" if s in tool["scores"] else "" for s in SCORES)
        cells = (_counts(tool[kind]) for kind in ("predictions", "decisions", "status"))
        result.add_row(name, str(tool["calls"]), *cells, *scores)
    yield result
    for problem in figures["problems"]:
        yield f"not readable: {problem}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
