"""Speed of Sokoban, Maze and Taxi beside named peers, and how many levels their experts solve.

Sokoban is compared with gym-sokoban on the same level and moves, and whether both come to the same boards is checked;
Taxi with gymnasium's Taxi-v4 on the same rides, states checked too. For mazes there is no stepping peer that we know
of: the nearest is gymnasium's CliffWalking-v1, a walk on a grid. Of gymnasium environments that are adapted, FrozenLake
is compared with itself. All rates are per second of processor time of one core, without a list of admissible actions.

gym-sokoban needs packages of its time; without it Sokoban is measured alone::

    python -m pip install --no-deps --target gym-sokoban \
        gym==0.26.2 gym-notices gym-sokoban==0.0.6 imageio 'setuptools<81'
    PYTHONPATH=gym-sokoban python benchmarks/grid_worlds.py

Usage::

    python benchmarks/grid_worlds.py [--steps 100000] [--levels 200] [--seed 0] [--json]

``--levels`` are solved of each split, and of each of Boxoban's folders in ``$BOXOBAN_LEVELS``. The exit code is 1 where
a target is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any, NamedTuple

import gymnasium
from rich.console import Console
from rich.table import Table

from dyna_training.environments.adapted import AdaptedEnv
from dyna_training.environments.boards import BoardEnv
from dyna_training.environments.maze import MazeEnv
from dyna_training.environments.maze import games as mazes
from dyna_training.environments.sokoban import SokobanEnv, level_of
from dyna_training.environments.sokoban import games as levels
from dyna_training.environments.sokoban.boxoban import VARIABLE, Part
from dyna_training.environments.sokoban.level import cells
from dyna_training.environments.sokoban.state import SokobanBoard
from dyna_training.environments.taxi import TaxiEnv
from dyna_training.environments.taxi import games as rides
from dyna_training.environments.taxi.splits import scene_of
from dyna_training.environments.taxi.state import TaxiBoard

LEVEL, MAZE, RIDE = "10x10-2/5", "kruskal-12/5", "R-G/2,3"
WANTED = 100_000.0
LONG = 10**9
MOVES = ("up", "down", "left", "right")
PEER_STEPS = 50
"""gym-sokoban, here with the smaller of its pictures, gets so many times fewer steps."""


class Rate(NamedTuple):
    """Steps per second.

    Attributes:
        peer: Name of the peer.
        theirs: Of the peer; None where it is not installed.
        ours: Of the environment.
        wanted: At least so many.
    """

    peer: str
    theirs: float | None
    ours: float
    wanted: float


def per_second(number: int, work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return number / (time.process_time() - began)


def drawn(commands: Sequence[str], number: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice(commands) for _ in range(number)]


def our_rate(env: BoardEnv, commands: list[str]) -> float:
    """Return the rate of an environment that begins again whenever it is won."""
    env.reset(seed=0)

    def run() -> None:
        for command in commands:
            if env.step(command)[2]:
                env.reset(seed=0)

    return per_second(len(commands), run)


def sokoban(steps: int, seed: int) -> Rate:
    commands = drawn(MOVES, steps, seed)
    ours = our_rate(SokobanEnv(games=[LEVEL], max_steps=LONG, admissible_actions=False), commands)
    return Rate("gym-sokoban 0.0.6", gym_sokoban(commands[: steps // PEER_STEPS]), ours, WANTED)


def gym_sokoban(commands: list[str]) -> float | None:
    """Return the rate of gym-sokoban, playing our level; None where it is not installed.

    Raises:
        AssertionError: It came to another board than we.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            import numpy
            from gym_sokoban.envs.sokoban_env import SokobanEnv as Original
    except ImportError:
        return None
    level, board = level_of(LEVEL), SokobanBoard(level_of(LEVEL))
    original: Any = Original(dim_room=(level.height, level.width), num_boxes=2, max_steps=LONG, reset=False)
    fixed = numpy.zeros((level.height, level.width), dtype=int)
    for number, found in ((1, level.floor), (2, level.goals)):
        for cell in cells(found):
            fixed[divmod(cell, level.stride)] = number
    original.room_fixed, original.room_state = fixed, fixed.copy()
    for cell in cells(level.boxes):
        original.room_state[divmod(cell, level.stride)] = 4
    original.player_position = numpy.array(divmod(level.player, level.stride))
    original.room_state[divmod(level.player, level.stride)] = 5
    original.box_mapping, original.boxes_on_target, original.num_env_steps = {}, 0, 0
    original.reward_last = 0

    def run() -> None:
        for command in commands:
            original.step(1 + MOVES.index(command), observation_mode="tiny_rgb_array")

    rate = per_second(len(commands), run)
    for command in commands:
        board.step(command)
    boxes = {tuple(map(int, place)) for place in numpy.argwhere(numpy.isin(original.room_state, (3, 4)))}
    assert boxes == {divmod(cell, level.stride) for cell in cells(board.boxes)}
    assert tuple(map(int, original.player_position)) == divmod(board.player, level.stride)
    return rate


