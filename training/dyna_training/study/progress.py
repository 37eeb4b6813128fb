"""How far a stage is, and what failed in it, read off the files that its command writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def fraction(folder: Path) -> float | None:
    """Return which share of its work the running command of a stage has done; None where that cannot be told.

    Args:
        folder: Folder of the stage; a collection stands in ``data`` in it, a training run in ``run``.
    """
    manifest = _read(folder / "data" / "manifest.json")
    if isinstance(manifest.get("episodes"), int) and manifest["episodes"]:
        return min(1.0, _lines(folder / "data") / float(manifest["episodes"]))
    configuration = _read(folder / "run" / "configuration.json")
    if "epochs" in configuration:
        return _trained(folder / "run" / "progress.jsonl", configuration)
    return None


def failures(product: Path) -> tuple[int, int] | None:
    """Return how many episodes of a collection or annotation failed for good, and of how many.

    Args:
        product: The folder of the collection.

    Returns:
        None where none failed, or not all were tried.
    """
    manifest = _read(product / "manifest.json")
    failed, counts = manifest.get("failed"), manifest.get("counts")
    if not failed or not isinstance(counts, dict):
        return None
    total = int(counts.get("episodes") or counts.get("trajectories") or 0) + len(failed)
    wanted = manifest.get("episodes")
    return None if isinstance(wanted, int) and total < wanted else (len(failed), total)


def _lines(folder: Path) -> int:
    count = 0
    for file in folder.glob("*.jsonl"):
        with file.open("rb") as handle:
            count += sum(chunk.count(b"\n") for chunk in iter(lambda: handle.read(1 << 20), b""))
    return count


def _trained(file: Path, configuration: dict[str, Any]) -> float | None:
    try:
        last = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
        # A run for a number of target tokens is one pass over as much data.
        epochs = 1.0 if configuration.get("target_tokens") else float(configuration["epochs"])
        return min(1.0, float(last["epoch"]) / epochs)
    except (OSError, ValueError, KeyError, IndexError):  # nothing logged yet, or half a line
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
