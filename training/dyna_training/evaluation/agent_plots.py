"""Pictures of an agent evaluation: success by arm, and success against tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dyna_training.evaluation.agent_figures import EQUAL

GREEN, GREY, BLUE = "#1b7837", "#999999", "#4575b4"


def plot_success(results: Mapping[str, Any], path: Path) -> None:
    """Draw success by arm with 95 % intervals."""
    pyplot = _pyplot()
    from matplotlib.ticker import PercentFormatter

    arms = list(results["arms"])[::-1]
    success = [results["arms"][a]["success"] for a in arms]
    errors = [[_below(s) for s in success], [_above(s) for s in success]]
    figure, axes = pyplot.subplots(figsize=(6.8, 0.42 * len(arms) + 1.3))
    colours = [_colour(a) for a in arms]
    axes.barh(arms, [s[0] for s in success], xerr=errors, color=colours, height=0.6, capsize=3)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"games won of {results['games']} ({results['split']}), 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    _save(pyplot, figure, path)


def plot_tokens(results: Mapping[str, Any], path: Path) -> None:
    """Draw for every arm the share of games that are solved within a number of tokens.

    The tokens of a play are those of policy and world model together; a curve is flat after the last solved game.
    """
    pyplot = _pyplot()
    from matplotlib.ticker import PercentFormatter, StrMethodFormatter

    figure, axes = pyplot.subplots(figsize=(8.6, 4.6))
    palette = pyplot.get_cmap("tab10").colors
    controls = [name for name in results["arms"] if name not in ("trained", "oracle") and EQUAL not in name]
    ends = max((a["solved_at"][-1] for a in results["arms"].values() if a["solved_at"]), default=1)
    for name, arm in sorted(results["arms"].items(), key=lambda item: -item[1]["success"][0]):
        plain = name.removesuffix(EQUAL)
        # tab10 has its green in the third place, which belongs to the trained arm here.
        places = [p for p in range(10) if p not in (2, 7)]
        colour = palette[places[controls.index(plain) % 8]] if plain in controls else _colour(name)
        spent = arm["solved_at"]
        solved = [(i + 1) / arm["plays"] for i in range(len(spent))]
        axes.step(
            [0, *spent, ends * 1.02],
            [0, *solved, solved[-1] if solved else 0],
            where="post",
            color=colour,
            linewidth=2.4 if name == "trained" else 1.3,
            linestyle="--" if name != plain else ":" if name == "oracle" else "-",
            label=f"{name}  {arm['success'][0]:.0%}",
            zorder=3 if name == "trained" else 2,
        )
    if results["budget"]:
        mean = results["budget"]["tokens"]
        axes.axvline(mean, color="#cccccc", linewidth=1, zorder=1)
        side = {"ha": "right", "xytext": (-4, -2)} if mean > ends / 2 else {"ha": "left", "xytext": (4, -2)}
        text = "trained arm's mean"
        axes.annotate(text, (mean, 1.0), textcoords="offset points", va="top", fontsize=8, **side)
    axes.set_xlim(0, ends * 1.02)
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("tokens per game, policy and world model together")
    axes.set_ylabel(f"solved within them, {results['games']} games ({results['split']})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5)
    _save(pyplot, figure, path)


def _colour(arm: str) -> str:
    return {"trained": GREEN, "oracle": GREY}.get(arm, BLUE)


def _below(figure: Sequence[float | None]) -> float:
    value, low, _ = figure
    return 0.0 if value is None or low is None else max(0.0, value - low)


def _above(figure: Sequence[float | None]) -> float:
    value, _, high = figure
    return 0.0 if value is None or high is None else max(0.0, high - value)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
