"""Mazes: made by the package mazelib, with a start and a goal that are a fair walk apart."""

from __future__ import annotations

import functools
import importlib
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from dyna_nodes.nouns import digest_of
from dyna_training.environments.base import GameFileError, PackageMissing
from dyna_training.environments.boards.leaks import belongs
from dyna_training.environments.boards.state import MOVES

Kind = Literal["backtracking", "kruskal", "wilsons", "prims", "sidewinder"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""How a maze is made, which decides what it looks like: long corridors, or many short dead ends."""
_GENERATORS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "backtracking": "BacktrackingGenerator",
        "kruskal": "Kruskal",
        "wilsons": "Wilsons",
        "prims": "Prims",
        "sidewinder": "Sidewinder",
    }
)
LONGEST: Final = 50
"""Most moves from start to goal: the length of the papers' episodes."""
SIZES: Final = (3, 40)
WALL, PATH, PLAYER, GOAL = "#_PG"
_LOCK: Final = threading.Lock()


@dataclass(frozen=True)
class Maze:
    """A maze.

    Attributes:
        rows: Walls and paths, one string a row.
        start: Row and column of the player at the beginning.
        goal: Row and column of the goal.
    """

    rows: tuple[str, ...]
    start: tuple[int, int]
    goal: tuple[int, int]

    @functools.cached_property
    def distances(self) -> dict[tuple[int, int], int]:
        """How many moves the goal is away from each cell."""
        return walked(self.rows, self.goal)


def make(kind: Kind, size: int, seed: int) -> Maze:
    """Return a maze; the same arguments give the same one, with the same version of mazelib.

    Args:
        kind: How it is made.
        size: Cells on each side; rows and columns, walls included, are twice as many and one.
        seed: Which one; it decides the split that the maze can be in, see `boards.leaks`.

    Raises:
        GameFileError: There can be no such maze.
        PackageMissing: mazelib is not installed.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise GameFileError(f"a maze has {SIZES[0]} to {SIZES[1]} cells on each side, not {size}")
    generator = _generator(kind)
    for attempt in range(2000):
        name = digest_of("maze", kind, size, seed, attempt)
        with _seeded(int(name[:8], 16)):
            grid = generator(size, size).generate()
        rows = tuple("".join(WALL if cell else PATH for cell in row) for row in grid.tolist())
        if belongs(rows, seed):
            return _with_ends(rows, size, random.Random(name))
    raise GameFileError(f"no maze {kind}-{size}/{seed} was found in 2000 attempts; take another seed")


def walked(rows: tuple[str, ...], start: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Return how many moves each cell is away from one of them."""
    found, frontier = {start: 0}, [start]
    for row, column in frontier:
        for down, right in MOVES.values():
            cell = row + down, column + right
            if rows[cell[0]][cell[1]] == PATH and cell not in found:
                found[cell] = found[row, column] + 1
                frontier.append(cell)
    return found


def _with_ends(rows: tuple[str, ...], size: int, rng: random.Random) -> Maze:
    """Return the maze with a start, and a goal at least as many moves away as a side has cells."""
    starts = [(row, column) for row in range(1, 2 * size, 2) for column in range(1, 2 * size, 2)]
    start = rng.choice(starts)
    far = sorted(cell for cell, moves in walked(rows, start).items() if size <= moves <= LONGEST)
    return Maze(rows, start, rng.choice([cell for cell in far if cell in starts] or far))


def _generator(kind: Kind) -> Any:
    name = _GENERATORS[kind]
    try:
        return getattr(importlib.import_module(f"mazelib.generate.{name}"), name)
    except ImportError as error:
        raise PackageMissing(
            f"mazes are made by the package mazelib: pip install 'dyna-graph[maze]' ({error})"
        ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which mazelib draws from, and put them back as they were."""
    import numpy

    with _LOCK:
        before = random.getstate(), numpy.random.get_state()
        random.seed(seed)
        numpy.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            numpy.random.set_state(before[1])