def maze(steps: int, seed: int) -> Rate:
    commands = drawn(MOVES, steps, seed)
    ours = our_rate(MazeEnv(games=[MAZE], max_steps=LONG, admissible_actions=False), commands)
    walk = gymnasium.make("CliffWalking-v1", disable_env_checker=True).unwrapped
    walk.reset(seed=0)
    actions = [MOVES.index(command) for command in commands]

    def run() -> None:
        for action in actions:
            if walk.step(action)[2]:
                walk.reset()

    return Rate("gymnasium's CliffWalking", per_second(steps, run), ours, WANTED)


def taxi(steps: int, seed: int) -> Rate:
    names = TaxiBoard.commands
    commands = drawn(names, steps, seed)
    env = TaxiEnv(games=[RIDE], max_steps=LONG, admissible_actions=False)
    ours = our_rate(env, commands)
    original: Any = gymnasium.make("Taxi-v4", disable_env_checker=True).unwrapped
    original.reset(seed=0)
    original.s = start = scene_of(RIDE).state
    actions = [names.index(command) for command in commands]

    def run() -> None:
        for action in actions:
            if original.step(action)[2]:
                original.reset()
                original.s = start

    theirs = per_second(steps, run)
    assert isinstance(env.board, TaxiBoard)
    assert env.board.state == original.s
    return Rate("gymnasium's Taxi-v4", theirs, ours, theirs / 2)


def adapted(steps: int, seed: int) -> dict[str, float]:
    """Return rates of FrozenLake: by itself, adapted, and of forks in the middle of an episode."""
    names = ("left", "down", "right", "up")
    commands = drawn(names, steps, seed)
    actions = [names.index(command) for command in commands]
    bare = gymnasium.make("FrozenLake-v1", disable_env_checker=True, render_mode="ansi")
    bare.reset(seed=0)

    def run() -> None:
        for action in actions:
            if any(bare.step(action)[2:4]):
                bare.reset(seed=0)

    found = {"FrozenLake itself, steps": per_second(steps, run)}
    env = AdaptedEnv("FrozenLake-v1", actions=names, describe=lambda env, observation: str(observation))
    env.reset(seed=0)

    def run_adapted() -> None:
        for command in commands:
            if any(env.step(command)[2:4]):
                env.reset(seed=0)

    found["adapted, steps"] = per_second(steps, run_adapted)
    for how in ("copy", "replay"):
        middle = AdaptedEnv("FrozenLake-v1", actions=names, render_mode="ansi", fork=how)  # type: ignore[arg-type]
        middle.reset(seed=0)
        for _ in range(20):
            middle.step("up")
        forks = [middle.fork] * 100
        found[f"adapted, forks by {how} after 20 steps"] = per_second(
            100, lambda f=forks: [one() for one in f]
        )
    return found


