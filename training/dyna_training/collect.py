"""Collecting experience: many episodes, many processes, nothing recorded is ever lost.

    dyna collect --split train --games 400 --out data/train --workers 2

The folder explains itself: ``manifest.json`` says with what command, seed, games and mixture it was made, and
each worker appends trajectories to a file of its own. The same command goes on where the last one ended.
"""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from dyna_nodes.experience.lines import read_lines
from dyna_nodes.nouns import digest_of
from dyna_nodes.settings import Memory
from dyna_training.behaviours import BEHAVIOURS, MIXTURE, TEACHERS, BehaviourName, mixture, mixture_digest
from dyna_training.environments.catalogue import ALFWORLD, TooFewGames, catalogue
from dyna_training.recording import Episode, Record, Recorder, game_key, record_of
from dyna_training.teachers.grounded import distribution, distribution_digest
from dyna_training.whole import write_whole
from dyna_training.workers import Report, WorkersFailed, run_tasks

FORMAT: Final = "dyna-collection/1"
MANIFEST: Final = "manifest.json"
FAILURES: Final = 10
"""So many failed episodes in a row, without one that worked, end a collection."""


class CollectError(RuntimeError):
    """A collection cannot go on; the message says why and what to do."""


class CollectSettings(BaseModel):
    """What is to be collected.

    Attributes:
        environment: Gymnasium id.
        split: Split of the environment's games; of ALFWorld also ``generated``.
        out: Folder of the collection.
        games: How many games; 0 is all of the split.
        skip: How many games of the shuffled split to leave out first, so that two collections share none.
        task_type: Only games of this type.
        without_task_type: No games of this type.
        behaviours: Who plays; each plays every game.
        policy: A model that plays, too: ``provider:model``, ``local:base+adapter``.
        imagined: Adapter of a world model that the policy plays in, instead of the environment.
        device: Torch device of local models.
        temperature: Of the policy.
        max_tokens: Most tokens of a response of the policy; None is the model's own limit.
        system_prompt: What the policy is told; None for the one it was trained with, or a description of the
            tool.
        memory: What the policy reads of its own earlier turns, ``thoughts`` or ``actions``; as it was trained.
        repeats: How often each plays a game, with seeds counting up.
        seed: Seeds the choice of games and all episodes.
        max_steps: Longest episode.
        counterfactuals: How many other commands are tried in forks before each step of a behaviour.
        workers: How many processes.
        concurrency: With a policy, episodes that are played at a time in each process; a local model answers them
            in one batch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str = ALFWORLD
    split: str
    out: Path
    games: int = Field(0, ge=0)
    skip: int = Field(0, ge=0)
    task_type: str | None = None
    without_task_type: str | None = None
    behaviours: tuple[BehaviourName, ...] = MIXTURE
    policy: str | None = None
    imagined: str | None = None
    device: str = "cpu"
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=1)
    system_prompt: str | None = None
    memory: Memory = "thoughts"
    repeats: int = Field(1, ge=1)
    seed: int = 0
    max_steps: int = Field(50, ge=1)
    counterfactuals: int = Field(0, ge=0)
    workers: int = Field(1, ge=1)
    concurrency: int = Field(8, ge=1)

    def identity(self) -> dict[str, Any]:
        """Return the settings that all episodes of a collection have in common."""
        fields = {
            "environment",
            "split",
            "task_type",
            "without_task_type",
            "behaviours",
            "policy",
            "imagined",
            "temperature",
            "max_tokens",
            "system_prompt",
            "memory",
            "seed",
            "max_steps",
            "counterfactuals",
        }
        return self.model_dump(mode="json", include=fields)


class Progress(NamedTuple):
    """How far a collection is.

    Attributes:
        done: Episodes recorded, those of earlier runs included.
        total: Episodes wanted.
        steps: Steps recorded in this run.
        success: Episodes recorded that solved their task.
        report: What has just become of an episode; None at the start.
    """

    done: int
    total: int
    steps: int
    success: int
    report: Report[Episode] | None = None


def plan(settings: CollectSettings) -> list[Episode]:
    """Return the episodes of a collection, in order; the same settings give the same ones.

    Raises:
        GameFileError: The official games are not there.
        CollectError: There are fewer games than asked for, or nobody plays.
    """
    environment, found = settings.environment, catalogue(settings.environment)
    if settings.split not in found.splits:
        raise CollectError(
            f"{environment} has no split {settings.split!r}; there are {', '.join(found.splits)}"
        )
    cannot = [name for name in settings.behaviours if name not in found.behaviours]
    if cannot:
        raise CollectError(
            f"{cannot[0]} does not play {environment}; there are {', '.join(found.behaviours)}"
        )
    try:
        chosen = found.draw(
            settings.split,
            settings.games,
            skip=settings.skip,
            seed=settings.seed,
            wanted=lambda task_type: _wanted(settings, task_type),
        )
    except TooFewGames as error:
        raise CollectError(str(error)) from error
    players: list[str] = [*settings.behaviours, *([settings.policy] if settings.policy else [])]
    if not players:
        raise CollectError("nobody plays: name --behaviours or a --policy")
    seeds = range(settings.seed, settings.seed + settings.repeats)
    return [
        Episode(game, player, seed, environment) for game in chosen for seed in seeds for player in players
    ]


def _wanted(settings: CollectSettings, task_type: str) -> bool:
    return settings.task_type in (None, task_type) and settings.without_task_type != task_type


class Collection:
    """The folder of a collection.

    Args:
        settings: What is to be collected.
        command: The command line, for the manifest.

    Raises:
        CollectError: The folder holds a collection with other settings, or something else.
    """

    def __init__(self, settings: CollectSettings, command: str = "") -> None:
        self.settings = settings
        self.folder = settings.out
        self.command = command
        self.failed: list[dict[str, Any]] = []
        self.crashes = 0
        self.started = time.time()
        self._check()
        self.recorded: dict[tuple[str, str, int], Record] = {}
        self.read()

    def _check(self) -> None:
        file = self.folder / MANIFEST
        if not file.exists():
            if self.folder.is_dir() and any(self.folder.glob("*.jsonl")):
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
        for key, value in self.settings.identity().items():
            # A collection of an earlier version does not know every setting; it was made with the default.
            earlier_value = settings.get(key, CollectSettings.model_fields[key].default)
            if earlier_value != value:
                raise CollectError(
                    f"{self.folder} holds a collection with {key} {earlier_value!r}, not {value!r}; "
                    "go on with the same settings, or choose another folder with --out"
                )

    def read(self) -> None:
        """Find out what is recorded; stopped workers finish what they are at, and report it no more."""
        for file in sorted(self.folder.glob("*.jsonl")):
            self.recorded |= {record.key: record for record in _records(file)}

    def counts(self) -> dict[str, Any]:
        """Return the numbers of episodes, transitions and outcomes, in all and by behaviour."""
        records = list(self.recorded.values())
        by: dict[str, Counter[str]] = {}
        for record in records:
            counter = by.setdefault(record.policy, Counter())
            counter.update({"episodes": 1, "transitions": record.steps, record.outcome: 1})
        return {
            "episodes": len(records),
            "transitions": sum(r.steps for r in records),
            "success": sum(r.outcome == "success" for r in records),
            "games": len({r.game for r in records}),
            "by_behaviour": {name: dict(counter) for name, counter in sorted(by.items())},
        }

    def write_manifest(self, episodes: Sequence[Episode]) -> dict[str, Any]:
        """Write the manifest and return it."""
        keys = [game_key(e.game, e.environment) for e in episodes]
        left = [e for e in episodes if e.key not in self.recorded]
        frozen = self.settings.behaviours == MIXTURE and self.settings.policy is None
        teaches = not set(TEACHERS).isdisjoint(self.settings.behaviours)
        manifest = {
            "format": FORMAT,
            "command": self.command,
            "complete": not left,
            "settings": self.settings.model_dump(mode="json"),
            "episodes": len(episodes),
            "games": {"number": len(set(keys)), "digest": digest_of(sorted(set(keys)))[:16]},
            "mixture": {**mixture(), "digest": mixture_digest()} if frozen else None,
            "teacher": {**distribution(), "digest": distribution_digest()} if teaches else None,
            "counts": self.counts(),
            "failed": self.failed,
            "crashes": self.crashes,
            "seconds": round(time.time() - self.started, 1),
            "versions": {"python": platform.python_version(), "dyna-graph": version("dyna-graph")},
        }
        write_whole(self.folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        return manifest

    def finished(self, worker: int, episode: Episode) -> Record | None:
        """Return the record of an episode that a worker may have written before it died."""
        file = self.folder / f"worker-{worker}.jsonl"
        return next((r for r in _records(file) if r.key == episode.key), None) if file.exists() else None


def collect(
    settings: CollectSettings, *, command: str = "", on_progress: Callable[[Progress], None] = lambda _: None
) -> dict[str, Any]:
    """Collect, or go on with a collection.

    Args:
        settings: What to collect.
        command: The command line, for the manifest.
        on_progress: Called at the start and after every episode.

    Returns:
        The manifest.

    Raises:
        GameFileError: The official games are not there. One corrupt file is reported in the manifest instead.
        CollectError: Nothing can be recorded any more, or the folder belongs to other settings.
        KeyboardInterrupt: Ctrl-C; what was recorded is kept, and the same call goes on.
    """
    episodes = plan(settings)
    collection = Collection(settings, command)
    try:
        collection.folder.mkdir(parents=True, exist_ok=True)
        collection.write_manifest(episodes)
    except OSError as error:
        raise CollectError(f"cannot write to {collection.folder}: {error.strerror or error}") from error
    wanted = {e.key for e in episodes}
    done = sum(key in wanted for key in collection.recorded)
    success = sum(r.outcome == "success" for k, r in collection.recorded.items() if k in wanted)
    steps = in_a_row = 0
    on_progress(Progress(done, len(episodes), steps, success))
    reports = run_tasks(
        _shared_out(episodes, collection, settings.workers),
        Recorder,
        (settings.model_dump(mode="json"),),
        width=settings.concurrency if settings.policy else 1,
        finished=collection.finished,
    )
    try:
        for report in reports:
            if report.kind == "done":
                record = report.result
                collection.recorded[record.key] = record
                done, steps, in_a_row = done + 1, steps + record.steps, 0
                success += record.outcome == "success"
            elif report.kind == "crashed":
                collection.crashes += 1
            else:
                in_a_row += 1
                collection.failed.append({**report.task._asdict(), "reason": report.reason})
            on_progress(Progress(done, len(episodes), steps, success, report))
            if in_a_row >= FAILURES:
                raise CollectError(f"{FAILURES} episodes in a row failed, the last because: {report.reason}")
    except BaseException as error:
        reports.close()
        with suppress(
            OSError
        ):  # what stopped the collection is worth more than a manifest that is up to date
            collection.read()
            collection.write_manifest(episodes)
        if isinstance(error, WorkersFailed):
            recorded = sum(e.key in collection.recorded for e in episodes)
            raise CollectError(f"{error}\n{recorded} of {len(episodes)} episodes are recorded") from error
        raise
    try:
        return collection.write_manifest(episodes)
    except OSError as error:
        raise CollectError(
            f"all episodes are recorded, but {MANIFEST} cannot be written to {collection.folder}: "
            f"{error.strerror or error}; the same command writes it once that is mended"
        ) from error


def _shared_out(episodes: Sequence[Episode], collection: Collection, workers: int) -> list[list[Episode]]:
    """Return what each worker has left to play: whole games, the same ones however often it was stopped."""
    numbers = {game: i for i, game in enumerate(dict.fromkeys(e.game for e in episodes))}
    own: list[list[Episode]] = [[] for _ in range(workers)]
    for episode in episodes:
        if episode.key not in collection.recorded:
            own[numbers[episode.game] % workers].append(episode)
    return own


def _records(file: Path) -> Iterator[Record]:
    """Yield what is known of each whole trajectory in a file, without building it."""
    for line in read_lines(file):
        if line.whole:
            record = record_of(line.raw)
            if record is not None:
                yield record


def behaviour_names() -> list[str]:
    """Return the names of the behaviours."""
    return list(BEHAVIOURS)
