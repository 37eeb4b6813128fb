"""The course of a training run, read from its ``progress.jsonl``, as a picture."""

from __future__ import annotations

import json
from pathlib import Path


def losses(progress: Path) -> list[tuple[int, float]]:
    """Return update and loss of a run; of an update that was repeated after a crash, the later one counts."""
    found: dict[int, float] = {}
    for line in progress.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a run that was killed leaves half a line
        if "loss" in entry:
            found[int(entry["step"])] = float(entry["loss"])
    return sorted(found.items())


def plot_loss(progress: Path, picture: Path) -> None:
    """Draw the loss per target token over the updates, as it was and smoothed.

    Args:
        progress: The run's ``progress.jsonl``.
        picture: Where the PNG goes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = losses(progress)
    if not points:
        return
    updates, values = zip(*points, strict=True)
    smooth, mean = [], values[0]
    for value in values:
        mean = 0.9 * mean + 0.1 * value
        smooth.append(mean)
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(updates, values, color="tab:blue", alpha=0.3, linewidth=1, label="logged")
    axes.plot(updates, smooth, color="tab:blue", linewidth=2, label="smoothed")
    axes.set(xlabel="update", ylabel="loss per target token (nats)", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(picture, dpi=120)
