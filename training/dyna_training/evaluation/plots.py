"""Pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def draw(results: Figures, out: Path) -> list[Path]:
    """Draw what there is to draw: exact match of all models, by action type, the curve, and the
    calibration."""
    import matplotlib

    matplotlib.use("Agg")
    drawn = [_models(results, out)]
    if results["settings"]["adapters"]:
        drawn.append(_types(results, out))
    if len({p["amount"] for p in results["curve"]}) > 1:
        drawn.append(_curve(results, out))
    if any(found["confidence"] for m in results["models"] for found in m["contexts"].values()):
        drawn.append(_calibration(results, out))
    return drawn


def _models(results: Figures, out: Path) -> Path:
    models = results["models"]
    figure, axes = _canvas(1.2 + 0.4 * len(models))
    contexts = list(models[0]["contexts"])
    for offset, context in enumerate(contexts):
        found = [m["contexts"][context]["em"] for m in models]
        places = [i + 0.36 * (offset - (len(contexts) - 1) / 2) for i in range(len(models))]
        axes.barh(
            places, [100 * f["value"] for f in found], 0.34, xerr=_whiskers(found), label=context, capsize=2
        )
    axes.set_yticks(range(len(models)), [m["name"] for m in models])
    axes.invert_yaxis()
    axes.set_xlabel("exact match, micro, %")
    axes.set_xlim(0, 100)
    axes.legend()
    return _save(figure, out / "exact_match.png")


def _types(results: Figures, out: Path) -> Path:
    model = results["models"][len(results["settings"]["adapters"]) - 1]
    figure, axes = _canvas(4.2)
    contexts = model["contexts"]
    names = sorted({n for found in contexts.values() for n in found["slices"]["action_type"]})
    for offset, (context, found) in enumerate(contexts.items()):
        intervals = [found["slices"]["action_type"][n]["em"] for n in names]
        places = [i + 0.36 * (offset - (len(contexts) - 1) / 2) for i in range(len(names))]
        heights = [100 * i["value"] for i in intervals]
        axes.bar(places, heights, 0.34, yerr=_whiskers(intervals), label=context, capsize=2)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_ylabel(f"exact match of {model['name']}, %")
    axes.set_ylim(0, 100)
    axes.legend()
    return _save(figure, out / "by_action_type.png")


def _curve(results: Figures, out: Path) -> Path:
    figure, axes = _canvas(4.2)
    for context in dict.fromkeys(p["context"] for p in results["curve"]):
        points = [p for p in results["curve"] if p["context"] == context]
        amounts = [p["amount"] for p in points]
        for style, name in (("-o", "em"), ("--s", "em_macro")):
            kind = "micro" if name == "em" else "macro"
            ems = [p[name] for p in points]
            heights = [100 * e["value"] for e in ems]
            axes.errorbar(amounts, heights, _whiskers(ems), fmt=style, capsize=2, label=f"{context}, {kind}")
    axes.set_xlabel(results["settings"]["curve_unit"])
    axes.set_ylabel("exact match, %")
    axes.legend()
    axes.grid(alpha=0.3)
    return _save(figure, out / "curve.png")


def _calibration(results: Figures, out: Path) -> Path:
    figure, axes = _canvas(4.2)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    trained = results["models"][: max(1, len(results["settings"]["adapters"]))][-1:]
    for model in trained:
        for context, found in model["contexts"].items():
            bins = found["confidence"].get("bins", [])
            if bins:
                sizes = [20 + 200 * b["steps"] / found["steps"] for b in bins]
                axes.scatter(
                    [b["confidence"] for b in bins],
                    [b["em"] for b in bins],
                    s=sizes,
                    alpha=0.6,
                    label=context,
                )
    axes.set_xlabel("confidence")
    axes.set_ylabel("exact match")
    axes.legend()
    return _save(figure, out / "calibration.png")


def _canvas(height: float) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
    return figure, axes


def _whiskers(intervals: list[Figures]) -> list[list[float]]:
    """Return the distances from each figure to the ends of its interval, in percent points."""
    ends = [(i["value"], i["low"] or i["value"], i["high"] or i["value"]) for i in intervals]
    return [[100 * max(0, v - low) for v, low, _ in ends], [100 * max(0, high - v) for v, _, high in ends]]


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
