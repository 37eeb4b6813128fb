"""The package bfcl-eval: where it is, and the parts of it that import without its dependencies.

The package asks for the clients of two dozen model providers; the tools and tasks of its multi-turn part need mpmath
alone. So it is installed with ``--no-deps``, and only the modules named here are imported.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final

from dyna_training.environments.base import PackageMissing

INSTALL: Final = "pip install --no-deps bfcl-eval mpmath"
APIS: Final[tuple[str, ...]] = (
    "GorillaFileSystem",
    "MathAPI",
    "MessageAPI",
    "TicketAPI",
    "TradingBot",
    "TravelAPI",
    "TwitterAPI",
    "VehicleControlAPI",
)
"""The stateful APIs of the multi-turn tasks; the package has others, for other tasks."""


class BfclMissing(PackageMissing):
    """The package bfcl-eval, or mpmath, which its APIs compute with, is not installed."""


@functools.cache
def folder() -> Path:
    """Return the folder of the package.

    Raises:
        BfclMissing: It is not installed.
    """
    found = importlib.util.find_spec("bfcl_eval")
    if found is None or found.origin is None:
        raise BfclMissing(f"dyna/BFCL-v0 plays tasks of the package bfcl-eval: {INSTALL}")
    return Path(found.origin).parent


@functools.cache
def module(name: str) -> Any:
    """Import a module of the package by its name in ``bfcl_eval``.

    Raises:
        BfclMissing: The package or something that it needs is not installed, or its version lacks the module.
    """
    folder()
    try:
        return importlib.import_module(f"bfcl_eval.{name}")
    except ImportError as error:
        raise BfclMissing(f"bfcl_eval.{name} cannot be imported ({error}): {INSTALL}") from error


@functools.cache
def api_class(api: str) -> Any:
    """Return the class of an API.

    Raises:
        BfclMissing: See `module`.
    """
    path: str = module("constants.executable_backend_config").CLASS_FILE_PATH_MAPPING[api]
    return getattr(module(path.removeprefix("bfcl_eval.")), api)
