"""Which version of a format a line is written in, and whether it is known here."""

from __future__ import annotations

from typing import Final, NamedTuple

from dyna_nodes.experience import LOG_FORMAT
from dyna_nodes.experience.lines import format_of
from dyna_nodes.nouns import TRAJECTORY_FORMAT


class Version(NamedTuple):
    """A format and its version, written ``family/number``."""

    family: str
    number: int

    @classmethod
    def parse(cls, name: str) -> Version | None:
        """Return the version that a name says; None where it says none."""
        family, _, number = name.rpartition("/")
        return cls(family, int(number)) if family and number.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.family}/{self.number}"


CURRENT: Final[dict[str, Version]] = {
    family: Version(family, int(number))
    for family, number in (name.split("/") for name in (TRAJECTORY_FORMAT, LOG_FORMAT))
}
"""The version of each format that this version of dyna-graph writes, by family."""


def version_of(line: bytes) -> Version | None:
    """Return the version that a line names; None where it names none that is known here."""
    found = Version.parse(format_of(line) or "")
    return found if found is not None and found.family in CURRENT else None


def newer(line: bytes) -> Version | None:
    """Return the version of a line that only a newer dyna-graph reads; None for any other line."""
    found = version_of(line)
    return found if found is not None and found.number > CURRENT[found.family].number else None
