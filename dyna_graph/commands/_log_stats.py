"""Counts what is in an experience log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from dyna_graph.errors import DynaError
from dyna_nodes.experience import ExperienceLog, Problem
from dyna_nodes.inner import INNER
from dyna_nodes.nouns import Transition

SCORES = ("exact", "f1", "outcome", "surprise")
"""Scores of the world model's predictions; always shown."""
THINKING = (
    "holds",
    "certain_holds",
    *(f"{INNER}{s}" for s in ("exact", "f1", "outcome", "holds", "certain_holds")),
)
"""Scores of what the policy's own thinking simulated; shown where there are some."""


def log_stats(folder: Path) -> dict[str, Any]:
    """Count transitions, trajectories and scores of a log.

    Args:
        folder: The log's folder.

    Returns:
        ``transitions`` (executed), ``imagined`` (proposed and not executed), ``trajectories``, ``segments``,
        ``bytes``, ``outcomes`` (trajectories by outcome), ``problems`` (what could not be read), and
        ``tools``: for each tool its ``calls`` (executed), ``predictions``, ``inner`` (simulations in the policy's
        thinking, where they are recorded beside predictions), ``decisions``, ``status``, and ``scores`` (mean
        in the score's own unit, with its number of calls).

    Raises:
        DynaError: There is no such folder, or it holds no log.
    """
    log = ExperienceLog(folder)
    segments = log.segments()
    if not segments:
        state = "holds no experience log (no *.jsonl segment)" if folder.is_dir() else "is no folder"
        raise DynaError(f"{folder} {state}; name the folder that `record` in dyna.yaml names")
    problems: list[Problem] = []
    tools: dict[str, _Tool] = {}
    outcomes: Counter[str] = Counter()
    imagined = 0
    for trajectory in log.trajectories(problems):
        executed = [t for t in trajectory.transitions if t.provenance.source != "imagination"]
        imagined += len(trajectory.transitions) - len(executed)
        if executed:
            outcomes[trajectory.outcome] += 1
        for transition in trajectory.transitions:
            tools.setdefault(transition.action.tool, _Tool()).add(transition)
    return {
        "folder": str(folder),
        "segments": len(segments),
        "bytes": sum(path.stat().st_size for path in segments),
        "trajectories": outcomes.total(),
        "transitions": sum(tool.calls for tool in tools.values()),
        "imagined": imagined,
        "outcomes": dict(outcomes),
        "problems": [str(problem) for problem in problems],
        "tools": {name: tool.figures() for name, tool in sorted(tools.items())},
    }


class _Tool:
    """The figures of one tool."""

    def __init__(self) -> None:
        self.calls = 0
        self.predictions: Counter[str] = Counter()
        self.inner: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.status: Counter[str] = Counter()
        self.sums: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def add(self, transition: Transition) -> None:
        """Count one transition; of what was only imagined, the verdict alone."""
        if transition.verdict is not None:
            self.decisions[transition.verdict.decision.value] += 1
        if transition.provenance.source == "imagination":
            return
        self.calls += 1
        self.status[transition.status] += 1
        if transition.prediction is not None:
            self.predictions["failed" if transition.prediction.error else "made"] += 1
        if transition.inner is not None:
            self.inner["failed" if transition.inner.error else "made"] += 1
        for score in (*SCORES, *THINKING):
            if score in transition.scores:
                self.sums[score] = self.sums.get(score, 0.0) + transition.scores[score]
                self.counts[score] += 1

    def figures(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "calls": self.calls,
            "predictions": dict(self.predictions),
            **({"inner": dict(self.inner)} if self.inner else {}),
            "decisions": dict(self.decisions),
            "status": dict(self.status),
            "scores": {
                score: {"mean": self.sums[score] / count, "calls": count}
                for score, count in self.counts.items()
            },
        }


def table(figures: dict[str, Any]) -> Iterator[Any]:
    """Yield what `log_stats` counted as lines and a table for the screen."""
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in sorted(figures["outcomes"].items()))
    yield (
        f"{figures['folder']}: {figures['transitions']} executed transitions in {figures['trajectories']} "
        f"trajectories ({outcomes or 'none'}), {figures['imagined']} proposals not executed, "
        f"{figures['segments']} segments, {figures['bytes'] / 1024:.0f} KiB"
    )
    tools = figures["tools"].values()
    shown = [*SCORES, *(s for s in THINKING if any(s in tool["scores"] for tool in tools))]
    kinds = ["predictions", "decisions", "status"]
    titles = ["predicted", "verdicts", "status"]
    if any("inner" in tool for tool in tools):
        kinds.insert(1, "inner")
        titles.insert(1, "simulated in thinking")
    result = Table("tool", "calls", *titles)
    for score in shown:
        result.add_column(score, justify="right")
    for name, tool in figures["tools"].items():
        scores = (f"{tool['scores'][s]['mean']:.2f}" if s in tool["scores"] else "" for s in shown)
        cells = (_counts(tool.get(kind, {})) for kind in kinds)
        result.add_row(name, str(tool["calls"]), *cells, *scores)
    yield result
    for problem in figures["problems"]:
        yield f"not readable: {problem}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
