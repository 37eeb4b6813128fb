"""Whether a browser and its pages are there, and its processes as the operating system sees them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dyna_training.environments.base import PackageMissing
from dyna_training.environments.miniwob.chromium import browser_program


def missing() -> str:
    """Return what the pages cannot be shown without; empty where nothing is missing."""
    if importlib.util.find_spec("miniwob") is None:
        return "needs pip install 'dyna-graph[browser]'"
    try:
        browser_program()
    except PackageMissing as error:
        return f"needs a browser: {error}"
    return ""


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")


def family(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    for one in queue:
        found += children.get(one, [])
        queue += children.get(one, [])
    return found
