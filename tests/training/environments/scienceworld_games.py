"""Games that tests of ScienceWorld play, and what they need."""

import importlib.util
import shutil
from typing import Any

import pytest

from dyna_training.environments.scienceworld import ScienceWorldEnv

SHORT = ("lifespan-longest-lived/4", "find-non-living-thing/3")
"""Games that are solved in a few steps."""
FIND = SHORT[-1]
POWER = "power-component/2"

_MISSING = [
    *([] if importlib.util.find_spec("scienceworld") else ["pip install 'dyna-graph[scienceworld]'"]),
    *([] if shutil.which("java") else ["Java 17 (Debian: apt-get install openjdk-17-jre-headless)"]),
]
needs_scienceworld = pytest.mark.skipif(bool(_MISSING), reason=f"needs {' and '.join(_MISSING)}")


def begun(game: str = FIND, **options: Any) -> ScienceWorldEnv:
    """Return an episode that has begun."""
    env = ScienceWorldEnv(games=[game], admissible_actions=False, **options)
    env.reset(seed=0)
    return env
