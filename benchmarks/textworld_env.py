"""Speed of ``dyna/TextWorld-v0`` beside the bare engine of the package textworld, on the same commands.

Both play the same games with the same commands, in turns, and give the same information: the observation alone, or the
admissible commands too. All rates are per second of processor time. Making the games is not part of it. What may be
lost to the wrapper is 10 %; the exit code is 1 where it is more.

Usage::

    python benchmarks/textworld_env.py [--steps 300] [--rounds 3] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from dyna_training.environments.textworld import TextWorldEnv, game_file

GAMES = (
    "coin_collector/level=105/1",
    "treasure_hunter/level=15/2",
    "cooking/go=6,recipe=2/3",
    "custom/4",
    "simple/5",
)
MOST_LOST = 0.10


class Pair(NamedTuple):
    """How often something was done per second of processor time: by the package itself, and by the environment."""

    engine: float
    ours: float

    @property
    def lost(self) -> float:
        """Share of the engine's speed that the environment loses; negative where it is faster."""
        return 1 - self.ours / self.engine


def wander(game: str, steps: int, seed: int) -> list[str]:
    """Return random admissible commands that neither win nor lose the game."""
    env, rng = TextWorldEnv(games=[game], max_steps=10 * steps), random.Random(seed)
    env.reset(seed=0)
    commands: list[str] = []
    while len(commands) < steps:
        command = rng.choice(env.admissible())
        after = env.fork()
        if not after.step(command)[2]:
            commands.append(command)
            env = after
    return commands


def engine_steps(file: Path, commands: list[str], *, listed: bool) -> None:
    """Play commands with the package's own environment."""
    import textworld

    env = textworld.start(str(file), textworld.EnvInfos(admissible_commands=listed))
    env.reset()
    for command in commands:
        env.step(command)
    env.close()


def our_steps(file: Path, commands: list[str], *, listed: bool) -> None:
    """Play commands with ``dyna/TextWorld-v0``."""
    env = TextWorldEnv(games=[file], max_steps=len(commands) + 1, admissible_actions=listed)
    env.reset(seed=0)
    for command in commands:
        env.step(command)


def engine_forks(file: Path, commands: list[str]) -> None:
    """Copy the package's own environment, without the step that follows."""
    import textworld

    env = textworld.start(str(file), textworld.EnvInfos(admissible_commands=True))
    env.reset()
    for _ in commands:
        env.copy().close()


def our_forks(file: Path, commands: list[str]) -> None:
    """Fork ``dyna/TextWorld-v0``."""
    env = TextWorldEnv(games=[file], admissible_actions=False)
    env.reset(seed=0)
    for _ in commands:
        env.fork()


def measure(
    played: dict[Path, list[str]],
    rounds: int,
    engine: Callable[..., None],
    ours: Callable[..., None],
    **how: Any,
) -> Pair:
    """Return the median rates of some rounds, in which the two take turns."""
    rates: dict[Callable[..., None], list[float]] = {engine: [], ours: []}
    number = sum(map(len, played.values()))
    for _ in range(rounds):
        for work, found in rates.items():
            began = time.process_time()
            for file, commands in played.items():
                work(file, commands, **how)
            found.append(number / (time.process_time() - began))
    return Pair(median(rates[engine]), median(rates[ours]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300, help="commands per game")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    played = {game_file(game): wander(game, options.steps, options.seed) for game in GAMES}
    few = {file: commands[: max(1, options.steps // 30)] for file, commands in played.items()}
    for file, commands in few.items():  # what is loaded once is loaded now
        engine_steps(file, commands, listed=True)
        our_steps(file, commands, listed=True)
    found = {
        "steps": measure(played, options.rounds, engine_steps, our_steps, listed=False),
        "steps, actions listed": measure(played, options.rounds, engine_steps, our_steps, listed=True),
        "forks": measure(few, options.rounds, engine_forks, our_forks),
    }
    good = all(pair.lost <= MOST_LOST for pair in found.values())
    if options.json:
        rows = {name: {**pair._asdict(), "lost": pair.lost} for name, pair in found.items()}
        print(json.dumps({"python": platform.python_version(), "rates": rows, "good": good}, indent=1))
        return 0 if good else 1
    table = Table(title=f"dyna/TextWorld-v0 beside textworld, {len(GAMES)} games of {options.steps} commands")
    for column in ("per second of processor time", "textworld", "dyna/TextWorld-v0", "times as fast"):
        table.add_column(column, justify="left" if column.startswith("per") else "right")
    for name, pair in found.items():
        table.add_row(name, f"{pair.engine:,.0f}", f"{pair.ours:,.0f}", f"{pair.ours / pair.engine:.2f}")
    Console().print(table)
    print("good" if good else f"more than {MOST_LOST:.0%} of the engine's speed is lost")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
