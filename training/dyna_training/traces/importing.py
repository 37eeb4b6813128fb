"""Importing: from files of a reasoning model's logs to trajectories, with a report on every turn.

    dyna traces import logs/ --format openai --out data/teacher

The folder then holds ``traces.jsonl``, as ``dyna collect`` writes trajectories, and ``manifest.json`` with
counts and problems.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from dyna_nodes.experience import TrajectoryWriter
from dyna_training.traces.balrog import read_episode
from dyna_training.traces.chat_logs import read_chat_log
from dyna_training.traces.conversation import AS_LOGGED, Reading
from dyna_training.traces.problems import Fate, Imported, Reason, Reported
from dyna_training.whole import write_whole

FORMAT: Final = "dyna-traces/1"
MANIFEST: Final = "manifest.json"
TRACES: Final = "traces.jsonl"
LogFormat = Literal["openai", "langsmith", "balrog"]
SUFFIXES: Final = {"openai": (".json", ".jsonl"), "langsmith": (".json", ".jsonl"), "balrog": (".csv",)}


class TracesError(RuntimeError):
    """Traces cannot be imported or abbreviated; the message says why and what to do."""


class ImportSettings(BaseModel):
    """What is to be imported.

    Attributes:
        paths: Files and folders.
        format: Who wrote them.
        out: Folder for the trajectories; it must not hold any yet.
        tools: Names of the known tools; None takes what each log says.
        action_pattern: Regular expression whose group 1 is an action in a text; None for the usual ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[Path, ...]
    format: LogFormat
    out: Path
    tools: tuple[str, ...] | None = None
    action_pattern: str | None = None


def log_files(settings: ImportSettings) -> tuple[list[Path], list[Reported]]:
    """Return the files to read, and the files in the folders that are none.

    Raises:
        TracesError: A path does not exist, or nothing is to be read.
    """
    files: list[Path] = []
    others: list[Reported] = []
    for path in settings.paths:
        if not path.exists():
            raise TracesError(f"{path}: there is no such file or folder")
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        wanted = [p for p in inside if not path.is_dir() or p.suffix in SUFFIXES[settings.format]]
        files += wanted
        beside = {p.with_suffix(".json") for p in wanted} if settings.format == "balrog" else set()
        others += [
            Reported(file=str(p), reason=Reason.OTHER_FILE, fate=Fate.LEFT_OUT)
            for p in inside
            if p not in wanted and p not in beside
        ]
    files = list(dict.fromkeys(files))
    if not files:
        kinds = " or ".join(f"*{s}" for s in SUFFIXES[settings.format])
        raise TracesError(f"no {kinds} in {', '.join(map(str, settings.paths))}; is --format right?")
    return files, others


def read_file(path: Path, format: LogFormat, reading: Reading = AS_LOGGED) -> Iterator[Imported]:
    """Read one file of logs; a file that cannot be opened is reported like any other problem."""
    try:
        if format == "balrog":
            yield from read_episode(path)
        else:
            yield from read_chat_log(path, format, reading)
    except OSError as error:
        detail = f"cannot be read: {error.strerror or error}"
        yield Imported(str(path), None, 0, [Reported(file=str(path), reason=Reason.FORMAT, detail=detail)])


def import_traces(
    settings: ImportSettings, *, command: str = "", on_file: Callable[[Path], None] = lambda _: None
) -> dict[str, Any]:
    """Import logs.

    The trajectories appear in the folder only when all of them are written, so that the same command can be
    given again after an interruption.

    Args:
        settings: What to import.
        command: The command line, for the manifest.
        on_file: Called with each file before it is read.

    Returns:
        The manifest.

    Raises:
        TracesError: There is nothing to read, or the folder holds trajectories already.
        TurnsLost: The numbers of turns do not add up; nothing is written then.
    """
    files, reported = log_files(settings)
    reading = _reading(settings)
    started = time.time()
    tally = Tally(files=len(files))
    with publishing(settings.out) as writer:
        for path in files:
            on_file(path)
            for imported in read_file(path, settings.format, reading):
                imported.check()
                tally.add(imported)
                reported += imported.reported
                if imported.trajectory is not None:
                    writer.append(imported.trajectory)
    manifest = {
        "format": FORMAT,
        "command": command,
        "settings": settings.model_dump(mode="json"),
        "counts": tally.counts(reported),
        "seconds": round(time.time() - started, 1),
        "versions": {"python": platform.python_version(), "dyna-graph": version("dyna-graph")},
        "problems": [line.model_dump(mode="json", exclude_none=True) for line in reported],
    }
    write_manifest(settings.out, manifest)
    return manifest


class Tally:
    """Counts what an import reads and keeps.

    Args:
        files: How many files are read.
    """

    def __init__(self, files: int) -> None:
        self.files = files
        self.turns = self.kept = self.trajectories = self.steps = 0
        self.outcomes: Counter[str] = Counter()

    def add(self, imported: Imported) -> None:
        """Count one record."""
        self.turns += imported.turns
        self.kept += imported.kept
        if imported.trajectory is not None:
            self.trajectories += 1
            self.steps += len(imported.trajectory.transitions)
            self.outcomes[imported.trajectory.outcome] += 1

    def counts(self, reported: Iterable[Reported]) -> dict[str, Any]:
        """Return all counts; reasons with the turns and the lines of the report they have."""
        lines = list(reported)
        reasons: dict[str, dict[str, int]] = {}
        for line in lines:
            row = reasons.setdefault(line.reason, {"turns": 0, "lines": 0, **dict.fromkeys(Fate, 0)})
            row["turns"] += line.turns
            row["lines"] += 1
            row[line.fate] += 1
        turns = sum(line.turns for line in lines)
        return {
            "files": self.files,
            "trajectories": self.trajectories,
            "steps": self.steps,
            "outcomes": dict(self.outcomes),
            "turns": {"read": self.turns, "kept": self.kept, "reported": turns},
            "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1]["turns"])),
        }


class publishing:
    """Writes a folder's trajectories so that they are there all at once, or not at all.

    Args:
        folder: The folder; made if need be.

    Raises:
        TracesError: It holds trajectories already, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.partial = folder / f".{TRACES}.partial"
        if folder.is_dir() and any(folder.rglob("*.jsonl")):
            raise TracesError(f"{folder} holds trajectories already; choose another folder with --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.partial.unlink(missing_ok=True)
            self.writer = TrajectoryWriter(self.partial)
        except OSError as error:
            raise TracesError(f"cannot write to {folder}: {error.strerror or error}") from error

    def __enter__(self) -> TrajectoryWriter:
        return self.writer

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.writer.close()
        if kind is None:
            os.replace(self.partial, self.folder / TRACES)
        else:
            self.partial.unlink(missing_ok=True)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a folder whole."""
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def _reading(settings: ImportSettings) -> Reading:
    if settings.action_pattern is None:
        return Reading(settings.tools)
    try:
        pattern = re.compile(settings.action_pattern, re.MULTILINE)
    except re.error as error:
        raise TracesError(f"--action-pattern is no regular expression: {error}") from error
    if pattern.groups < 1:
        raise TracesError("--action-pattern needs a group ( ) around the action")
    return Reading(settings.tools, pattern)
