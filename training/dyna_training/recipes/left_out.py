"""What a recipe could not learn from: per record with its reason, and the sums."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_nodes.codec import Example
from dyna_nodes.experience import Problem
from dyna_training.whole import write_whole

TOO_LONG: Final = "longer than max_tokens"
FILE: Final = "left_out.jsonl"


class Record(NamedTuple):
    """A record that was not used.

    Attributes:
        record: Id of the trajectory, or file and line.
        reason: Why; the same words for the same reason.
        detail: What more there is to say.
    """

    record: str
    reason: str
    detail: str = ""


class LeftOut:
    """Collects what was not used.

    Attributes:
        records: One for each record or turn.
        figures: Counts that belong into the metrics beside them.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.figures: dict[str, Any] = {}
        self.problems: list[Problem] = []

    def add(self, record: str, reason: str, detail: str = "") -> None:
        """Note one record."""
        self.records.append(Record(record, reason, detail))

    def damaged(self) -> list[Record]:
        """Return the damaged lines that the reader of the files put into `problems`."""
        return [
            Record(f"{p.file.name}:{p.line}", p.reason.partition(":")[0], p.reason) for p in self.problems
        ]

    def counts(self) -> dict[str, int]:
        """Return the number of records by reason."""
        return dict(Counter(r.reason for r in (*self.damaged(), *self.records)))

    def write(self, folder: Path) -> None:
        """Write every record with its reason into a file of the run's folder."""
        lines = [json.dumps(r._asdict(), ensure_ascii=False) for r in (*self.damaged(), *self.records)]
        write_whole(folder / FILE, "".join(f"{line}\n" for line in lines))


def fitting(
    turns: Sequence[int], encode: Callable[[Sequence[int]], Example], max_tokens: int
) -> tuple[list[tuple[Sequence[int], Example]], list[int]]:
    """Divide turns among rows, as many in each as there is room for.

    Nothing is cut: every turn keeps all that it sees, and one whose own context is too long is left out.

    Args:
        turns: Indices of the turns to learn, ascending.
        encode: Makes the row in which some of them are learned; with more turns it is longer.
        max_tokens: Most tokens of a row.

    Returns:
        The rows, each with its turns; and the turns that are too long even alone.
    """
    rows: list[tuple[Sequence[int], Example]] = []
    too_long: list[int] = []
    left = list(turns)
    probe = len(left)
    while left:
        fits, limit = 0, len(left)
        while fits < limit:
            probe = min(probe, limit)
            example = encode(left[:probe])
            if len(example.ids) <= max_tokens:
                fits, best = probe, example
                probe *= 2
            else:
                limit = probe - 1
                probe = (fits + limit + 1) // 2
        if fits:
            rows.append((left[:fits], best))
        else:
            too_long.append(left[0])
        left = left[max(fits, 1) :]
        probe = max(fits, 1)  # the next row has room for about as many
    return rows, too_long
