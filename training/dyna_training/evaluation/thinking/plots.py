"""Pictures of world-model accuracy inside thinking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def draw(results: Figures, out: Path) -> list[Path]:
    """Draw accuracy by policy with intervals, and accuracy against success where rollouts tell both."""
    import matplotlib

    matplotlib.use("Agg")
    drawn = [_accuracy(results, out / "accuracy.png")]
    if any(m["figures"]["success"] is not None for m in results["rollouts"]):
        drawn.append(_against_success(results["rollouts"], out / "success.png"))
    return drawn


def _accuracy(results: Figures, path: Path) -> Path:
    from matplotlib import pyplot

    settings = [(name, results[name]) for name in ("rollouts", "policies") if results[name]]
    titles = {"rollouts": "on own rollouts", "policies": "in the recorded states"}
    most = max(len(measured) for _, measured in settings)
    figure, all_axes = pyplot.subplots(
        1, len(settings), figsize=(7 * len(settings), 1.6 + 0.55 * most), layout="constrained", squeeze=False
    )
    for axes, (name, measured) in zip(all_axes[0], settings, strict=True):
        for offset, key, label in ((-0.2, "product", "coverage × accuracy"), (0.2, "accuracy", "accuracy")):
            intervals = [m["figures"]["overall"]["strict"][key] for m in measured]
            places = [i + offset for i in range(len(measured))]
            widths = [100 * (i["value"] or 0) for i in intervals]
            axes.barh(places, widths, 0.36, xerr=_whiskers(intervals), label=label, capsize=2)
        axes.set_yticks(range(len(measured)), [m["label"] for m in measured])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"simulations that came true {titles[name]}, %")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return _save(figure, path)


def _against_success(measured: list[Figures], path: Path) -> Path:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for m in measured:
        success, product = m["figures"]["success"], m["figures"]["overall"]["strict"]["product"]
        if success is not None:
            axes.errorbar(
                [100 * product["value"]],
                [100 * success["value"]],
                xerr=_whiskers([product]),
                yerr=_whiskers([success]),
                fmt="o",
                capsize=2,
                label=f"{m['label']}{_r(m['figures']['correlation'])}",
            )
    axes.set_xlabel("coverage × accuracy on own rollouts, %")
    axes.set_ylabel("success, %")
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, path)


def _r(correlation: Figures | None) -> str:
    r = None if correlation is None else correlation["r"]
    return "" if r is None else f" (r over games {r['value']:.2f})"


def _whiskers(intervals: list[Figures]) -> list[list[float]]:
    """Return the distances from each figure to the ends of its interval, in percent points."""
    known = [(i["value"] or 0, i["low"], i["high"]) for i in intervals]
    low = [0 if low is None else 100 * max(0, value - low) for value, low, _ in known]
    return [low, [0 if high is None else 100 * max(0, high - value) for value, _, high in known]]


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
