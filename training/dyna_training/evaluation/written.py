"""The files that every evaluation leaves: figures as JSON, a report, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dyna_training.whole import write_whole


def write_results(
    results: dict[str, Any],
    out: Path,
    command: str,
    *,
    draw: Callable[[dict[str, Any], Path], Sequence[Path]],
    markdown: Callable[[dict[str, Any], list[str], str], str],
) -> list[Path]:
    """Write ``results.json``, ``report.md`` and the pictures, and return their paths.

    Args:
        results: The figures.
        out: The folder.
        command: The command that made them, for the report.
        draw: Draws the pictures into a folder and returns their paths.
        markdown: Makes the report of figures, names of pictures, and command.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures = draw(results, out)
    data, report = out / "results.json", out / "report.md"
    write_whole(data, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write_whole(report, markdown(results, [p.name for p in pictures], command))
    return [report, data, *pictures]
