"""Errors that explain themselves: what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class DynaError(Exception):
    """Base of the errors whose message is meant for the user; the command line prints it without a
    traceback."""


class PluginError(DynaError):
    """A plugin does not exist or cannot be loaded."""


class ModelError(DynaError):
    """A model name cannot be turned into a model."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a configuration.

    Attributes:
        message: What is wrong and what to do.
        file: The file as the user named it; empty when the configuration is no file.
        line: Line in the file, from 1; None when unknown.
        key: Dotted path of the key, such as ``simulate.candidates``; empty for the whole file.
    """

    message: str
    file: str = ""
    line: int | None = None
    key: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file or 'line '}:{self.line}"
        return f"{place}: {self.message}" if place else self.message


class ConfigError(DynaError, ValueError):
    """A configuration is wrong; lists everything that is wrong with it, in the order of the file.

    Attributes:
        problems: What is wrong, at least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line is None, p.line or 0)))
        super().__init__("\n".join(str(p) for p in self.problems))


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that ``name`` was probably meant to be, or None."""
    by_folded = {v.casefold().replace("-", "_"): v for v in valid}
    found = get_close_matches(name.casefold().replace("-", "_"), list(by_folded), n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggestion(name: str, valid: Iterable[str], *, what: str = "valid") -> str:
    """Return ``did you mean 'x'?`` or, when nothing is near, the list of valid names."""
    names = list(valid)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"{what}: {', '.join(names)}" if names else f"there is nothing {what} here"
