"""Pictures of a study: success by arm in and out of domain, and world-model accuracy against it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = {"in": "#1b7837", "out": "#4575b4"}
LABELS = {"in": "in domain", "out": "out of domain"}


def plot_success(part: Mapping[str, Any], path: Path) -> None:
    """Draw average success by arm, in and out of domain, with 95 % intervals, and the best of the runs as a mark."""
    pyplot = _pyplot()
    from matplotlib.ticker import PercentFormatter

    rows = part["rows"]
    arms = list(rows)[::-1]
    figure, axes = pyplot.subplots(figsize=(7.2, 0.6 * len(arms) + 1.4))
    for offset, (domain, colour) in zip((0.2, -0.2), COLOURS.items(), strict=True):
        there = [(i, rows[arm][domain]) for i, arm in enumerate(arms) if domain in rows[arm]]
        if not there:
            continue
        places = [i + offset for i, _ in there]
        values = [figures["success"]["value"] for _, figures in there]
        errors = _errors([figures["success"] for _, figures in there])
        axes.barh(places, values, xerr=errors, height=0.38, color=colour, capsize=2.5, label=LABELS[domain])
        best = [figures["best"]["value"] for _, figures in there]
        axes.plot(best, places, "d", color="black", markersize=4)
    axes.plot([], [], "d", color="black", markersize=4, label="best of the runs")
    axes.set_yticks(range(len(arms)), arms)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("games solved, 95 % interval over games")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1))
    _save(pyplot, figure, axes, path)


def plot_accuracy(part: Mapping[str, Any], path: Path) -> None:
    """Draw each arm's success against its world-model accuracy (coverage × accuracy), with 95 % intervals."""
    pyplot = _pyplot()
    from matplotlib.ticker import PercentFormatter

    figure, axes = pyplot.subplots(figsize=(6.4, 4.6))
    for arm, row in part["rows"].items():
        x, y = row["all"]["accuracy"], row["all"]["success"]
        if x["value"] is None:
            continue
        place = (x["value"], y["value"])
        axes.errorbar(
            *place, xerr=_errors([x]), yerr=_errors([y]), fmt="o", capsize=2, elinewidth=0.8, label=arm
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("turns with a simulation that came true (coverage × accuracy)")
    axes.set_ylabel("games solved, 95 % intervals over games")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    _save(pyplot, figure, axes, path)


def _errors(found: list[Mapping[str, Any]]) -> list[list[float]]:
    """Return how far intervals reach below and above their figures."""
    below = [f["value"] - f["low"] if f["low"] is not None else 0.0 for f in found]
    above = [f["high"] - f["value"] if f["high"] is not None else 0.0 for f in found]
    return [[max(0.0, b) for b in below], [max(0.0, a) for a in above]]


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, axes: Any, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    pyplot.close(figure)
