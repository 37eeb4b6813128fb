"""YAML files that come with the package, found by their names: recipes, studies, launchers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from dyna_graph.errors import ConfigError, Problem, suggestion


def shipped_files(package: str) -> dict[str, Path]:
    """Return the YAML files of a package, by name."""
    folder = Path(str(resources.files(package)))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def told(files: Mapping[str, Path]) -> Iterator[str]:
    """Yield a line for each file: its name, and the first sentence of the comment at its top; then where they lie."""
    width = max(map(len, files), default=0)
    for name, file in files.items():
        lines = itertools.takewhile(lambda line: line.startswith("# "), file.read_text("utf-8").splitlines())
        comment = " ".join(line.removeprefix("# ") for line in lines)
        yield f"{name:{width}}  {re.split(r'(?<=[.]) +(?=[A-Z])', comment)[0]}"
    yield from (f"In {folder}" for folder in sorted({str(file.parent) for file in files.values()}))


def find_file(name: str, what: str, package: str) -> Path:
    """Return a file by its path, or by the name of a shipped one.

    Args:
        name: Path or name.
        what: What it is a file of, such as ``recipe``.
        package: The package with the shipped ones.

    Raises:
        ConfigError: There is none.
    """
    path, shipped = Path(name), shipped_files(package)
    if path.is_file():
        return path
    if name in shipped:
        return shipped[name]
    hint = suggestion(name, shipped, what="shipped ones")
    raise ConfigError([Problem(f"there is no {what} file {name!r}, nor a shipped one of this name; {hint}")])
