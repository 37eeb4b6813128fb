"""Small games of each kind, made once for all the tests of a session."""

from __future__ import annotations

import importlib.util
import os
import tempfile

import pytest

from dyna_training.environments.textworld.cache import VARIABLE

GAMES = (
    "coin_collector/level=103/1",
    "treasure_hunter/level=12/2",
    "custom/objects=5,rooms=3/3",
    "simple/4",
    "cooking/recipe=2/5",
)

needs_textworld = pytest.mark.skipif(
    importlib.util.find_spec("textworld") is None, reason="needs pip install 'dyna-graph[textworld]'"
)

# The games of tests do not belong among a developer's own; the next session need not make them again.
os.environ.setdefault(VARIABLE, os.path.join(tempfile.gettempdir(), f"dyna-test-games-{os.getuid()}"))
