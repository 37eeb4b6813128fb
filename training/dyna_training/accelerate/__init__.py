"""Configurations for ``accelerate launch``: one process for each GPU, whole models or models in parts.

``dyna train launcher NAME`` prints where one lies; how to use it stands in `docs/how-to/train-on-several-gpus.md`.
"""

from __future__ import annotations

from pathlib import Path

from dyna_graph.errors import ConfigError, Problem, suggestion
from dyna_training.shipped import shipped_files


def launchers() -> dict[str, Path]:
    """Return the configurations that come with the package, by name."""
    return shipped_files("dyna_training.accelerate")


def find_launcher(name: str) -> Path:
    """Return the file of a configuration.

    Raises:
        ConfigError: There is none of this name.
    """
    shipped = launchers()
    if name not in shipped:
        hint = suggestion(name, shipped, what="shipped ones")
        raise ConfigError([Problem(f"there is no accelerate configuration {name!r}; {hint}")])
    return shipped[name]
