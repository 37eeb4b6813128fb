"""Episodes into one or more folders: some are kept, some go, and of each that goes it is said why."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from dyna_nodes.nouns import Trajectory
from dyna_training.store.folder import Form, RecordWriter, new_folder, versions, write_manifest
from dyna_training.store.problems import StoreError
from dyna_training.store.source import Source

LEFT_OUT: Final = "left_out.csv"


class Kept(NamedTuple):
    """An episode that stays.

    Attributes:
        trajectory: The episode, as it is written.
        part: Which folder it goes to; the folder itself when empty.
    """

    trajectory: Trajectory
    part: str = ""


class LeftOut(NamedTuple):
    """An episode that goes.

    Attributes:
        reason: Why; the same words for the same reason.
        detail: What more there is to say.
    """

    reason: str
    detail: str = ""


Decide = Callable[[Trajectory], Kept | LeftOut]


def _open(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def rewrite(
    source: Source,
    out: Path,
    form: Form,
    decide: Decide,
    *,
    made: str,
    settings: Mapping[str, Any],
    command: str = "",
    check: Callable[[Path], Mapping[str, Any]] = lambda folder: {},
) -> dict[str, Any]:
    """Write the episodes that stay, and a list of those that go with the reasons.

    Args:
        source: What to read.
        out: The folder.
        form: ``jsonl`` or ``parquet``.
        decide: Says of each episode whether it stays and where.
        made: What is done, for the record.
        settings: With what settings, for the record.
        command: The command line, for the record.
        check: Looks at what was written before it gets its name; what it returns goes into the folder's manifest.

    Returns:
        The manifest; every part has one of its own besides.

    Raises:
        StoreError: Nothing stays, or see `Source.records` and `new_folder`.
    """
    described = source.described()
    about = {"command": command, "source": described, "versions": versions()}
    reasons: Counter[str] = Counter()
    with new_folder(out) as folder:
        writers: dict[str, RecordWriter] = {}
        counts: dict[str, Counter[str]] = {}
        with ExitStack() as stack, _open(folder / LEFT_OUT) as file:
            left_out = csv.writer(file)
            left_out.writerow(("trajectory", *LeftOut._fields))
            for trajectory in source.trajectories():
                fate = decide(trajectory)
                if isinstance(fate, LeftOut):
                    reasons[fate.reason] += 1
                    left_out.writerow((trajectory.id, *fate))
                    continue
                if fate.part not in writers:
                    writer = RecordWriter(folder / fate.part, form, about=about)
                    writers[fate.part] = stack.enter_context(writer)
                    counts[fate.part] = Counter()
                writers[fate.part].append(fate.trajectory)
                counts[fate.part].update(episodes=1, steps=len(trajectory.transitions))
        if not writers:
            said = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
            raise StoreError(f"no episode is left ({said}); nothing was written")
        checked = dict(check(folder))
        common = {"settings": dict(settings), "left_out": dict(reasons), "repeated": source.repeated}
        for part, writer in writers.items():
            if part:
                own = {"part": part, "counts": dict(counts[part]), "digest": writer.digest}
                write_manifest(folder / part, made, command, described, source.problems, **own, **common)
        parts = {part: {**counts[part], "digest": writers[part].digest} for part in sorted(writers)}
        total = sum(counts.values(), Counter())
        return write_manifest(
            folder,
            made,
            command,
            described,
            source.problems,
            counts=dict(total),
            parts=parts,
            **common,
            **checked,
        )
