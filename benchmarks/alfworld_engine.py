"""Speed of the ALFWorld engine on one core: steps with and without admissible actions, forks.

The headline is the *first pass*: a new process loads the games and plays each command once, with nothing warmed up and
no best of several runs. Beside it stands the *replay*, the best of three further passes over the same commands in the
same process. All rates are per second of processor time, so that other work on the machine does not count, except for
what it takes from the processor's caches. The drawing of the commands and the loading of the games are not part of it.

Usage, with official games or, without them, generated ones; ``--python`` names a Python that has alfworld and
textworld, whose own figure is then measured on the same commands::

    python benchmarks/alfworld_engine.py [--games 20] [--steps 2000] [--seed 0] [--python PATH] [--json]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.equality import transcripts
from dyna_training.environments.alfworld.game import Game, GameFileError, load_game
from dyna_training.environments.alfworld.generator import write
from dyna_training.environments.alfworld.plays import select
from dyna_training.environments.alfworld.splits import games

TARGETS = {"steps": 10_000.0, "steps, actions listed": 4_000.0, "forks": 100_000.0}
"""Least number per second, in the first pass."""

ORIGINAL_STEPS = 60
Played = list[tuple[Game, list[str]]]


class Rate(NamedTuple):
    """How often something was done per second of processor time.

    Attributes:
        first: In the first pass of a new process.
        replay: In the best of three further passes.
    """

    first: float
    replay: float


def game_files(number: int, seed: int, folder: Path) -> tuple[list[Path], str]:
    """Return official games of the split ``train``, or generated ones where there are none."""
    try:
        return select(number, seed, games("train")), "official"
    except GameFileError:
        return [write(folder, seed + index) for index in range(number)], "generated"


def wander(game: Game, steps: int, seed: int) -> list[str]:
    """Return random admissible commands, a verb drawn first so that all verbs occur."""
    generator, state = random.Random(seed), State(game)
    commands = []
    for _ in range(steps):
        by_verb: dict[str, list[str]] = {}
        for command in state.admissible():
            by_verb.setdefault(command.partition(" ")[0], []).append(command)
        command = generator.choice(by_verb[generator.choice(sorted(by_verb))])
        state.step(command)
        commands.append(command)
    return commands


def steps(played: Played) -> None:
    """Play the commands."""
    for game, commands in played:
        state = State(game)
        for command in commands:
            state.step(command)


def steps_with_actions(played: Played) -> None:
    """Play the commands, and list the admissible ones after each."""
    for game, commands in played:
        state = State(game)
        for command in commands:
            state.step(command)
            state.admissible()


def forks(played: Played) -> None:
    """Fork the start of each game once per command."""
    for game, commands in played:
        state = State(game)
        for _ in commands:
            state.fork()


def forks_with_step(played: Played) -> None:
    """Before each command, fork, and play it in the fork, too: two steps and a fork."""
    for game, commands in played:
        state = State(game)
        for command in commands:
            state.fork().step(command)
            state.step(command)


WORK: dict[str, Callable[[Played], None]] = {
    "steps": steps,
    "steps, actions listed": steps_with_actions,
    "forks": forks,
    "forks, each stepped": forks_with_step,
}


def passes(name: str, requests: list[tuple[Path, list[str]]], number: int) -> list[float]:
    """Do the work of that name several times and return the seconds of processor time of each pass."""
    played = [(load_game(file), commands) for file, commands in requests]
    seconds = []
    for _ in range(number):
        started = time.process_time()
        WORK[name](played)
        seconds.append(time.process_time() - started)
    return seconds


def measure(requests: list[tuple[Path, list[str]]]) -> Iterator[tuple[str, Rate]]:
    """Measure the engine, in a new process for each kind of work.

    Args:
        requests: Game files and the commands to play on them.

    Yields:
        The kind of work, and its rate.
    """
    count = sum(len(commands) for _, commands in requests)
    for name in WORK:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            first, *replays = process.submit(passes, name, requests, 4).result()
        yield name, Rate(count / first, count / min(replays))


def main() -> int:
    """Print the figures; the exit code is 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000, help="commands per game")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", help="Python that has alfworld and textworld")
    parser.add_argument("--original-games", type=int, default=3, help="games for the original engine")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files, source = game_files(options.games, options.seed, Path(folder))
        started = time.process_time()
        loaded = [load_game(file) for file in files]
        load_ms = 1000 * (time.process_time() - started) / len(files)
        requests = [
            (file, wander(game, options.steps, options.seed))
            for file, game in zip(files, loaded, strict=True)
        ]
        rates = dict(measure(requests))
        original: dict[str, float] = {}
        if options.python:
            sample = [
                (file, commands[:ORIGINAL_STEPS]) for file, commands in requests[: options.original_games]
            ]
            answers = list(transcripts(sample, options.python, Path(folder) / "cache", per_process=1))
            seconds = sum(answer["step_s"] for answer in answers)
            original = {
                "steps, actions listed": sum(len(commands) for _, commands in sample) / seconds,
                "load and reset, ms": 1000 * sum(answer["reset_s"] for answer in answers) / len(answers),
            }
    report = {
        "games": len(files),
        "source": source,
        "commands per game": options.steps,
        "seed": options.seed,
        "python": platform.python_version(),
        "processor": _processor(),
        "per second": {name: rate._asdict() for name, rate in rates.items()},
        "load and reset, ms": load_ms,
        "targets per second": TARGETS,
        "original": original,
    }
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report, rates, load_ms, original)
    return 0 if all(rates[name].first >= target for name, target in TARGETS.items()) else 1


def _print(
    report: dict[str, object], rates: dict[str, Rate], load_ms: float, original: dict[str, float]
) -> None:
    table = Table(title=f"ALFWorld engine, one core, {report['games']} {report['source']} games")
    for name in ("", "first pass", "replay", "target", "alfworld"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for name, rate in rates.items():
        theirs = f"{original[name]:.1f}" if name in original else ("none" if name.startswith("fork") else "-")
        target = f"{TARGETS[name]:,.0f}" if name in TARGETS else ""
        table.add_row(f"{name} /s", f"{rate.first:,.0f}", f"{rate.replay:,.0f}", target, theirs)
    theirs = f"{original['load and reset, ms']:,.0f}" if original else "-"
    table.add_row("load and reset, ms", f"{load_ms:.1f}", "", "", theirs)
    console = Console()
    console.print(table)
    console.print(f"Python {report['python']}, {report['processor']}, seed {report['seed']}.")
    if not original:
        console.print("Give --python with a Python that has alfworld to measure the original beside it.")


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
