"""Speed of ``dyna/ScienceWorld-v0`` beside the package scienceworld, on the same commands.

Both play the simulator's own solutions of the same games, in turns, and give the same information: observation, score
and end, or the valid actions too. Of the package the fast way is taken, its server's ``step`` instead of its own
``step``, which computes the valid actions whether anybody asks or not; that one is shown beside it. It has no forks:
there a game is loaded again and its commands are repeated. All rates are per second of processor time, that of the
simulator's process included. What may be lost to the wrapper is 10 %; the exit code is 1 where it is more.

Usage::

    python benchmarks/scienceworld_env.py [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from dyna_training.environments.scienceworld import GameSpec, ScienceWorldEnv, simulator
from dyna_training.environments.scienceworld.play import solution

GAMES = ("boil/3", "find-animal/7", "power-component/2", "chemistry-mix/3", "use-thermometer/5")
MOST_LOST = 0.10
FORKS = 3
"""Forks of each game, at the end of its solution but for the last command."""


class Pair(NamedTuple):
    """How often something was done per second of processor time: by the package itself, and by the environment."""

    engine: float
    ours: float

    @property
    def lost(self) -> float:
        """Share of the package's speed that the environment loses; negative where it is faster."""
        return 1 - self.ours / self.engine


class Clock:
    """Processor time of this process and of one other."""

    def __init__(self, pid: int) -> None:
        self._pid, self._total, self._began = pid, 0.0, 0.0

    def __enter__(self) -> None:
        self._began = self._now()

    def __exit__(self, *_: object) -> None:
        self._total += self._now() - self._began

    def _now(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rate(self, number: int) -> float:
        """Return how many of so many things were done in a second."""
        return number / max(self._total, 0.01)


Work = Callable[[Any, GameSpec, tuple[str, ...], Clock], int]
"""Does something with a game and its commands, timed by the clock; returns how many times."""


def engine_steps(listed: bool) -> Work:
    def work(original: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
        original.server.load(game.task, game.variation, "easy", False)
        with clock:
            for command in commands:
                original.server.step(command)
                original.server.getScore()
                original.server.getCompleted()
                if listed:
                    original.get_valid_action_object_combinations()
        return len(commands)

    return work


def engine_own_steps(original: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
    original.load(game.task, game.variation, "easy")
    with clock:
        for command in commands:
            original.step(command)
    return len(commands)


def engine_resets(original: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
    with clock:
        original.server.load(game.task, game.variation, "easy", False)
        original.get_task_description()
        original.look()
    return 1


def engine_forks(original: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
    with clock:
        for _ in range(FORKS):
            original.server.load(game.task, game.variation, "easy", False)
            for command in commands[:-1]:
                original.server.step(command)
            original.server.step("look around")
    return FORKS


def our_steps(listed: bool) -> Work:
    def work(_: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
        env = ScienceWorldEnv(games=[game], max_steps=1000, admissible_actions=listed)
        env.reset(seed=0)
        with clock:
            for command in commands:
                env.step(command)
        return len(commands)

    return work


def our_resets(_: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
    env = ScienceWorldEnv(games=[game], admissible_actions=False)
    with clock:
        env.reset(seed=0)
    return 1


def our_forks(_: Any, game: GameSpec, commands: tuple[str, ...], clock: Clock) -> int:
    env = ScienceWorldEnv(games=[game], max_steps=1000, admissible_actions=False)
    env.reset(seed=0)
    for command in commands[:-1]:
        env.step(command)
    with clock:
        for _ in range(FORKS):
            env.fork().step("look around")
    return FORKS


ROWS: dict[str, tuple[Work, Work]] = {
    "steps": (engine_steps(listed=False), our_steps(listed=False)),
    "steps, actions listed": (engine_steps(listed=True), our_steps(listed=True)),
    "steps, by the package's own step": (engine_own_steps, our_steps(listed=True)),
    "resets": (engine_resets, our_resets),
    "forks, with a step": (engine_forks, our_forks),
}


def measure(original: Any, rounds: int, engine: Work, ours: Work) -> Pair:
    """Return the median rates of some rounds, in which the two take turns, after one that is not counted."""
    pids = {engine: original._gateway.java_process.pid, ours: simulator.simulator().pid}
    rates: dict[Work, list[float]] = {engine: [], ours: []}
    for _ in range(rounds + 1):
        for work, found in rates.items():
            clock = Clock(pids[work])
            number = sum(work(original, game, solution(game), clock) for game in map(GameSpec.parse, GAMES))
            found.append(clock.rate(number))
    return Pair(median(rates[engine][1:]), median(rates[ours][1:]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    from scienceworld import ScienceWorldEnv as Original

    original = Original("")
    try:
        found = {name: measure(original, options.rounds, *pair) for name, pair in ROWS.items()}
    finally:
        original.close()
    good = all(pair.lost <= MOST_LOST for pair in found.values())
    if options.json:
        rows = {name: {**pair._asdict(), "lost": pair.lost} for name, pair in found.items()}
        print(json.dumps({"python": platform.python_version(), "rates": rows, "good": good}, indent=1))
        return 0 if good else 1
    table = Table(title=f"dyna/ScienceWorld-v0 beside scienceworld, solutions of {len(GAMES)} games")
    for column in ("per second of processor time", "scienceworld", "dyna/ScienceWorld-v0", "times as fast"):
        table.add_column(column, justify="left" if column.startswith("per") else "right")
    for name, pair in found.items():
        table.add_row(name, f"{pair.engine:,.1f}", f"{pair.ours:,.1f}", f"{pair.ours / pair.engine:.2f}")
    Console().print(table)
    print("good" if good else f"more than {MOST_LOST:.0%} of the package's speed is lost")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
