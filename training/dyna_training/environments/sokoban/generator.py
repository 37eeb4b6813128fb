"""New levels: a room is carved by a wandering digger, then a solved game is played backwards from its goals.

Pulling instead of pushing leads only to levels that can be won. What is kept is a level none of whose boxes is on a
goal, whose solution is neither trivial nor longer than an episode of the papers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from dyna_training.environments.base import GameFileError
from dyna_training.environments.boards.leaks import belongs
from dyna_training.environments.sokoban.level import Level, cells
from dyna_training.environments.sokoban.solver import Push, Solution, reachable, solve, walk

MOST_STEPS: Final = 50
"""Moves, walking included, that the solver's solution takes at most: the length of the papers' episodes."""
_PULLS: Final = 40
_ATTEMPTS: Final = 2000
_SOLVER_LIMIT: Final = 1_000
"""States that the solver looks at for one attempt."""
_MOST_STATES: Final = 10_000
"""States that it looks at for all attempts: seconds, also in the largest rooms."""
_FLOOR: Final = (0.4, 0.7)
"""Share of a room that is floor."""
_STAMPS: Final = (
    ((0, 0),),
    ((0, 0), (0, 1)),
    ((0, 0), (1, 0)),
    ((0, 0), (0, 1), (1, 0)),
    ((0, 0), (0, 1), (1, 0), (1, 1)),
)
"""What the digger digs at each step, as rows and columns from where it stands."""


def generate(height: int, width: int, boxes: int, seed: int) -> Level:
    """Return a level; the same arguments give the same one.

    Args:
        height: Rows, walls around included.
        width: Columns.
        boxes: How many boxes.
        seed: Which level; it decides the split that the level can be in, see `boards.leaks`.

    Raises:
        GameFileError: There can be no such level, or none is found.
    """
    inner = (height - 2) * (width - 2)
    if not (4 <= height <= 30 and 4 <= width <= 30 and 1 <= boxes <= max(1, inner // 8)):
        raise GameFileError(
            f"no level of {height} × {width} cells with {boxes} boxes can be made: rooms have 4 to 30 rows and "
            "columns, and eight inner cells for each box"
        )
    states = 0
    for attempt in range(_ATTEMPTS):
        rng = random.Random(f"sokoban {height}x{width}-{boxes}/{seed} {attempt}")
        level = _attempt(height, width, boxes, rng)
        if level is None:
            continue
        solution = solve(level, level.boxes, level.player, _SOLVER_LIMIT)
        if _is_fair(level, solution) and belongs(level.rows(), seed):
            return level
        states += solution.states
        if states > _MOST_STATES:
            break
    raise GameFileError(
        f"no level {height}x{width}-{boxes}/{seed} was found that can be won in {MOST_STEPS} moves; take another seed, "
        "a smaller room or fewer boxes"
    )


def _attempt(height: int, width: int, boxes: int, rng: random.Random) -> Level | None:
    floor = _carve(height, width, rng)
    places = list(cells(floor))
    if len(places) < 3 * boxes + 2:
        return None
    goals = sum(1 << cell for cell in rng.sample(places, boxes))
    empty = Level(width, height, floor, goals, goals, 0)
    pulled = _play_backwards(empty, rng)
    if pulled is None:
        return None
    left, player = pulled
    # Where the player stands within its area makes another level, and none harder to push.
    player = rng.choice(list(cells(reachable(empty, left, player))))
    return Level(width, height, floor, goals, left, player)


def _is_fair(level: Level, solution: Solution) -> bool:
    """Return whether a level is neither trivial nor longer than an episode."""
    pushes = solution.pushes
    return (
        pushes is not None
        and len(pushes) >= 2 * level.boxes.bit_count()
        and _steps(level, pushes) <= MOST_STEPS
    )


def _carve(height: int, width: int, rng: random.Random) -> int:
    """Return the floor of a room, which is connected."""
    target = rng.uniform(*_FLOOR) * (height - 2) * (width - 2)
    row, column = rng.randint(1, height - 2), rng.randint(1, width - 2)
    floor: set[tuple[int, int]] = set()
    down, right = rng.choice(_DIRECTIONS)
    for _ in range(20 * height * width):
        for below, beside in rng.choice(_STAMPS):
            if row + below <= height - 2 and column + beside <= width - 2:
                floor.add((row + below, column + beside))
        if len(floor) >= target:
            break
        if rng.random() < 0.4:
            down, right = rng.choice(_DIRECTIONS)
        row = min(max(row + down, 1), height - 2)
        column = min(max(column + right, 1), width - 2)
    return sum(1 << (row * (width + 1) + column) for row, column in floor)


_DIRECTIONS: Final = ((-1, 0), (1, 0), (0, -1), (0, 1))


def _play_backwards(level: Level, rng: random.Random) -> tuple[int, int] | None:
    """Pull the boxes off their goals; returns boxes and player where they got farthest with none on a goal."""
    free = list(cells(level.floor & ~level.goals))
    boxes, player = level.goals, rng.choice(free)
    best: tuple[int, int, int] | None = None
    for _ in range(_PULLS * level.goals.bit_count()):
        pulls = _pulls(level, boxes, reachable(level, boxes, player))
        if not pulls:
            break
        box, step = rng.choice(pulls)
        boxes ^= 1 << box | 1 << (box + step)
        player = box + 2 * step
        if not boxes & level.goals:
            far = sum(min(d.get(cell, 0) for d in level.pushes) for cell in cells(boxes))
            if far <= MOST_STEPS // 2 and (best is None or far > best[0]):
                best = (far, boxes, player)
    return None if best is None else best[1:]


def _pulls(level: Level, boxes: int, area: int) -> Sequence[tuple[int, int]]:
    """Return the boxes that can be pulled, each with the direction, as a difference of cells."""
    return [
        (box, step)
        for box in cells(boxes)
        for step in (1, -1, level.stride, -level.stride)
        if area >> (box + step) & 1 and (level.floor & ~boxes) >> (box + 2 * step) & 1
    ]


def _steps(level: Level, pushes: Sequence[Push]) -> int:
    """Return how many moves a solution takes, the walks between its pushes included."""
    boxes, player, steps = level.boxes, level.player, 0
    for push in pushes:
        steps += len(walk(level, boxes, player, push)) + 1
        boxes, player = boxes ^ (1 << push.box | 1 << sum(push)), push.box
    return steps
