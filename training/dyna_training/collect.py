"""Collecting experience: many episodes, many processes, nothing recorded is ever lost.

    dyna collect --split train --games 400 --out data/train --workers 2

The folder explains itself: ``manifest.json`` says with what command, seed, games and mixture it was made, and
``trajectories.jsonl`` holds the episodes. The same command goes on where the last one ended; `dyna_training.workers`
says what becomes of workers that die, hang or leak, and `dyna_training.cluster` where else they can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ByteSize, ConfigDict, Field

from dyna_nodes.experience import ExperienceError
from dyna_nodes.settings import Memory
from dyna_training.behaviours import BEHAVIOURS, MIXTURE, TEACHERS, BehaviourName, mixture, mixture_digest
from dyna_training.collect_progress import Meter, Progress, ProgressFile
from dyna_training.collection import MANIFEST, CollectError, Collection
from dyna_training.environments.catalogue import ALFWORLD, TooFewGames, catalogue
from dyna_training.hosts import Host, Work, WorkersFailed
from dyna_training.processes import Processes
from dyna_training.recording import Episode, Recorder
from dyna_training.teachers import forking, grounded
from dyna_training.workers import Pool, Report

FAILURES: Final = 10
"""So many failed episodes in a row, without one that worked, end a collection."""
LONGEST: Final = 600.0
"""Seconds that an episode of a behaviour may take, unless something else is asked for."""
LONGEST_OF_A_MODEL: Final = 3600.0
"""The same, of a model's episode."""


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
        cluster: Ray cluster where the workers are: its address, or ``local``; None is this machine, without Ray.
        time_limit: Seconds that an episode may take before its process is killed and it is tried again; None is
            `LONGEST`, and for a model `LONGEST_OF_A_MODEL`.
        memory_limit: Bytes that a worker may hold, engines included, before it is replaced between two episodes.
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
    cluster: str | None = None
    time_limit: float | None = Field(None, gt=0)
    memory_limit: ByteSize | None = Field(None, gt=0)

    @property
    def longest(self) -> float:
        """Seconds that an episode may take."""
        return self.time_limit or (LONGEST_OF_A_MODEL if self.policy else LONGEST)

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
        CollectError: Nothing can be recorded any more, the folder belongs to other settings or somebody else is
            collecting there, or the cluster cannot be used.
        KeyboardInterrupt: Ctrl-C; what was recorded is kept, and the same call goes on.
    """
    episodes = plan(settings)
    collection = Collection(settings.out)
    defaults = {name: field.default for name, field in CollectSettings.model_fields.items()}
    collection.check(settings.identity(), defaults)
    with collection.writing():
        return _Run(settings, collection, episodes, command, on_progress).run()


class _Run:
    """One run of a collection."""

    def __init__(
        self,
        settings: CollectSettings,
        collection: Collection,
        episodes: list[Episode],
        command: str,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.settings, self.collection, self.episodes = settings, collection, episodes
        self.command, self.on_progress = command, on_progress
        self.started = time.time()
        self.failed: list[dict[str, Any]] = []
        wanted = [collection.recorded[e.key] for e in episodes if e.key in collection.recorded]
        self.meter = Meter(len(episodes), len(wanted), sum(r.outcome == "success" for r in wanted))
        self.file = ProgressFile(settings.out)

    def run(self) -> dict[str, Any]:
        """Play what is left, and return the manifest."""
        try:
            self.write_manifest()
        except OSError as error:
            raise CollectError(f"cannot write to {self.settings.out}: {error.strerror or error}") from error
        self.tell(None)
        try:
            self.play()
        except BaseException as error:
            with suppress(
                OSError
            ):  # what stopped the collection is worth more than a manifest that is up to date
                self.write_manifest()
            self.file.write(self.meter.progress(), "stopped")
            if isinstance(error, WorkersFailed | ExperienceError):
                there = sum(e.key in self.collection.recorded for e in self.episodes)
                raise CollectError(
                    f"{error}\n{there} of {len(self.episodes)} episodes are recorded"
                ) from error
            raise
        try:
            self.collection.put_in_order(self.episodes)
            manifest = self.write_manifest()
        except OSError as error:
            raise CollectError(
                f"all episodes are recorded, but {self.settings.out} cannot be put in order, nor {MANIFEST} written: "
                f"{error.strerror or error}; the same command does it once that is mended"
            ) from error
        self.file.write(self.meter.progress(), "done")
        return manifest

    def play(self) -> None:
        """Play what is left, and record it."""
        settings = self.settings
        left = [e for e in self.episodes if e.key not in self.collection.recorded]
        if not left:
            return
        work = Work(
            Recorder, (settings.model_dump(mode="json"),), settings.concurrency if settings.policy else 1
        )
        groups = [list(group) for _, group in groupby(left, key=lambda episode: episode.game)]
        with Pool(
            groups,
            work,
            _host(settings),
            workers=settings.workers,
            time_limit=settings.longest,
            memory_limit=settings.memory_limit,
        ) as pool:
            try:
                self.take(pool)
            except (KeyboardInterrupt, WorkersFailed):
                self.take(pool.finish())  # what is being played is kept
                raise

    def take(self, reports: Iterable[Report[Episode]]) -> None:
        """Record what comes in."""
        in_a_row = 0
        for report in reports:
            if report.kind == "done":
                self.collection.record(report.result)
                in_a_row = 0
            elif report.kind == "failed":
                in_a_row += 1
                self.failed.append({**report.task._asdict(), "reason": report.reason})
            self.tell(report)
            if in_a_row >= FAILURES:
                raise WorkersFailed(f"{FAILURES} episodes in a row failed, the last because: {report.reason}")

    def tell(self, report: Report[Episode] | None) -> None:
        """Say how far it is."""
        if report is not None:
            self.meter.count(report)
        progress = self.meter.progress(report)
        self.file.write_now_and_then(progress)
        self.on_progress(progress)

    def _distribution(self) -> dict[str, object]:
        """Return what the teacher of this environment draws from."""
        teacher = grounded if self.settings.environment == ALFWORLD else forking
        return {**teacher.distribution(), "digest": teacher.distribution_digest()}

    def write_manifest(self) -> dict[str, Any]:
        """Write the manifest and return it."""
        settings = self.settings
        frozen = settings.behaviours == MIXTURE and settings.policy is None
        teaches = not set(TEACHERS).isdisjoint(settings.behaviours)
        about = {
            "command": self.command,
            "settings": settings.model_dump(mode="json"),
            "mixture": {**mixture(), "digest": mixture_digest()} if frozen else None,
            "teacher": self._distribution() if teaches else None,
            "failed": self.failed,
            "crashes": self.meter.crashes,
            "recycled": self.meter.recycled,
            "seconds": round(time.time() - self.started, 1),
        }
        return self.collection.write_manifest(self.episodes, about)


def _host(settings: CollectSettings) -> Host:
    """Return where the workers run.

    Raises:
        CollectError: The cluster cannot be used.
    """
    if settings.cluster is None:
        return Processes()
    from dyna_training.cluster import Cluster, ClusterError

    try:
        return Cluster(settings.cluster, settings.workers)
    except ClusterError as error:
        raise CollectError(str(error)) from error


def behaviour_names() -> list[str]:
    """Return the names of the behaviours."""
    return list(BEHAVIOURS)
