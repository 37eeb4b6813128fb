"""Tables, plot and files of an agent evaluation."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dyna_training.evaluation.agent import ARMS, CONTROLS, AgentEvaluation, GameOutcome
from dyna_training.evaluation.statistics import Bootstrap, Interval

COLUMNS = ("success", "steps", "invalid", "overruled", "policy_tokens", "model_tokens", "seconds")


def summarise(
    outcomes: Sequence[GameOutcome], settings: AgentEvaluation, command: str = ""
) -> dict[str, Any]:
    """Return all figures as JSON values: per arm, per task type, and paired differences to ``trained``.

    Intervals are percentile bootstraps over games; a figure is ``[value, low, high]``.
    """
    arms: dict[str, dict[str, Any]] = {}
    types: dict[str, dict[str, Any]] = {}
    for arm in (a for a in ARMS if any(o.arm == a for o in outcomes)):
        mine = [o for o in outcomes if o.arm == arm]
        boot = Bootstrap([o.game for o in mine])
        arms[arm] = {c: _figure(boot.mean([float(getattr(o, c)) for o in mine])) for c in COLUMNS}
        arms[arm]["games"] = len(mine)
        for kind in sorted({o.task_type for o in mine}):
            solved = [o.success for o in mine if o.task_type == kind]
            types.setdefault(kind, {"games": len(solved)})[arm] = sum(solved) / len(solved)
    return {
        "command": command,
        "games": max((a["games"] for a in arms.values()), default=0),
        "split": settings.split,
        "candidates": settings.candidates,
        "temperature": settings.temperature,
        "horizon": settings.horizon,
        "max_steps": settings.max_steps,
        "training_seeds": [settings.training_seed],
        "hardware": hardware(settings),
        "arms": arms,
        "task_types": types,
        "trained_minus": {arm: _paired(outcomes, "trained", arm) for arm in arms if arm != "trained"}
        if "trained" in arms
        else {},
        "best_control": best_control(arms),
    }


def best_control(arms: dict[str, dict[str, Any]]) -> str | None:
    """Return the control with the highest success rate, the strictest comparison there is."""
    here = [a for a in CONTROLS if a in arms]
    return max(here, key=lambda a: arms[a]["success"][0]) if here else None


def hardware(settings: AgentEvaluation) -> str:
    """Return what it ran on, in words."""
    import torch

    if settings.device.startswith("cuda"):
        return str(torch.cuda.get_device_name())
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads, {settings.dtype}"


def _paired(outcomes: Sequence[GameOutcome], first: str, second: str) -> dict[str, Any]:
    one = {o.game: o for o in outcomes if o.arm == first}
    two = {o.game: o for o in outcomes if o.arm == second}
    both = sorted(one.keys() & two.keys())
    if not both:
        return {}
    boot = Bootstrap(both)
    return {
        "games": len(both),
        "success": _figure(boot.difference([one[g].success for g in both], [two[g].success for g in both])),
        "steps": _figure(boot.difference([one[g].steps for g in both], [two[g].steps for g in both])),
        "won_only_with": sum(one[g].success and not two[g].success for g in both),
        "won_only_without": sum(two[g].success and not one[g].success for g in both),
    }


def _figure(interval: Interval) -> list[float | None]:
    found = interval.to_json()
    return [found["value"], found["low"], found["high"]]


def percent(figure: Sequence[float | None]) -> str:
    """Return ``52 % (40–64)``."""
    value, low, high = figure
    if value is None:
        return "–"
    return (
        f"{value:.0%}" if low is None or high is None else f"{value:.0%} ({low * 100:.0f}–{high * 100:.0f})"
    )


def points(figure: Sequence[float | None]) -> str:
    """Return ``+12 points (+3 to +21)``."""
    value, low, high = figure
    if value is None:
        return "–"
    inside = "" if low is None or high is None else f" ({low * 100:+.0f} to {high * 100:+.0f})"
    return f"{value * 100:+.0f}{inside}"


def tables(results: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, header and rows of every table."""
    head = ["arm", "success", "steps", "invalid", "overruled", "policy tokens", "model tokens", "seconds"]
    rows = []
    for arm, figures in results["arms"].items():
        numbers = [f"{figures[c][0]:.1f}" for c in ("steps", "invalid", "overruled")]
        tokens = [f"{figures[c][0]:,.0f}" for c in ("policy_tokens", "model_tokens", "seconds")]
        rows.append([arm, percent(figures["success"]), *numbers, *tokens])
    yield f"{results['games']} games of {results['split']}, k = {results['candidates']}", head, rows
    if results["trained_minus"]:
        yield (
            "the trained world model minus each other arm (paired by game, points of success)",
            ["arm", "success", "won only with it", "won only without it"],
            [
                [arm, points(d["success"]), str(d["won_only_with"]), str(d["won_only_without"])]
                for arm, d in results["trained_minus"].items()
                if d
            ],
        )
    arms = list(results["arms"])
    yield (
        "success by task type",
        ["task type", "games", *arms],
        [
            [kind, str(found["games"]), *(f"{found[a]:.0%}" if a in found else "–" for a in arms)]
            for kind, found in results["task_types"].items()
        ],
    )


def markdown(results: dict[str, Any]) -> str:
    """Return the report."""
    lines = [
        "# What the world model is worth to the agent",
        "",
        f"`{results['command']}`",
        "",
        f"{results['hardware']}; temperature {results['temperature']}, {results['max_steps']} steps; "
        f"training seeds {results['training_seeds']}. Intervals: 95 %, bootstrapped over games.",
        "",
    ]
    if len(results["training_seeds"]) < 3:
        lines += [
            "*Underpowered: fewer than three training seeds; read the order of the arms as a hint.*",
            "",
        ]
    best = results["best_control"]
    if results["trained_minus"].get(best):
        gain = points(results["trained_minus"][best]["success"])
        lines += [f"Trained world model against the best control: {best}, {gain} points of success.", ""]
    for title, head, rows in tables(results):
        lines += [f"## {title[0].upper()}{title[1:]}", "", "| " + " | ".join(head) + " |"]
        lines += ["|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]
    return "\n".join(lines)


def write(results: dict[str, Any], out: Path) -> list[Path]:
    """Write ``results.json``, ``report.md`` and ``success.png``."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "results.json", out / "report.md", out / "success.png"]
    files[0].write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    files[1].write_text(markdown(results) + "\n![success by arm](success.png)\n", encoding="utf-8")
    plot(results, files[2])
    return files


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw success by arm with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    arms = list(results["arms"])[::-1]
    success = [results["arms"][a]["success"] for a in arms]
    errors = [
        [max(0.0, v - low) if low is not None else 0.0 for v, low, _ in success],
        [max(0.0, high - v) if high is not None else 0.0 for v, _, high in success],
    ]
    colours = ["#1b7837" if a == "trained" else "#999999" if a == "oracle" else "#4575b4" for a in arms]
    figure, axes = pyplot.subplots(figsize=(6.4, 0.45 * len(arms) + 1.2))
    axes.barh(arms, [v for v, _, _ in success], xerr=errors, color=colours, height=0.6, capsize=3)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    axes.set_xlabel(f"games won of {results['games']} ({results['split']}), 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
