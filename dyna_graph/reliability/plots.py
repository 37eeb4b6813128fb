"""Pictures of trust: what is certain per tool, how it grew, and what a threshold buys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dyna_graph.errors import DynaError
from dyna_graph.plugins import how_to_install
from dyna_graph.reliability.calibration import Calibration, Precision
from dyna_graph.reliability.evidence import Evidence
from dyna_graph.reliability.report import TrustReport
from dyna_nodes.trust import Tally, estimate, merge, tally_scores


def draw_trust(report: TrustReport, evidence: Evidence, file: Path) -> None:
    """Draw mean and lower bound per tool, and how the bound grew call by call.

    Args:
        report: What was measured.
        evidence: What it was measured from.
        file: The picture; its suffix names the format.

    Raises:
        DynaError: matplotlib is missing, or the file cannot be written.
    """
    gate = report.gate
    tools = [tool for tool in report.tools if gate.metric in tool.metrics]
    pyplot = _pyplot()
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 1.8 + 0.4 * max(4, len(tools))), layout="constrained"
    )
    for place, tool in enumerate(tools):
        found = tool.metrics[gate.metric]
        color = "tab:green" if tool.proposed else "tab:orange"
        left.plot([found.lower, found.mean], [place, place], color=color, linewidth=3)
        left.plot(found.mean, place, "o", color=color)
        left.plot(found.lower_by_trajectory, place, "|", color=color, markersize=14)
        left.annotate(f" {found.calls}", (found.mean, place), va="center", fontsize=8)
    left.set_yticks(range(len(tools)), [tool.tool for tool in tools])
    left.set_ylim(-0.7, max(len(tools), 1) - 0.3)
    left.invert_yaxis()
    left.set_xlim(0, 1.08)
    left.axvline(gate.lower_bound, color="grey", linestyle="--")
    left.set_xlabel(f"{gate.metric}: mean ● , lower bound, by trajectory |  (calls)")
    for tool in tools:
        right.plot(_growth(evidence, tool.tool, gate.metric, gate.confidence), label=tool.tool)
    right.axhline(gate.lower_bound, color="grey", linestyle="--")
    right.axvline(gate.minimum_count, color="grey", linestyle=":")
    right.set_ylim(0, 1)
    right.set_xlabel("executed calls")
    right.set_ylabel("lower bound")
    if tools:
        right.legend(fontsize=8)
    figure.suptitle(f"How far {report.model or 'the world model'} can be believed", fontsize=10)
    _save(pyplot, figure, file)


def draw_calibration(found: Calibration, file: Path) -> None:
    """Draw precision and coverage by threshold, of the older and of the newer trajectories.

    Args:
        found: What was calibrated.
        file: The picture; its suffix names the format.

    Raises:
        DynaError: There is no curve, matplotlib is missing, or the file cannot be written.
    """
    if not found.curve:
        raise DynaError(f"there is nothing to draw: {found.why}")
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for curve, name, color in (
        (found.curve, "older: chosen on", "tab:blue"),
        (found.held_out_curve, "newer: held out", "tab:orange"),
    ):
        points: list[tuple[float, Precision]] = [(t, p) for t, p in curve if p.precision is not None]
        thresholds = [t for t, _ in points]
        axes.plot(thresholds, [p.precision for _, p in points], color=color, label=f"precision, {name}")
        axes.fill_between(
            thresholds, [p.low for _, p in points], [p.high for _, p in points], color=color, alpha=0.15
        )
        axes.plot(thresholds, [p.coverage for _, p in points], ":", color=color, label=f"coverage, {name}")
    axes.axhline(found.wished, color="grey", linestyle="--")
    if found.threshold is not None:
        axes.axvline(found.threshold, color="grey", linestyle="--")
    axes.set_xlabel(found.key)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8)
    axes.set_title(f"{found.status}: {found.key} {found.threshold}", fontsize=10)
    _save(pyplot, figure, file)


def _growth(evidence: Evidence, tool: str, metric: str, confidence: float) -> list[float]:
    """Return the lower bound after 0, 1, 2, … calls."""
    figures: Tally = {}
    bounds = [0.0]
    for call in evidence.calls:
        if call.tool == tool and metric in call.scores:
            figures = merge(figures, tally_scores(tool, {metric: call.scores[metric]}))
            bounds.append(estimate(figures, tool, metric, confidence=confidence).lower)
    return bounds


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise DynaError(f"drawing needs a package that is missing: {how_to_install('matplotlib')}") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as error:
        raise DynaError(f"cannot draw into {file}: {error}") from error
    finally:
        pyplot.close(figure)
