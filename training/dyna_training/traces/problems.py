"""What an import has to say about turns, records and files that did not become examples as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from dyna_nodes.nouns import Noun, Trajectory

Outcome = Literal["success", "failure", "truncated", "unknown"]


class Reason(StrEnum):
    """Why a turn, a record or a file is reported."""

    NO_THINKING = "no thinking"
    UNCLOSED = "thinking cut off"
    NO_ACTION = "no action"
    NOT_PARSED = "action not parsed"
    UNKNOWN_TOOL = "unknown tool"
    FAILED = "action failed"
    UNANSWERED = "call never answered"
    UNSEEN = "what it reacts to is not logged"
    ORDER = "roles out of order"
    PARALLEL = "several calls at once"
    REPEATED = "repeated in a longer record"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    ENCODING = "not UTF-8"
    FORMAT = "not of this format"
    OTHER_FILE = "another kind of file"


class Fate(StrEnum):
    """What became of what is reported.

    ``read``: its action and observation are part of the trajectory, so that later turns know of them, but its
    thinking is left out and nothing of it is imitated (label ``expert`` 0). ``left out``: nothing of it is in
    the trajectory. ``noted``: nothing is lost; a person should know.
    """

    READ = "read"
    LEFT_OUT = "left out"
    NOTED = "noted"


class Reported(Noun):
    """One line of an import's report.

    Attributes:
        file: The file, as it was named on the command line.
        record: Number of the record in the file, from 1: a line of JSONL, an element of a JSON list; None when
            the whole file is meant.
        turn: Number of the turn in the record, from 1; None when the whole record is meant.
        reason: Why.
        detail: What exactly was found.
        fate: What became of it.
        turns: How many of the turns read this line accounts for; 0 where it is about no turn, or about turns
            that could not be counted because the record cannot be read.
    """

    file: str
    record: int | None = None
    turn: int | None = None
    reason: Reason
    detail: str = ""
    fate: Fate = Fate.LEFT_OUT
    turns: int = 0

    def __str__(self) -> str:
        place = "".join(
            f", {name} {number}" for name, number in (("record", self.record), ("turn", self.turn)) if number
        )
        return f"{self.file}{place}: {self.reason}{f' ({self.detail})' if self.detail else ''}: {self.fate}"


class Imported(NamedTuple):
    """What became of one record.

    Attributes:
        file: The file it stands in.
        trajectory: The trajectory made of it; None where no step could be made.
        turns: Turns in the record, counted before anything was made of them.
        reported: Every turn that is no example, and whatever else should be known.
    """

    file: str
    trajectory: Trajectory | None
    turns: int
    reported: Sequence[Reported]

    @property
    def kept(self) -> int:
        """Turns that are imitated: steps whose label ``expert`` is not 0."""
        return 0 if self.trajectory is None else kept_turns(self.trajectory)

    def check(self) -> None:
        """Make sure that no turn was dropped silently.

        Raises:
            TurnsLost: Turns read are not turns kept plus turns reported; a defect of the importer.
        """
        reported = sum(line.turns for line in self.reported)
        if self.turns != self.kept + reported:
            raise TurnsLost(
                f"{self.file}: {self.turns} turns were read, but {self.kept} kept and {reported} reported; "
                "this is a defect of the importer, and nothing was written"
            )


class TurnsLost(AssertionError):
    """The numbers of turns read, kept and reported do not add up."""


def kept_turns(trajectory: Trajectory) -> int:
    """Return how many steps of a trajectory are imitated."""
    return sum(bool(step.labels.get("expert", 1.0)) for step in trajectory.transitions)
