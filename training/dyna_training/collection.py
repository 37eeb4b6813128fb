"""The folder of a collection: what is recorded in it, who works in it, and the order of its episodes.

One process writes: it alone appends to ``trajectories.jsonl``, in the order in which episodes come in. When all have,
the file is put in the order of the plan, so that it has the same bytes however many workers played, wherever they were
and whatever happened to them.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from dyna_nodes.experience import TrajectoryWriter
from dyna_nodes.experience.lines import read_lines
from dyna_nodes.nouns import digest_of, new_id
from dyna_training.held import Held, held
from dyna_training.recording import Episode, Played, Record, record_of
from dyna_training.whole import write_whole

FORMAT: Final = "dyna-collection/1"
MANIFEST: Final = "manifest.json"
TRAJECTORIES: Final = "trajectories.jsonl"
LOCK: Final = ".lock"
Key = tuple[str, str, int]


class CollectError(RuntimeError):
    """A collection cannot go on; the message says why and what to do."""


class Collection:
    """The folder of a collection.

    Args:
        folder: The folder; it need not be there.

    Attributes:
        recorded: What is recorded, of any run, by key.

    Raises:
        CollectError: What is there cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorded: dict[Key, Record] = {}
        self.read()

    def check(self, identity: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Check that the folder is empty, or holds a collection with certain settings.

        Args:
            identity: The settings that all episodes of a collection have in common.
            defaults: What they were where an earlier version did not know them.

        Raises:
            CollectError: It holds another collection, or something else.
        """
        file = self.folder / MANIFEST
        if not file.exists():
            # A process that was killed at once leaves an empty file.
            if any(file.stat().st_size for file in self.folder.glob("*.jsonl")):
                raise CollectError(
                    f"{self.folder} holds trajectories and no {MANIFEST}; choose another folder with --out"
                )
            return
        try:
            earlier = json.loads(file.read_text(encoding="utf-8"))
            settings = earlier["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise CollectError(
                f"{file} cannot be read ({error}); restore or delete it, or choose another folder"
            ) from error
        for key, value in identity.items():
            earlier_value = settings.get(key, defaults[key])
            if earlier_value != value:
                raise CollectError(
                    f"{self.folder} holds a collection with {key} {earlier_value!r}, not {value!r}; "
                    "go on with the same settings, or choose another folder with --out"
                )

    def read(self) -> None:
        """Find out what is recorded.

        Raises:
            CollectError: It cannot be read.
        """
        self.recorded = {}
        for file in sorted(self.folder.glob("*.jsonl")):  # an earlier version wrote a file per process
            try:
                found = [record for _, record in _records(file) if record is not None]
            except OSError as error:
                raise CollectError(f"cannot read {file}: {error.strerror or error}") from error
            self.recorded |= {record.key: record for record in found}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder, so that `record` can be called.

        Raises:
            CollectError: It cannot be written, or somebody else is collecting there.
        """
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(self.folder / LOCK, wait=False))
                for left in self.folder.glob(".*.json*.partial"):  # of a process that was killed
                    left.unlink()
                self._writer = stack.enter_context(TrajectoryWriter(self.folder / TRAJECTORIES))
                self.read()
            except Held as error:
                raise CollectError(
                    f"another `dyna collect` is at work in {self.folder} (process {error.by}); wait for it, or "
                    "choose another folder with --out"
                ) from None
            except OSError as error:
                raise CollectError(f"cannot write to {self.folder}: {error.strerror or error}") from error
            yield

    def record(self, played: Played) -> None:
        """Append an episode; when this returns, it survives the death of any process.

        Raises:
            ExperienceError: It could not be written.
        """
        self._writer.append_line(played.line)
        self.recorded[played.record.key] = played.record

    def put_in_order(self, episodes: Sequence[Episode]) -> None:
        """Put what is recorded in the order of a plan; what the plan does not have comes last, as it was.

        Raises:
            OSError: There is no room for the copy; everything is as it was.
        """
        file = self.folder / TRAJECTORIES
        rank = {episode.key: number for number, episode in enumerate(episodes)}
        ranks = [rank.get(key, len(rank)) if key else len(rank) for key, _ in _records(file)]
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        if order == list(range(len(ranks))):
            return
        partial = self.folder / f".{TRAJECTORIES}.{new_id()}.partial"
        try:
            with file.open("rb") as lines, partial.open("wb") as copy:
                starts = _starts(lines)
                for number in order:
                    lines.seek(starts[number])
                    copy.write(lines.readline())
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(partial, file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def counts(self) -> dict[str, Any]:
        """Return the numbers of episodes, transitions and outcomes, in all and by behaviour."""
        records = list(self.recorded.values())
        by: dict[str, Counter[str]] = {}
        for record in records:
            counter = by.setdefault(record.policy, Counter())
            counter.update({"episodes": 1, "transitions": record.steps, record.outcome: 1})
            if record.unacted:
                counter["without_action"] += 1
        return {
            "episodes": len(records),
            "transitions": sum(r.steps for r in records),
            "success": sum(r.outcome == "success" for r in records),
            "games": len({r.game for r in records}),
            "by_behaviour": {name: dict(counter) for name, counter in sorted(by.items())},
        }

    def write_manifest(self, episodes: Sequence[Episode], about: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest and return it.

        Args:
            episodes: The plan.
            about: What else it says.

        Raises:
            OSError: It cannot be written.
        """
        keys = sorted({e.key[0] for e in episodes})
        manifest = {
            "format": FORMAT,
            "complete": all(e.key in self.recorded for e in episodes),
            "episodes": len(episodes),
            "games": {"number": len(keys), "digest": digest_of(keys)[:16]},
            "counts": self.counts(),
            **about,
            "versions": {"python": platform.python_version(), "dyna-graph": version("dyna-graph")},
        }
        write_whole(self.folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        return manifest


def _records(file: Path) -> Iterator[tuple[Key | None, Record | None]]:
    """Yield key and record of each whole line of a file, without building the trajectory; None of another line."""
    for line in read_lines(file):
        if line.whole:
            record = record_of(line.raw)
            yield (None if record is None else record.key), record


def _starts(lines: Any) -> list[int]:
    """Return where each line begins that `_records` yields."""
    starts, at = [], 0
    for raw in lines:
        if raw.rstrip(b"\r\n"):
            starts.append(at)
        at += len(raw)
    return starts
