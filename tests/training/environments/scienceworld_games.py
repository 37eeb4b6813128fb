"""Games that tests of ScienceWorld play, and what they need."""

import importlib.util
import shutil

import pytest

SHORT = ("lifespan-longest-lived/4", "find-non-living-thing/3")
"""Games that are solved in a few steps."""

_MISSING = [
    *([] if importlib.util.find_spec("scienceworld") else ["pip install 'dyna-graph[scienceworld]'"]),
    *([] if shutil.which("java") else ["Java 17 (Debian: apt-get install openjdk-17-jre-headless)"]),
]
needs_scienceworld = pytest.mark.skipif(bool(_MISSING), reason=f"needs {' and '.join(_MISSING)}")
