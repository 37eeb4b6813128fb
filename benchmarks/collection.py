"""Speed of ``dyna collect``: two workers beside one, a Ray cluster, and a bare pool of processes that records nothing.

All play the same episodes of generated households. What is counted is the time between the first and the last episode
that comes in, so that starting processes does not count. On a machine that others use, too, wall time says little;
therefore processor time is measured as well, of all processes of a run together: what two workers would gain with two
processors of their own is ``gain``, twice the processor time that an episode takes with one worker, divided by what it
takes with two, times the share of the time in which workers are not waiting for work. The target is 1.8; the exit code
is 1 where neither wall time nor processor time reaches it.

Usage::

    python benchmarks/collection.py [--games 100] [--rounds 3] [--cluster] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from dyna_training.collect import CollectSettings, plan
from dyna_training.collection import Collection
from dyna_training.hosts import Host, Work
from dyna_training.processes import Processes
from dyna_training.recording import Episode, Played, Recorder
from dyna_training.workers import Pool

TARGET = 1.8


class Timed(NamedTuple):
    """An episode as a worker plays it, with what the worker measured.

    Attributes:
        played: The episode.
        busy: Seconds it took.
        cpu: Processor seconds of the worker since it was ready, this episode included.
        waited: Seconds that the worker waited for the episode to be given to it; 0 for the first.
    """

    played: Played
    busy: float
    cpu: float
    waited: float


class TimedRecorder:
    """A `Recorder` that measures itself."""

    def __init__(self, number: int, settings: dict[str, Any]) -> None:
        self.number, self.play = number, Recorder(number, settings)
        self.began = time.process_time()
        self.last: float | None = None

    def __call__(self, episode: Episode) -> tuple[int, Timed]:
        """Play an episode; the number of the worker comes with it."""
        start = time.perf_counter()
        waited = 0.0 if self.last is None else start - self.last
        played = self.play(episode)
        self.last = time.perf_counter()
        return self.number, Timed(played, self.last - start, time.process_time() - self.began, waited)


class Run(NamedTuple):
    """What a run took.

    Attributes:
        rate: Episodes a second of wall time.
        cpu: Processor seconds an episode, of workers and the writing process together.
        writer: The writing process's share of that.
        waiting: Share of the time in which workers had nothing to do.
    """

    rate: float
    cpu: float
    writer: float
    waiting: float


def collection(settings: CollectSettings, make: Callable[[], Host], workers: int) -> Run:
    """Play all episodes of a plan as ``dyna collect`` does, recording them."""
    episodes = plan(settings)
    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        groups.setdefault(episode.game, []).append(episode)
    came: list[float] = []
    by: dict[int, list[Timed]] = {}
    with tempfile.TemporaryDirectory() as name:
        recording = Collection(Path(name))
        work = Work(TimedRecorder, (settings.model_dump(mode="json"),))
        with (
            recording.writing(),
            Pool(list(groups.values()), work, make(), workers=workers) as pool,
        ):
            own = time.process_time()
            for report in pool:
                number, timed = report.result
                came.append(time.perf_counter())
                by.setdefault(number, []).append(timed)
                recording.record(timed.played)
            own = time.process_time() - own
    played = [timed for one in by.values() for timed in one]
    busy, waited = sum(t.busy for t in played), sum(t.waited for t in played)
    cpu = sum(one[-1].cpu for one in by.values()) + own
    return Run((len(came) - 1) / (came[-1] - came[0]), cpu / len(played), own / cpu, waited / (busy + waited))


_play: Recorder


def _prepare(settings: dict[str, Any]) -> None:
    global _play
    _play = Recorder(0, settings)


def _timed(episode: Episode) -> int:
    _play(episode)
    return os.getpid()


def bare_pool(settings: CollectSettings, workers: int) -> Run:
    """Play the same with `multiprocessing.Pool`, which loses everything when a process dies, and records nothing."""
    episodes = plan(settings)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    context = multiprocessing.get_context("spawn")
    arguments = (settings.model_dump(mode="json"),)
    with context.Pool(workers, _prepare, (*arguments,)) as pool:
        came = [time.perf_counter() for _ in _all(pool.imap_unordered(_timed, episodes))]
        pool.close()
        pool.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run((len(came) - 1) / (came[-1] - came[0]), cpu / len(came), 0.0, 0.0)


def _all(results: Iterator[Any]) -> Iterator[Any]:
    yield from results


def cluster_host() -> Host:
    from dyna_training.cluster import Cluster

    return Cluster("local", 2)


def middle(runs: list[Run]) -> Run:
    return Run(*map(median, zip(*runs, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=100, help="households, each played three times")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cluster", action="store_true", help="two actors of a local Ray cluster, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    settings = CollectSettings.model_validate(
        {"split": "generated", "out": Path("unused"), "games": options.games}
    )
    ways: dict[str, Callable[[], Run]] = {
        "dyna collect, 1 worker": lambda: collection(settings, Processes, 1),
        "dyna collect, 2 workers": lambda: collection(settings, Processes, 2),
        "multiprocessing.Pool(2)": lambda: bare_pool(settings, 2),
    }
    if options.cluster:
        ways["dyna collect, 2 Ray actors"] = lambda: collection(settings, cluster_host, 2)
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            runs[name].append(way())
    found = {name: middle(some) for name, some in runs.items()}
    one, two = found["dyna collect, 1 worker"], found["dyna collect, 2 workers"]
    pairs = zip(runs["dyna collect, 1 worker"], runs["dyna collect, 2 workers"], strict=True)
    wall = max(b.rate / a.rate for a, b in pairs)
    gain = 2 * one.cpu / two.cpu * (1 - two.waiting)
    good = max(wall, gain) >= TARGET
    if options.json:
        rows = {name: run._asdict() for name, run in found.items()}
        print(
            json.dumps(
                {"python": platform.python_version(), "runs": rows, "wall": wall, "gain": gain, "good": good}
            )
        )
        return 0 if good else 1
    table = Table(title=f"{3 * options.games} episodes, {options.rounds} rounds, medians")
    for column in ("", "episodes/s", "processor ms/episode", "of it writing", "workers waiting"):
        table.add_column(column, justify="right" if column else "left")
    for name, run in found.items():
        share = ("–", "–") if name.startswith("multi") else (f"{run.writer:.1%}", f"{run.waiting:.1%}")
        table.add_row(name, f"{run.rate:.1f}", f"{run.cpu * 1000:.1f}", *share)
    Console().print(table)
    print(
        f"two workers beside one: {wall:.2f} times in the best round's wall time; {gain:.2f} by processor time"
    )
    print("good" if good else f"less than {TARGET}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
