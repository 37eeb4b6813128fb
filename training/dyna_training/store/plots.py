"""Pictures of what a set of episodes is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from dyna_training.store.names import printable
from dyna_training.store.problems import StoreError
from dyna_training.store.statistics import Figures

COLOURS: Final = {"success": "#2a9d8f", "failure": "#c8553d", "truncated": "#e9b872", "unknown": "#8d99ae"}
MOST_TYPES: Final = 20
"""So many types of action have a bar of their own."""
BINS: Final = 30


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draw lengths by outcome, success by behaviour and by task type, and types of action; return the files.

    Raises:
        StoreError: matplotlib is missing, or nothing can be written there.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise StoreError("plots need matplotlib: pip install 'dyna-graph[training]'") from error
    matplotlib.use("Agg")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [_lengths(figures, folder / "lengths.png"), _types(figures, folder / "action_types.png")]
        for name in ("behaviour", "task_type"):
            known = {n: f for n, f in figures[f"by_{name}"].items() if f["success"] is not None}
            if known:
                drawn.append(_success(known, name.replace("_", " "), folder / f"success_by_{name}.png"))
    except OSError as error:
        raise StoreError(f"cannot write plots to {folder}: {error.strerror or error}") from error
    return drawn


def _lengths(figures: Figures, path: Path) -> Path:
    figure, axes = _canvas(3.6)
    lengths = figures["lengths"]
    longest = max((max(counts) for counts in lengths.values()), default=0)
    width = max(1, -(-(longest + 1) // BINS))
    below = [0] * (longest // width + 1)
    for outcome in sorted(lengths, key=list(COLOURS).index):
        heights = [0] * len(below)
        for length, count in lengths[outcome].items():
            heights[length // width] += count
        there = [i for i, height in enumerate(heights) if height]
        axes.bar(
            [width * i + (width - 1) / 2 for i in there],
            [heights[i] for i in there],
            0.9 * width,
            bottom=[below[i] for i in there],
            label=outcome,
            color=COLOURS[outcome],
        )
        below = [b + h for b, h in zip(below, heights, strict=True)]
    axes.set_xlabel("steps" if width == 1 else f"steps, {width} to a bar")
    axes.set_ylabel("episodes")
    axes.legend()
    return _save(figure, path)


def _types(figures: Figures, path: Path) -> Path:
    counts = figures["action_types"]
    shown = dict(list(counts.items())[:MOST_TYPES])
    others = sum(counts.values()) - sum(shown.values())
    if others:
        shown[f"{len(counts) - len(shown)} others"] = others
    figure, axes = _canvas(1.2 + 0.26 * len(shown))
    axes.barh(range(len(shown)), list(shown.values()), color=COLOURS["unknown"])
    _name_bars(axes, [printable(name) or "(empty)" for name in shown])
    axes.set_xlabel("steps")
    return _save(figure, path)


def _success(groups: dict[str, Figures], what: str, path: Path) -> Path:
    figure, axes = _canvas(1.2 + 0.32 * len(groups))
    found = [group["success"] for group in groups.values()]
    values = [100 * f["value"] for f in found]
    whiskers = [
        [max(0.0, 100 * (f["value"] - f["low"])) for f in found],
        [max(0.0, 100 * (f["high"] - f["value"])) for f in found],
    ]
    axes.barh(range(len(found)), values, xerr=whiskers, capsize=2, color=COLOURS["success"])
    _name_bars(
        axes, [f"{printable(name)} ({f['episodes']:,})" for name, f in zip(groups, found, strict=True)]
    )
    axes.set_xlim(0, 100)
    axes.set_xlabel("success, %, with 95 % intervals over games")
    axes.set_ylabel(f"{what} (episodes)")
    return _save(figure, path)


def _name_bars(axes: Any, names: list[str]) -> None:
    """Name bars from top to bottom; a dollar in a name begins no formula."""
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()


def _canvas(height: float) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
