"""The folder of an annotation: what is in it, whether it may be gone on with, and what its manifest says."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from dyna_nodes.experience import Problem, iter_trajectory_file
from dyna_nodes.nouns import Trajectory, digest_of
from dyna_training.annotate.annotator import (
    LABELS,
    NOTES,
    SIMULATED,
    SIMULATION_CORRECT,
    AnnotationObjective,
    turns_to_annotate,
)
from dyna_training.data import count_records, read_trajectories, trajectory_files
from dyna_training.whole import write_whole

FORMAT: Final = "dyna-annotation/1"
MANIFEST: Final = "manifest.json"
ANNOTATED: Final = "annotated.jsonl"
KEY: Final = "annotation"
"""Key of a trajectory's ``configuration``: by objective, who annotated it and what went wrong."""


class AnnotateError(RuntimeError):
    """Nothing can be annotated, or the work cannot go on; the message says why and what to do."""


class AnnotateSettings(BaseModel):
    """What is to be annotated, and by whom.

    Attributes:
        data: Files and folders of trajectories.
        out: Folder for the annotated ones; an interrupted one is continued.
        objective: What is asked for.
        by: ``grounded``, or the name of a chat model: ``provider:model``, ``local:base+adapter``.
        temperature: Of the chat model; None for its own.
        attempts: How often a chat model is asked at most when its answer is out of format.
        concurrency: How many questions to a chat model are open at a time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: tuple[Path, ...]
    out: Path
    objective: AnnotationObjective
    by: str
    temperature: float | None = Field(None, ge=0)
    attempts: int = Field(3, ge=1)
    concurrency: int = Field(8, ge=1)

    def identity(self) -> dict[str, Any]:
        """Return the settings that all trajectories of a folder have in common."""
        return self.model_dump(mode="json", include={"objective", "by", "temperature", "attempts"})


class Work:
    """The folder of an annotation.

    Args:
        settings: What is annotated, and by whom.
        command: The command line, for the manifest.

    Raises:
        AnnotateError: The data are not there, or the folder belongs to other settings.
    """

    def __init__(self, settings: AnnotateSettings, command: str) -> None:
        self.settings = settings
        self.command = command
        self.started = time.time()
        self.unreadable: list[Problem] = []
        self.failed: dict[str, str] = {}
        self.out = settings.out
        try:
            self.files = trajectory_files(settings.data)
        except FileNotFoundError as error:
            raise AnnotateError(str(error)) from error
        inside = [file for file in self.files if file.resolve().is_relative_to(self.out.resolve())]
        if inside:
            raise AnnotateError(
                f"{inside[0]} lies in the folder {self.out} that is to be written; choose another --out"
            )
        self._check()
        self.finished = {t.id for t in self.recorded()}

    def _check(self) -> None:
        file = self.out / MANIFEST
        if not file.exists():
            if self.out.is_dir() and any(self.out.glob("*.jsonl")):
                raise AnnotateError(
                    f"{self.out} holds trajectories and no {MANIFEST}; choose another folder with --out"
                )
            return
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            earlier = AnnotateSettings.model_validate(manifest["settings"]).identity()
        except (ValueError, KeyError, TypeError) as error:
            raise AnnotateError(
                f"{file} is no manifest of an annotation; choose another folder with --out"
            ) from error
        for key, value in self.settings.identity().items():
            if earlier[key] != value:
                raise AnnotateError(
                    f"{self.out} was annotated with {key} {earlier[key]!r}, not {value!r}; "
                    "go on with the same settings, or choose another folder with --out"
                )

    def recorded(self) -> Iterator[Trajectory]:
        """Yield what is annotated."""
        file = self.out / ANNOTATED
        if file.exists():
            yield from iter_trajectory_file(file, [])

    def data(self) -> Iterator[Trajectory]:
        """Yield every trajectory of the data once; lines that are none go to `unreadable`."""
        yield from read_trajectories(self.files, self.unreadable, imagined=True)

    def total(self) -> int:
        """Return the number of trajectories in the data, as far as that is known without reading them."""
        return sum(count_records(file) for file in self.files)

    def write_manifest(self, annotator: str, *, complete: bool = False) -> dict[str, Any]:
        """Write the manifest from what is annotated, and return it."""
        counts = Counter({"trajectories": 0, "turns": 0, "annotated": 0, "problems": 0})
        reasons: Counter[str] = Counter()
        problems: list[dict[str, Any]] = []
        values: list[Any] = []
        objective = self.settings.objective
        for trajectory in self.recorded():
            made = trajectory.configuration[KEY][objective]
            found = {int(index): reason for index, reason in made["problems"].items()}
            counts.update({"trajectories": 1, "turns": made["turns"], "problems": len(found)})
            reasons.update(reason.partition(": ")[0] for reason in found.values())
            problems += [{"trajectory": trajectory.id, "turn": i, "reason": r} for i, r in found.items()]
            for index in turns_to_annotate(trajectory, objective):
                step = trajectory.transitions[index]
                notes = {k: step.notes[k] for k in NOTES[objective] if k in step.notes}
                labels = {k: step.labels[k] for k in LABELS[objective] if k in step.labels}
                if notes or labels:
                    values.append([trajectory.id, index, notes, labels])
                    shares = {k: int(labels[k]) for k in (SIMULATED, SIMULATION_CORRECT) if k in labels}
                    counts.update(shares)
                    counts["annotated"] += 1
        manifest = {
            "format": FORMAT,
            "command": self.command,
            "complete": complete,
            "settings": self.settings.model_dump(mode="json"),
            "annotator": annotator,
            "counts": dict(counts),
            "digest": digest_of(sorted(values, key=lambda v: v[:2]))[:16],
            "problems_by_kind": dict(reasons.most_common()),
            "problems": problems,
            "failed": [{"trajectory": id, "reason": reason} for id, reason in self.failed.items()],
            "unreadable": [str(problem) for problem in self.unreadable],
            "seconds": round(time.time() - self.started, 1),
            "versions": {"python": platform.python_version(), "dyna-graph": version("dyna-graph")},
        }
        write_whole(self.out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        return manifest
