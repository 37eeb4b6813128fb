"""Puts a report on trust, or a calibration, on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from dyna_graph.reliability.report import MetricTrust, TrustReport

WIDTH = 20
"""Characters that stand for scores from 0 to 1."""


def tables(report: TrustReport) -> Iterator[Any]:
    """Yield lines and a table."""
    gate = report.gate
    yield (
        f"{report.folder}: predictions of {report.model or 'no world model'}, trusted from {gate.metric} ≥ "
        f"{gate.lower_bound:.2f} with {gate.confidence:.0%} confidence over at least {gate.minimum_count} calls"
    )
    table = Table(
        "tool",
        "calls",
        "trajectories",
        "mean",
        "at least",
        "0 … 1",
        "other metrics",
        "stopped",
        "enforce?",
    )
    for column in (1, 2, 3, 4):
        table.columns[column].justify = "right"
    for tool in report.tools:
        found = tool.metrics.get(gate.metric)
        table.add_row(
            tool.tool,
            str(found.calls if found else 0),
            str(tool.trajectories),
            f"{found.mean:.2f}" if found else "",
            f"{found.lower:.2f}" if found else "",
            bar(found, gate.lower_bound),
            _others(tool.metrics, gate.metric),
            _stopped(tool.would_stop),
            Text("yes", "green") if tool.proposed else Text("not yet", "yellow"),
        )
    yield table
    yield from notes(report)


def bar(found: MetricTrust | None, bound: float) -> Text:
    """Draw what is certain (█) and what was measured beyond it (░), with the threshold (│)."""
    certain = round(WIDTH * found.lower) if found else 0
    measured = round(WIDTH * found.mean) if found else 0
    line = "█" * certain + "░" * (measured - certain) + " " * (WIDTH - measured)
    place = min(WIDTH - 1, round(WIDTH * bound))
    return Text(line[:place] + "│" + line[place + 1 :])


def notes(report: TrustReport) -> Iterator[str]:
    """Yield what a reader of the figures must know."""
    for tool in report.tools:
        yield f"{tool.tool}: {tool.why}"
    never = sum(t.not_executed for t in report.tools)
    yield f"{report.selective} Here {never} proposals never ran."
    failed = [f"{t.tool} {t.failed} of {t.predicted}" for t in report.tools if t.failed]
    if failed:
        yield f"Predictions that failed, and for which `on_failure` decides: {', '.join(failed)}."
    if any(t.would_stop for t in report.tools):
        yield "stopped: calls that the critic would have stopped, had the mode not let them run; ok: they ran fine."
    for name, count in report.other_models.items():
        yield f"Not counted: {count} predictions of another world model, {name or 'unnamed'}."
    for problem in report.problems:
        yield f"not readable: {problem}"


def _others(metrics: Mapping[str, MetricTrust], metric: str) -> str:
    return ", ".join(f"{name} {found.lower:.2f}" for name, found in metrics.items() if name != metric)


def _stopped(stopped: Mapping[str, int]) -> str:
    total = sum(stopped.values())
    return f"{total} ({', '.join(f'{n} {status}' for status, n in sorted(stopped.items()))})" if total else ""