class Solved(NamedTuple):
    """How many levels were solved, and in which time.

    Attributes:
        solved: How many.
        number: Of how many.
        steps: Mean number of steps.
        slowest: Seconds that the slowest took.
        average: Seconds that one took.
    """

    solved: int
    number: int
    steps: float
    slowest: float
    average: float


def solve_all(env: BoardEnv, names: Sequence[str], most_steps: int) -> Solved:
    steps, times = [], []
    for name in names:
        env.reset(seed=0, options={"game": name})
        began, expert = time.process_time(), env.expert()
        for step in range(1, most_steps + 1):
            action = expert.decide().action
            observation, _, won, _, _ = env.step(action)
            expert.observe(action, observation)
            if won:
                steps.append(step)
                break
        times.append(time.process_time() - began)
    return Solved(len(steps), len(names), mean(steps or [0]), max(times), mean(times))


def experts(number: int) -> dict[str, Solved]:
    """Return what the experts solve of each split."""
    found: dict[str, Solved] = {}
    env: BoardEnv = SokobanEnv(max_steps=LONG, admissible_actions=False)
    for split in ("train", "dev", "test", "more_boxes", "larger", "largest"):
        found[f"Sokoban {split}"] = solve_all(env, levels(split)[:number], 50)
    folder = os.environ.get(VARIABLE)
    for path in ("unfiltered/train", "unfiltered/valid", "unfiltered/test", "medium/valid", "hard"):
        if folder and os.path.isdir(os.path.join(folder, path)):
            some = Part(path)
            found[f"Boxoban {path}"] = solve_all(env, some[:: max(1, len(some) // number)][:number], 1000)
    env = MazeEnv(max_steps=LONG, admissible_actions=False)
    for split in ("train", "dev", "test", "larger", "largest", "unseen_kind"):
        found[f"Maze {split}"] = solve_all(env, mazes(split)[:number], 50)
    env = TaxiEnv(max_steps=LONG, admissible_actions=False)
    for split in ("train", "dev", "test", "unseen_route"):
        found[f"Taxi {split}"] = solve_all(env, rides(split)[:number], 200)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--levels", type=int, default=200, help="levels to solve of each split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rates = {
        "dyna/Sokoban-v0": sokoban(options.steps, options.seed),
        "dyna/Maze-v0": maze(options.steps, options.seed),
        "dyna/Taxi-v0": taxi(options.steps, options.seed),
    }
    others = adapted(options.steps // 10, options.seed)
    solved = experts(options.levels)
    good = all(rate.ours >= rate.wanted for rate in rates.values()) and all(
        row.solved == row.number for row in solved.values()
    )
    if options.json:
        report = {
            "python": platform.python_version(),
            "rates": {name: rate._asdict() for name, rate in rates.items()},
            "adapted": others,
            "experts": {name: row._asdict() for name, row in solved.items()},
            "good": good,
        }
        print(json.dumps(report, indent=1))
        return 0 if good else 1
    console = Console(highlight=False)
    table = Table("environment", "steps/s", "wanted", "peer", "its steps/s", "times as fast")
    for name, rate in rates.items():
        theirs = (
            ("not installed", "")
            if rate.theirs is None
            else (f"{rate.theirs:,.0f}", f"{rate.ours / rate.theirs:,.1f}")
        )
        table.add_row(name, f"{rate.ours:,.0f}", f"{rate.wanted:,.0f}", rate.peer, *theirs)
    console.print(table)
    table = Table("FrozenLake-v1", "per second")
    for name, value in others.items():
        table.add_row(name, f"{value:,.0f}")
    console.print(table)
    table = Table("expert on", "solved", "mean steps", "mean ms", "slowest ms")
    for name, row in solved.items():
        share = f"{row.solved} of {row.number}"
        table.add_row(name, share, f"{row.steps:.1f}", f"{1e3 * row.average:.1f}", f"{1e3 * row.slowest:.0f}")
    console.print(table)
    print("good" if good else "a target is missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
